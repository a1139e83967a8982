/**
 * Servers that cannot write (R2): a release whose tombstone they could not keep is asked again, so that the acquire it is for, arriving
 * late, leaves nothing behind (S9). The acquire's bytes are kept back in the network until the server can write again.
 */
import { once } from "node:events";
import { mkdir, rmdir } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { sleep, waitFor } from "../../src/chaos/machine/wait-for.ts";
import { fillMemory, freeMemory } from "../../src/chaos/servers/commands.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { createLocker } from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);

/** A network that keeps what clients wrote after their connections have ended, and delivers it later. */
class SlowNetwork {
  isRefusing = false;
  readonly #server: Server;
  readonly #links: { readonly client: Socket; readonly upstream: Socket; kept: Buffer[] | undefined }[] = [];

  constructor(port: number) {
    this.#server = createServer((client) => {
      if (this.isRefusing) return void client.destroy();
      const upstream = connect(port, "127.0.0.1");
      const link = { client, upstream, kept: undefined as Buffer[] | undefined };
      this.#links.push(link);
      client.on("data", (data) => (link.kept === undefined ? upstream.write(data) : link.kept.push(data)));
      upstream.on("data", (data) => client.destroyed || client.write(data));
      for (const socket of [client, upstream]) socket.on("error", () => {});
      client.on("close", () => link.kept ?? upstream.destroy());
      upstream.on("close", () => client.destroy());
    });
  }

  async url(): Promise<string> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return `redis://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  get hasKept(): boolean {
    return this.#links.some(({ kept }) => kept !== undefined && kept.length > 0);
  }

  keep(): void {
    for (const link of this.#links) link.kept ??= [];
  }

  /** Of the connections whose bytes are kept; their server does not learn of it. */
  breakConnections(): void {
    for (const { client, kept } of this.#links) if (kept !== undefined) client.destroy();
  }

  /** Settles when the server has answered all of it. */
  async deliver(): Promise<void> {
    for (const { upstream, kept } of this.#links) {
      if (kept === undefined || kept.length === 0) continue;
      const answered = once(upstream, "data");
      for (const data of kept.splice(0)) upstream.write(data);
      await answered;
    }
  }

  close(): void {
    this.#server.close();
    for (const { client, upstream } of this.#links) {
      client.destroy();
      upstream.destroy();
    }
  }
}

interface Trouble {
  readonly begin: (node: ServerNode) => Promise<unknown>;
  readonly end: (node: ServerNode) => Promise<unknown>;
}

const TROUBLES: Record<string, Trouble> = {
  "none at all": { begin: () => Promise.resolve(), end: () => Promise.resolve() },
  "at maxmemory": { begin: fillMemory, end: freeMemory },
  "without enough replicas": {
    begin: (node) => node.cli("CONFIG", "SET", "min-replicas-to-write", 1),
    end: (node) => node.cli("CONFIG", "SET", "min-replicas-to-write", 0),
  },
  "after a snapshot that failed": {
    begin: async (node) => {
      await mkdir(await snapshotOf(node));
      await node.cli("CONFIG", "SET", "save", "3600 1");
      await node.cli("BGSAVE");
      await waitFor(async () => String(await node.cli("INFO", "persistence")).includes("status:err"), {
        what: "the snapshot has failed",
      });
    },
    end: async (node) => {
      await rmdir(await snapshotOf(node));
      await node.cli("CONFIG", "SET", "save", "");
    },
  },
};

/** A directory in its place is what a snapshot cannot be renamed to. */
async function snapshotOf(node: ServerNode): Promise<string> {
  const [, dir] = (await node.cli("CONFIG", "GET", "dir")) as [string, string];
  const [, name] = (await node.cli("CONFIG", "GET", "dbfilename")) as [string, string];
  return join(dir, name);
}

describe.each(Object.entries(TROUBLES))("trouble: %s", (name, { begin, end }) => {
  test.each([[["k"]], [["j", "k"]]])(
    "an acquire of %j that arrives after its release leaves nothing",
    async (wanted) => {
      const cluster = await servers(1);
      const [node] = cluster.nodes;
      if (node === undefined) throw new Error("no node");
      const network = new SlowNetwork(node.port);
      cleanUp(() => network.close());
      const locker = createLocker({
        mode: "single",
        nodes: [await network.url()],
        ttlMs: 20_000,
        notify: false,
      });
      cleanUp(() => locker.close({ withinMs: 0 }));
      await locker.ready();
      await (await locker.acquire("warm")).release();

      network.keep();
      const attempt = locker.acquire(wanted, { waitMs: 0 }).catch((error: Error) => error);
      await waitFor(() => network.hasKept, { what: "the acquire is on its way" });
      network.isRefusing = true;
      network.breakConnections();
      await begin(node);
      expect(await attempt).toBeInstanceOf(Error);
      network.isRefusing = false;
      // Once it is met again its release is on its way, before everything else.
      await waitFor(() => locker.nodes().every(({ state }) => state !== "unreachable"), {
        what: "it is back",
      });
      await locker.inspect("k");
      if (name !== "none at all") expect(await node.cli("GET", "{k}:fence")).toBeNull();
      await end(node);
      await network.deliver();
      const isClean = async () =>
        (await node.cli("EXISTS", "j", "k")) === 0 && (await node.cli("GET", "{k}:fence")) !== null;
      await waitFor(isClean, { what: "nothing is left but the tombstone", timeoutMs: 3_000 });
      expect((await locker.acquire(wanted, { waitMs: 0 })).isHeld()).toBe(true);
    },
  );
});

test("at maxmemory a lease is released with its tombstone, since its lock made room; nothing is owed", async () => {
  const cluster = await servers(1);
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("no node");
  const locker = createLocker({ mode: "single", nodes: cluster.urls });
  cleanUp(() => locker.close({ withinMs: 0 }));
  const leases = await Promise.all([locker.acquire("one"), locker.acquire(["two", "three"])]);
  await fillMemory(node);
  for (const lease of leases)
    expect(await lease.release()).toMatchObject({ outcome: "released", uncertain: [] });
  const calls = async () =>
    [...String(await node.cli("INFO", "commandstats")).matchAll(/cmdstat_evalsha:calls=(\d+)/g)].map(
      ([, n]) => n,
    );
  const before = await calls();
  await sleep(600); // Two and a half times as long as what is owed waits for its next chance.
  expect(await calls()).toEqual(before);
  await freeMemory(node);
});
