/**
 * Failovers and refusals that a connection lives through: the server answers, and is of no use until somebody dials again. On real servers,
 * real demotions, names that move, and every client library.
 */
import { connect, createServer, type Socket } from "node:net";

import { Redis, type RedisOptions } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import { createClient } from "redis";
import { describe, expect, test } from "vitest";

import {
  createLocker,
  type HoldfastEvent,
  type Lease,
  type Locker,
  type NodeInput,
  type RedisNodeOptions,
  type SingleOptions,
} from "../../src/index.ts";
import { freePort } from "../../src/chaos/machine/ports.ts";
import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import { loadSlowly } from "../../src/chaos/servers/commands.ts";
import { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { iovalkey } from "../../src/iovalkey/index.ts";
import { nodeRedis } from "../../src/node-redis/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { movingName } from "../harness/moving-name.ts";
import { replicates, startSentinel } from "../harness/sentinel.ts";
import { waiterChannels } from "../harness/waiters.ts";

/** Much longer than any test: what is free again before was released. */
const TTL_MS = 60_000;
/** What a user is promised after a name has moved. */
const SOON_MS = 2_000;
/** The longest pause between two dials, and the dial. */
const A_DIAL_MS = 2_000;

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

function locker(node: NodeInput, more: Partial<SingleOptions> = {}): Locker {
  const made = createLocker({ mode: "single", nodes: [node], ttlMs: TTL_MS, ...more });
  cleanUp(() => made.close());
  return made;
}

async function server(...args: string[]): Promise<ServerNode> {
  const { nodes } = await servers(1, { args });
  const [node] = nodes;
  if (node === undefined) throw new Error("one server was asked for");
  return node;
}

const usable = (made: Locker, waitMs: number) => made.using("k", { waitMs }, () => "used");

/** Calls fail at once where only an operator can help, and go on failing until the next dial. */
async function usableSoon(made: Locker): Promise<void> {
  const isUsed = async () => (await usable(made, 0).catch(() => "refused")) === "used";
  await waitFor(isUsed, { what: "it is used", timeoutMs: A_DIAL_MS });
}

/** Gives it back where it was. */
async function acquired(waiting: Promise<Lease | undefined>): Promise<boolean> {
  const lease = await waiting;
  await lease?.release();
  return lease !== undefined;
}

/** Of a demotion as managed servers do it: two servers behind one name, on the same port. */
interface Site {
  readonly host: string;
  readonly port: number;
  readonly before: ServerNode;
  readonly after: ServerNode;
  /** The old one lives on as a replica, with all its connections. */
  readonly demote: () => Promise<void>;
  readonly moveName: () => void;
}

/** By default a primary waits 5 s for more replicas before it sends its data. */
const AT_ONCE = { args: ["--repl-diskless-sync-delay", "0"] };

async function site(): Promise<Site> {
  const port = await freePort();
  const [before, after] = ["127.0.0.1", "127.0.0.2"].map(
    (host) => new ServerNode(port, AT_ONCE, { host, enter: (program, args) => [program, [...args]] }),
  ) as [ServerNode, ServerNode];
  for (const each of [before, after]) {
    cleanUp(() => each.dispose());
    await each.start();
  }
  await after.cli("REPLICAOF", before.host, port);
  await waitFor(() => replicates(after, "master_link_status:up"), { what: "the replica follows" });
  const name = movingName("primary.test", before.host);
  cleanUp(() => name.forget());
  return {
    host: name.host,
    port,
    before,
    after,
    async demote() {
      await after.cli("REPLICAOF", "NO", "ONE");
      await before.cli("REPLICAOF", after.host, port);
    },
    moveName: () => name.moveTo(after.host),
  };
}

type Reached = (host: string, port: number) => NodeInput;

function disconnected<C extends { disconnect(): unknown }>(client: C): C {
  cleanUp(() => client.disconnect());
  return client;
}

const CLIENTS: Readonly<Record<string, Reached>> = {
  "a URL": (host, port) => `redis://${host}:${port}`,
  "options of ioredis": (host, port) => ({ host, port }),
  "a client of ioredis": (host, port) => disconnected(new Redis(port, host, { lazyConnect: true })),
  "a client of ioredis 5": (host, port) => disconnected(new Redis5(port, host, { lazyConnect: true })),
  "a client of iovalkey": (host, port) =>
    iovalkey(disconnected(new Valkey(port, host, { lazyConnect: true }))),
  "a client of node-redis": (host, port) => nodeRedis(createClient({ socket: { host, port } })),
  "a client of node-redis with a URL": (host, port) =>
    nodeRedis(createClient({ url: `redis://${host}:${port}` })),
};

describe.each(Object.entries(CLIENTS))("%s, whose name moves", (_, reached) => {
  test("to a new primary, while the old one lives on as a replica: usable soon after the move", async () => {
    const { host, port, demote, moveName } = await site();
    const made = locker(reached(host, port));
    expect(await usable(made, SOON_MS)).toBe("used");
    await demote();
    await expect(usable(made, 1_000)).rejects.toThrow(/READONLY|not a master/);
    moveName();
    expect(await usable(made, SOON_MS)).toBe("used");
  });

  test("whoever waits hears of releases there", async () => {
    const { host, port, before, after, demote, moveName } = await site();
    const [mine, theirs] = [locker(reached(host, port)), locker(reached(host, port))];
    const lease = await mine.acquire("k", { autoExtend: true });
    const waiting = theirs.acquire("k", { waitMs: 30_000 }).catch(() => undefined);
    await waitFor(async () => (await waiterChannels(before)).length > 0, { what: "somebody waits" });
    await demote();
    moveName();
    await waitFor(async () => (await waiterChannels(after)).length > 0, { what: "somebody waits there" });
    await lease.release();
    expect(await acquired(waiting)).toBe(true);
    await waitFor(async () => (await waiterChannels(before)).length === 0, { what: "nobody waits here" });
  });
});

describe("a demoted server", () => {
  test("strict: the new primary is met as soon, and is in quarantine", async () => {
    const { host, port, demote, moveName } = await site();
    const made = locker(`redis://${host}:${port}`, { restartGuard: "strict" });
    await made.init();
    await usable(made, SOON_MS);
    await demote();
    moveName();
    await expect(usable(made, SOON_MS)).rejects.toThrow(/in quarantine/);
    expect(made.nodes()).toMatchObject([{ state: "quarantined" }]);
  });

  test("nobody asks for locks, and it is found all the same", async () => {
    const { host, port, demote, moveName } = await site();
    const made = locker(`redis://${host}:${port}`);
    await usable(made, SOON_MS);
    await demote();
    await waitFor(() => made.nodes()[0]?.state === "excluded", { what: "it is excluded" });
    moveName();
    await waitFor(() => made.nodes()[0]?.state === "admitted", {
      what: "the other is met",
      timeoutMs: SOON_MS,
    });
  });

  test("for long: few dials, no more sockets, one event, and nothing is left after close", async () => {
    const node = await server();
    const events: HoldfastEvent[] = [];
    const idle = sockets();
    const made = locker(node.url, { observer: (event) => event.type === "node" && events.push(event) });
    await usable(made, SOON_MS);
    events.length = 0;
    await node.cli("REPLICAOF", "127.0.0.1", 1);
    await expect(usable(made, 0)).rejects.toThrow(/READONLY/);
    const dialled = await connections(node);
    let most = 0;
    for (let i = 0; i < 60; i++) {
      most = Math.max(most, sockets() - idle);
      await sleep(50);
    }
    // The first dials come after 50, 100, 150 … ms, and this counts with a connection of its own.
    expect((await connections(node)) - dialled).toBeLessThan(16);
    expect((await connections(node)) - dialled).toBeGreaterThan(3);
    expect(most).toBeLessThan(4);
    expect(events.map((event) => event.type === "node" && event.state)).toEqual(["excluded"]);
    await made.close();
    await waitFor(() => sockets() <= idle, { what: "all sockets are closed" });
  });

  test("what it owes for a release survives the dials: released when it may be written again", async () => {
    const node = await server();
    const [mine, theirs] = [locker(node.url), locker(node.url)];
    const lease = await mine.acquire("k");
    await node.cli("REPLICAOF", "127.0.0.1", 1);
    await lease.release();
    // Asked for four times a second, and when it is met; dialled and met less and less often.
    expect(await commandsWithin(node, 1_000)).toBeLessThan(250);
    expect(await node.cli("EXISTS", "k")).toBe(1);
    await node.cli("REPLICAOF", "NO", "ONE");
    expect(await usable(theirs, SOON_MS)).toBe("used");
  });
});

test.each([
  ["last", 0, 100],
  ["first, which has the vote under that name", 100, 0],
])("two names that lead to one server, until one moves that was met %s", async (_, stays, moves) => {
  const port = await freePort();
  for (const host of ["127.0.0.1", "127.0.0.2", "127.0.0.3"]) {
    const each = new ServerNode(port, {}, { host, enter: (program, args) => [program, [...args]] });
    cleanUp(() => each.dispose());
    await each.start();
  }
  const first = movingName("first.test", "127.0.0.1", stays);
  cleanUp(() => first.forget());
  const name = movingName("second.test", "127.0.0.1", moves);
  cleanUp(() => name.forget());
  const nodes = ["first.test", "second.test", "127.0.0.3"].map((host) => `redis://${host}:${port}`);
  const quorum = createLocker({ mode: "quorum", nodes, ttlMs: 2_000, restartGuard: "trust" });
  cleanUp(() => quorum.close());
  const hasTwins = () => quorum.nodes().some(({ detail }) => detail.includes("the same server"));
  await waitFor(hasTwins, { what: "it is seen" });
  name.moveTo("127.0.0.2");
  const areThree = () => quorum.nodes().every(({ state }) => state === "admitted");
  await waitFor(areThree, { what: "they are three", timeoutMs: SOON_MS });
  expect(await quorum.using("k", () => "used")).toBe("used");
});

describe("a server that lets nobody in, or not us", () => {
  const USER = ["on", ">token1", "~*", "&*", "+@all"];

  test("a wrong password, put right in the client's options", async () => {
    const node = await server("--requirepass", "secret");
    const client = disconnected(
      new Redis(node.port, { password: "wrong", lazyConnect: true, retryStrategy: () => null }),
    );
    const made = locker(client);
    await expect(usable(made, 300)).rejects.toThrow(/WRONGPASS/);
    client.options.password = "secret";
    await usableSoon(made);
  });

  test("access rules that refuse the introduction, and then scripts", async () => {
    const node = await server();
    await node.cli("ACL", "SETUSER", "app", ...USER, "-info");
    const options = { port: node.port, username: "app", password: "token1" };
    const made = locker(options);
    await expect(usable(made, 300)).rejects.toThrow(/refused to introduce itself: NOPERM/);
    await node.cli("ACL", "SETUSER", "other", ...USER, "-evalsha", "-eval");
    options.username = "other";
    await waitFor(() => /NOPERM.*eval/.test(made.nodes()[0]?.detail ?? ""), { what: "scripts are refused" });
    await node.cli("ACL", "SETUSER", "third", ...USER);
    options.username = "third";
    await usableSoon(made);
  });

  test("rights that are lost while it votes, and another user that has them", async () => {
    const node = await server();
    await node.cli("ACL", "SETUSER", "app", ...USER);
    const options = { port: node.port, username: "app", password: "token1" };
    const made = locker(options);
    await usable(made, SOON_MS);
    await node.cli("ACL", "SETUSER", "app", "-set");
    await expect(usable(made, 300)).rejects.toThrow(/can't run this command|ACL failure|NOPERM/);
    await node.cli("ACL", "SETUSER", "other", ...USER);
    options.username = "other";
    await usableSoon(made);
  });

  test.each(Object.entries(CLIENTS))("full: %s is let in when there is room", async (_, reached) => {
    const node = await server();
    const crowd = await Promise.all([node, node].map(crowding));
    await node.cli("CONFIG", "SET", "maxclients", 2);
    const made = locker(reached("127.0.0.1", node.port));
    await expect(usable(made, 300)).rejects.toThrow(/not connected/);
    for (const socket of crowd) socket.destroy();
    expect(await usable(made, A_DIAL_MS)).toBe("used");
  });

  test("one that loads its data for long, while its name has moved to another", async () => {
    const { host, port, before, after, moveName } = await site();
    const made = locker(`redis://${host}:${port}`, { connectTimeoutMs: 300 });
    await usable(made, SOON_MS);
    await after.cli("REPLICAOF", "NO", "ONE");
    const loading = loadSlowly(before, 10_000).catch(() => {});
    await waitFor(() => replies(before, "PING", /LOADING/), { what: "it loads" });
    await expect(usable(made, 500)).rejects.toThrow(/LOADING|loads its data/);
    moveName();
    expect(await usable(made, SOON_MS)).toBe("used");
    await before.kill();
    await loading;
  });

  test("notices that are not allowed, until they are", async () => {
    const node = await server();
    await node.cli("ACL", "SETUSER", "app", ...USER, "resetchannels");
    const options = { port: node.port, username: "app", password: "token1" };
    const lease = await locker(node.url).acquire("k", { autoExtend: true });
    const waiting = locker(options)
      .acquire("k", { waitMs: 20_000 })
      .catch(() => undefined);
    await sleep(300);
    expect(await waiterChannels(node)).toEqual([]);
    await node.cli("ACL", "SETUSER", "other", ...USER);
    options.username = "other";
    await waitFor(async () => (await waiterChannels(node)).length > 0, {
      what: "it listens",
      timeoutMs: A_DIAL_MS,
    });
    await lease.release();
    expect(await acquired(waiting)).toBe(true);
  });
});

describe("a client that ends for good", () => {
  /** Both connections are back: requests, and the one on which notices are heard. */
  async function isBack(made: Locker, node: ServerNode): Promise<void> {
    expect(await usable(made, 2 * A_DIAL_MS)).toBe("used");
    const lease = await locker(node.url).acquire("k", { autoExtend: true });
    const waiting = made.acquire("k", { waitMs: 20_000 }).catch(() => undefined);
    await waitFor(async () => (await waiterChannels(node)).length > 0, { what: "it listens" });
    await lease.release();
    expect(await acquired(waiting)).toBe(true);
  }

  test("all Sentinels are away, and its strategy gives up", async () => {
    const node = await server();
    const port = await freePort();
    const made = locker({
      sentinels: [{ host: "127.0.0.1", port }],
      name: "m",
      sentinelRetryStrategy: () => null,
    });
    await expect(usable(made, 500)).rejects.toThrow(/not connected: All sentinels are unreachable/);
    const sentinel = await startSentinel("m", node);
    cleanUp(() => sentinel.stop());
    const way = await startProxyAt(port, sentinel.port);
    cleanUp(() => way.close());
    await isBack(made, node);
  });

  test("the first Sentinel hangs: the others are asked", async () => {
    const node = await server();
    const sentinel = await startSentinel("m", node);
    cleanUp(() => sentinel.stop());
    const hung = createServer((socket) => held.add(socket));
    const held = new Set<Socket>();
    await new Promise<void>((resolve) => hung.listen(0, "127.0.0.1", resolve));
    cleanUp(() => {
      for (const socket of held) socket.destroy();
      hung.close();
    });
    const { port } = hung.address() as { port: number };
    const made = locker({
      sentinels: [
        { host: "127.0.0.1", port },
        { host: "127.0.0.1", port: sentinel.port },
      ],
      name: "m",
    });
    expect(await usable(made, 2 * A_DIAL_MS)).toBe("used");
  });

  test.each<[string, () => Promise<Socket>]>([
    ["rejects", () => Promise.reject(new Error("no way today"))],
    [
      "throws",
      () => {
        throw new Error("no way today");
      },
    ],
    ["never answers", () => new Promise(() => {})],
  ])("a Connector that %s for a while", async (_, fails) => {
    const node = await server();
    let isFine = false;
    class Connector {
      connect(): Promise<Socket> {
        return isFine ? Promise.resolve(connect(node.port, "127.0.0.1")) : fails();
      }
      check(): boolean {
        return true;
      }
      disconnect(): void {}
    }
    const made = locker({ Connector } as unknown as RedisOptions, { connectTimeoutMs: 100 });
    await expect(usable(made, 500)).rejects.toThrow(/not connected: (no way today|connect timed out)/);
    isFine = true;
    await isBack(made, node);
    // And again, in the middle of its life.
    isFine = false;
    await node.cli("CLIENT", "KILL", "TYPE", "normal");
    await node.cli("CLIENT", "KILL", "TYPE", "pubsub");
    await expect(usable(made, 500)).rejects.toThrow(/not connected/);
    isFine = true;
    await isBack(made, node);
  });

  test.each([
    ["ioredis", Redis],
    ["ioredis 5", Redis5 as unknown as typeof Redis],
  ])("%s without a retry strategy, over a restart", async (_, Client) => {
    const node = await server();
    const made = locker(
      disconnected(new Client(node.port, "127.0.0.1", { lazyConnect: true, retryStrategy: () => null })),
    );
    await isBack(made, node);
    await node.kill();
    await expect(usable(made, 500)).rejects.toThrow(/not connected/);
    await node.restart();
    await isBack(made, node);
  });
});

describe("a password that is changed", () => {
  async function rotation(node: ServerNode, token: string): Promise<void> {
    await node.cli("ACL", "SETUSER", "app", "reset", "on", `>${token}`, "~*", "&*", "+@all");
    await node.cli("CLIENT", "KILL", "USER", "app").catch(() => {});
  }

  /** Who is let in, with which node, and how the new token is told. */
  type Told = (port: number, token: () => string) => { node: NodeInput; renew: (token: string) => void };
  const own = { host: "127.0.0.1", username: "app" };
  const WAYS: Readonly<Record<string, Told>> = {
    "in the options of a client of ioredis": (port, token) => {
      const client = disconnected(new Redis({ ...own, port, password: token(), lazyConnect: true }));
      return { node: client, renew: (next) => (client.options.password = next) };
    },
    "in the options of a client of iovalkey": (port, token) => {
      const client = disconnected(new Valkey({ ...own, port, password: token(), lazyConnect: true }));
      return { node: iovalkey(client), renew: (next) => (client.options.password = next) };
    },
    "in options of ioredis": (port, token) => {
      const options: RedisNodeOptions = { ...own, port, password: token() };
      return { node: options, renew: (next) => (options.password = next) };
    },
    "by a function": (port, token) => ({
      node: { host: own.host, port, credentials: () => ({ username: "app", password: token() }) },
      renew: () => {},
    }),
    "by an asynchronous function": (port, token) => ({
      node: { ...own, port, credentials: async () => ({ password: await Promise.resolve(token()) }) },
      renew: () => {},
    }),
    "by the provider of a client of node-redis": (port, token) => ({
      node: nodeRedis(
        createClient({
          socket: { host: own.host, port },
          credentialsProvider: {
            type: "async-credentials-provider",
            credentials: async () => ({ username: "app", password: token() }),
          },
        }),
      ),
      renew: () => {},
    }),
    "in the options of a client of node-redis": (port, token) => {
      const client = createClient({ username: "app", password: token(), socket: { host: own.host, port } });
      return { node: nodeRedis(client), renew: (next) => (client.options.password = next) };
    },
    "in the options of a client of node-redis that was made of a URL": (port, token) => {
      const client = createClient({ url: `redis://app:${token()}@127.0.0.1:${port}` });
      return { node: nodeRedis(client), renew: (next) => (client.options.password = next) };
    },
  };

  test.each(Object.entries(WAYS))("%s: requests and notices", async (_, told) => {
    const node = await server();
    let token = "token1";
    await rotation(node, token);
    const { node: input, renew } = told(node.port, () => token);
    const made = locker(input);
    const lease = await locker(node.url).acquire("k", { autoExtend: true });
    const waiting = made.acquire("k", { waitMs: 20_000 }).catch(() => undefined);
    await waitFor(async () => (await waiterChannels(node)).length > 0, { what: "it listens" });
    await rotation(node, "token2");
    await waitFor(() => /WRONGPASS/.test(made.nodes()[0]?.detail ?? ""), { what: "it is refused" });
    token = "token2";
    renew(token);
    await waitFor(async () => (await waiterChannels(node)).length > 0, {
      what: "it listens again",
      timeoutMs: 2 * A_DIAL_MS,
    });
    await lease.release();
    expect(await acquired(waiting)).toBe(true);
  });

  test("a function that fails, gives nonsense, or is slower than a dial", async () => {
    const node = await server();
    await rotation(node, "token1");
    let asked = 0;
    let give: () => unknown = () => {
      throw new Error("the vault is shut");
    };
    const credentials = () => {
      asked++;
      return give() as { password: string };
    };
    const made = locker({ ...own, port: node.port, credentials }, { connectTimeoutMs: 200 });
    await expect(usable(made, 300)).rejects.toThrow(/not connected: the vault is shut/);
    give = () => "token1";
    await waitFor(() => /credentials must give an object, gave string/.test(made.nodes()[0]?.detail ?? ""), {
      what: "it says what is wrong",
    });
    give = () => ({ password: 1 });
    await waitFor(() => /must give a string as password, gave number/.test(made.nodes()[0]?.detail ?? ""), {
      what: "it says what is wrong",
    });
    give = () => sleep(2_000).then(() => ({ password: "token1" }));
    const before = asked;
    expect(await usable(made, 10_000)).toBe("used");
    expect(asked - before).toBeLessThanOrEqual(2);
  });

  test("credentials that are no function: refused", () => {
    const node = { port: 1, credentials: { password: "x" } } as unknown as NodeInput;
    expect(() => createLocker({ mode: "single", nodes: [node] })).toThrow(/credentials are no function/);
  });
});

function sockets(): number {
  const kinds = new Set(["TCPSocketWrap", "TCPConnectWrap"]);
  return process.getActiveResourcesInfo().filter((kind) => kinds.has(kind)).length;
}

async function statistic(node: ServerNode, name: string): Promise<number> {
  const info = String(await node.cli("INFO", "stats"));
  return Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1]);
}

const connections = (node: ServerNode): Promise<number> => statistic(node, "total_connections_received");

async function commandsWithin(node: ServerNode, ms: number): Promise<number> {
  const before = await statistic(node, "total_commands_processed");
  await sleep(ms);
  return (await statistic(node, "total_commands_processed")) - before;
}

/** Somebody who takes up room. */
async function crowding(node: ServerNode): Promise<Socket> {
  const socket = connect(node.port, "127.0.0.1").on("error", () => {});
  cleanUp(() => socket.destroy());
  await new Promise<void>((resolve) => {
    socket.once("data", () => resolve());
    socket.write("PING\r\n");
  });
  return socket;
}

async function replies(node: ServerNode, command: string, words: RegExp): Promise<boolean> {
  const answer = await node.cli(command).catch((error: unknown) => String(error));
  return words.test(String(answer));
}

/** A way to what listens elsewhere, at a port that nothing listened on so far. */
async function startProxyAt(port: number, target: number): Promise<{ close(): void }> {
  const server = createServer((from) => {
    const to = connect(target, "127.0.0.1");
    for (const end of [from, to])
      end.on("error", () => {}).on("close", () => [from, to].map((s) => s.destroy()));
    from.pipe(to).pipe(from);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return server;
}
