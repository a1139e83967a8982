/**
 * Nodes that can never vote until an operator has mended something: told apart in words, and no call waits for them. Those that may come
 * back by themselves are waited for. Real servers; where something must not be Redis, it is not.
 */
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

import { createClient } from "redis";
import { createClient as createClient6 } from "redis6";
import { Redis as Valkey } from "iovalkey";
import { describe, expect, test } from "vitest";

import {
  createLocker,
  type Locker,
  type LockerOptions,
  type NodeInput,
  QuorumUnreachableError,
} from "../../src/index.ts";
import { freePort } from "../../src/chaos/machine/ports.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { evictionPolicy } from "../../src/chaos/servers/commands.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { iovalkey } from "../../src/iovalkey/index.ts";
import { nodeRedis } from "../../src/node-redis/index.ts";
import { clientTls, tlsArguments } from "../harness/certificates.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";
import { startSentinel } from "../harness/sentinel.ts";

const TTL_MS = 1_500;

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

function locker(nodes: readonly NodeInput[], more: Partial<LockerOptions> = {}): Locker {
  const mode = nodes.length === 1 ? "single" : "quorum";
  const made = createLocker({ mode, nodes, ttlMs: TTL_MS, ...more } as LockerOptions);
  cleanUp(() => made.close({ withinMs: 0 }));
  return made;
}

async function oneServer(...args: string[]): Promise<ServerNode> {
  const [node] = (await servers(1, { args })).nodes;
  if (node === undefined) throw new Error("one server was asked for");
  return node;
}

/** Speaks for as long as the test lasts; answers with its URL. */
async function listening(server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanUp(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server as its INFO would be if it were another version: only these bytes differ. */
function posingAs(node: ServerNode, version: string): Promise<string> {
  return listening(
    createServer((client) => {
      const server = connect(node.port, "127.0.0.1");
      client.pipe(server);
      server.on("error", () => client.destroy());
      client.on("close", () => server.destroy());
      server.on("data", (bytes) => {
        const text = bytes.toString("latin1").replaceAll(/redis_version:[\d.]+/g, (found) => {
          return `redis_version:${version}`.padEnd(found.length, "0").slice(0, found.length);
        });
        client.write(Buffer.from(text, "latin1"));
      });
    }),
  );
}

async function passwordOn(node: ServerNode): Promise<ServerNode> {
  await node.cli("CONFIG", "SET", "requirepass", "right");
  return node;
}

const WRONG: Readonly<Record<string, readonly [make: () => Promise<NodeInput>, said: RegExp]>> = {
  "a server in cluster mode": [
    async () => (await oneServer("--cluster-enabled", "yes")).url,
    /it runs in cluster mode, .*: give standalone servers/,
  ],
  "a Sentinel's port": [
    async () => {
      const sentinel = await startSentinel("locks", await oneServer());
      cleanUp(() => sentinel.stop());
      return `redis://127.0.0.1:${sentinel.port}`;
    },
    /it is a Sentinel, .*: give ioredis options with sentinels/,
  ],
  "an older server": [
    async () => posingAs(await oneServer(), "6.2.1"),
    /it is Redis 6\.2\.1\d*: Redis 7 or Valkey 8 is needed/,
  ],
  "an HTTP server": [
    async () => listening(createHttpServer((_, response) => response.end("hello"))),
    /something other than Redis answers/,
  ],
  "an SSH server": [
    async () => listening(createServer((socket) => socket.write("SSH-2.0-OpenSSH_9.7\r\n"))),
    /something other than Redis answers/,
  ],
  "a wrong password": [
    async () => (await passwordOn(await oneServer())).url.replace("//", "//:wrong@"),
    /WRONGPASS.*; check the username and the password/,
  ],
  "no password": [
    async () => (await passwordOn(await oneServer())).url,
    /NOAUTH.*; this server wants a password/,
  ],
  "a user that may run no scripts": [
    async () => {
      const node = await oneServer();
      await node.cli("ACL", "SETUSER", "lock", "on", ">pw", "~*", "&*", "+@all", "-@scripting");
      return node.url.replace("//", "//lock:pw@");
    },
    /NOPERM.*; give this user the rights that docs\/operations\.md lists/,
  ],
  "a user that may not introduce itself": [
    async () => {
      const node = await oneServer();
      await node.cli("ACL", "SETUSER", "lock", "on", ">pw", "~*", "&*", "+@all", "-time");
      return node.url.replace("//", "//lock:pw@");
    },
    /NOPERM.*; give this user the rights/,
  ],
  "a certificate nobody vouches for": [
    async () => {
      const port = await freePort();
      await oneServer(...tlsArguments(port));
      const { cert, key } = clientTls();
      return { host: "127.0.0.1", port, tls: { cert, key } };
    },
    /certificate.*; check the certificates/,
  ],
  "a policy that evicts": [
    async () => {
      const node = await oneServer();
      await evictionPolicy(node, "allkeys-lru", 100_000_000);
      return node.url;
    },
    /maxmemory-policy is allkeys-lru/,
  ],
  "a replica that never was anything else": [
    async () => {
      const node = await oneServer();
      await node.cli("REPLICAOF", "127.0.0.1", 1);
      return node.url;
    },
    /it is not a master but a slave/,
  ],
  "a database that is not there": [
    async () => `${(await oneServer()).url}/99`,
    /DB index is out of range; there is no such database/,
  ],
};

describe.each(Object.entries(WRONG))("%s", (_, [make, said]) => {
  // Infinity: who waits at all, waits until the test is over.
  test("every call fails at once, and says what it is and what to do", async () => {
    const wrong = locker([await make()]);
    for (const error of [
      await failure(wrong.acquire("k", { waitMs: Infinity })),
      await failure(wrong.ready({ timeoutMs: Infinity })),
      await failure(wrong.using("k", { waitMs: Infinity }, () => "never")),
    ]) {
      expect(error).toBeInstanceOf(QuorumUnreachableError);
      expect(error.message).toMatch(said);
      expect(error.message).toMatch(/waiting will not help/);
      expect(error.nodes?.[0]?.detail).toMatch(said);
      expect(error.message).not.toMatch(/wrong@|:pw/);
    }
    expect(wrong.nodes()[0]?.state).not.toBe("admitted");
  });

  test("as one of three it keeps nobody from a lock", async () => {
    const { urls } = await servers(2);
    const wrong = locker([...urls, await make()]);
    await wrong.init();
    await wrong.ready();
    await using lease = await wrong.acquire("k");
    expect(lease.isHeld()).toBe(true);
  });
});

describe("reached by other clients", () => {
  const CLIENTS: Readonly<Record<string, (url: string) => NodeInput>> = {
    "node-redis 5": (url) => nodeRedis(createClient({ url })),
    "node-redis 6": (url) => nodeRedis(createClient6({ url })),
    iovalkey: (url) => {
      const client = new Valkey(url, { lazyConnect: true });
      cleanUp(() => client.disconnect());
      return iovalkey(client);
    },
  };
  const KINDS = [
    "a server in cluster mode",
    "an SSH server",
    "a wrong password",
    "no password",
    "a database that is not there",
  ];

  test.each(Object.keys(CLIENTS).flatMap((name) => KINDS.map((kind) => [name, kind] as const)))(
    "%s: %s",
    async (name, kind) => {
      const [make, said] = WRONG[kind] ?? [];
      const url = await make?.();
      const node = typeof url === "string" ? CLIENTS[name]?.(url) : undefined;
      const error = await failure(
        locker(node === undefined ? [] : [node]).acquire("k", { waitMs: Infinity }),
      );
      expect(error).toBeInstanceOf(QuorumUnreachableError);
      expect(error.message).toMatch(said ?? /never/);
    },
  );
});

describe("what may pass by itself is waited for", () => {
  test("two that only an operator can mend, of five, keep nobody from waiting for a third", async () => {
    const cluster = await servers(3);
    const wrong = await Promise.all([0, 1].map(async () => passwordOn(await oneServer())));
    const nodes = [...cluster.urls, ...wrong.map(({ url }) => url)];
    const patient = locker(nodes, { restartGuard: "trust" });
    await patient.ready();
    await cluster.nodes[0]?.kill();
    const waiting = patient.acquire("k", { waitMs: Infinity });
    await waitFor(() => patient.nodes()[0]?.state === "unreachable", { what: "the third is away" });
    await cluster.nodes[0]?.restart();
    expect((await waiting).isHeld()).toBe(true);
  });

  test("a server that is demoted and promoted again", async () => {
    const node = await oneServer();
    const patient = locker([node.url]);
    await (await patient.acquire("k")).release();
    await node.cli("REPLICAOF", "127.0.0.1", 1);
    const waiting = patient.acquire("k", { waitMs: Infinity });
    await waitFor(() => patient.nodes()[0]?.state === "excluded", {
      what: "the demotion is seen",
      timeoutMs: 15_000,
    });
    await node.cli("REPLICAOF", "NO", "ONE");
    expect((await waiting).isHeld()).toBe(true);
  });

  test("a server that is not there yet, and its quarantine", async () => {
    const cluster = await servers(3);
    await cluster.nodes[0]?.kill();
    await cluster.nodes[1]?.kill();
    const patient = locker(cluster.urls);
    const [waiting, ready] = [patient.acquire("k", { waitMs: Infinity }), patient.ready()];
    await waitFor(() => patient.nodes().filter(({ state }) => state === "unreachable").length === 2, {
      what: "two are away",
    });
    for (const node of cluster.nodes.slice(0, 2)) await node.restart();
    await ready;
    expect((await waiting).isHeld()).toBe(true);
  });

  test("and what an operator has mended votes again", async () => {
    const node = await oneServer();
    await evictionPolicy(node, "allkeys-lru", 100_000_000);
    const mended = locker([node.url]);
    await failure(mended.acquire("k", { waitMs: Infinity }));
    await evictionPolicy(node, "noeviction", 0);
    await waitFor(() => mended.nodes()[0]?.state === "admitted", {
      what: "it is met again",
      timeoutMs: 15_000,
    });
    expect((await mended.acquire("k")).isHeld()).toBe(true);
  });

  test("the reason of an earlier dial is not that of a later end", async () => {
    const node = await oneServer();
    await node.cli("ACL", "SETUSER", "lock", "on", ">old", "~*", "&*", "+@all");
    const states: string[] = [];
    const late = locker([node.url.replace("//", "//lock:new@")], {
      observer: (event) => event.type === "node" && states.push(event.detail),
    });
    expect((await failure(late.ready({ timeoutMs: Infinity }))).message).toContain("WRONGPASS");
    await node.cli("ACL", "SETUSER", "lock", ">new");
    await waitFor(() => late.nodes()[0]?.state === "admitted", { what: "it is met", timeoutMs: 15_000 });
    const before = states.length;
    await node.cli("CLIENT", "KILL", "USER", "lock");
    await waitFor(() => states.length > before, { what: "the end is told" });
    expect(states[before]).toBe("the connection was closed");
  });
});

describe("ready", () => {
  const dead = async () => `redis://127.0.0.1:${await freePort()}`;

  test("rejects in time, with what is known of every node", async () => {
    const cluster = await servers(2);
    const error = await failure(locker([...cluster.urls, await dead()]).ready({ timeoutMs: 300 }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error).toMatchObject({ code: "QUORUM_UNREACHABLE", quorum: 2 });
    expect(error.message).toMatch(
      /^the locker was not ready within 300 ms: 2 of 3 nodes must vote and 0 can:\n/,
    );
    expect(error.message.match(/in quarantine: may vote in \d+ ms/g)).toHaveLength(2);
    expect(error.message).toMatch(/not connected: connect ECONNREFUSED/);
    expect(error.nodes).toHaveLength(3);
  });

  test("with a signal that is a limit: the same, and the signal's reason as its cause", async () => {
    const signal = AbortSignal.timeout(300);
    const error = await failure(locker([await dead()]).ready({ signal }));
    expect(error).toBeInstanceOf(QuorumUnreachableError);
    expect(error.message).toMatch(/^the locker was not ready in its signal's time: .*\n.*ECONNREFUSED/);
    expect(error.cause).toBe(signal.reason);
  });

  test("with a signal of one's own: its reason, as before", async () => {
    const reason = new Error("enough");
    const abort = new AbortController();
    const waiting = failure(locker([await dead()]).ready({ signal: abort.signal }));
    abort.abort(reason);
    expect(await waiting).toBe(reason);
    expect(await failure(locker([await dead()]).ready({ signal: abort.signal }))).toBe(reason);
  });

  test("waits for the quarantine of new nodes by default", async () => {
    const cluster = await servers(3);
    await locker(cluster.urls).ready();
  });

  test("a shard that is not ready fails it; closing ends it", async () => {
    const cluster = await servers(1);
    const sharded = createLocker({
      mode: "single",
      shards: { a: cluster.urls, b: [await dead()] },
      ttlMs: TTL_MS,
    });
    cleanUp(() => sharded.close({ withinMs: 0 }));
    expect((await failure(sharded.ready({ timeoutMs: 300 }))).message).toContain("ECONNREFUSED");
    const waiting = failure(sharded.ready({ timeoutMs: Infinity }));
    await sharded.close();
    expect(await waiting).toMatchObject({ code: "LOCKER_CLOSED" });
  });

  test.each([
    [{ timeoutMs: -1 }, "timeoutMs must be a number of at least 0, got -1"],
    [{ timeoutMs: "5" }, 'timeoutMs must be a number of at least 0, got "5"'],
    [{ timeout: 5 }, 'unknown option "timeout"; known are timeoutMs, signal; did you mean timeoutMs?'],
    [{ signal: {} }, "signal must be an AbortSignal, got an object"],
  ])("%j is refused", async (options, message) => {
    await using memory = createLocker({ mode: "memory" });
    expect((await failure(memory.ready(options as object))).message).toBe(message);
  });
});
