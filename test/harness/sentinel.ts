/**
 * A real Redis Sentinel: the process that says where the master of a name is, and moves the name to a replica when the master is gone.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";

import { diesWithUs, hasEnded, killWhenWeExit, removeWhenWeExit } from "../../src/chaos/machine/mortality.ts";
import { freePort } from "../../src/chaos/machine/ports.ts";
import { findRedisServer } from "../../src/chaos/servers/redis-binary.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";

export interface Sentinel {
  readonly port: number;
  stop(): Promise<void>;
}

/** Watches `master` under `name`; alone, so its own word is enough for a failover. */
export async function startSentinel(name: string, master: ServerNode, downAfterMs = 500): Promise<Sentinel> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "holdfast-sentinel-"));
  const remove = removeWhenWeExit(folder);
  const file = join(folder, "sentinel.conf");
  writeFileSync(
    file,
    [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${folder}`,
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${name} ${downAfterMs}`,
      `sentinel failover-timeout ${name} 5000`,
      "",
    ].join("\n"),
  );
  const [command, args] = diesWithUs(findRedisServer(), [file, "--sentinel"]);
  const child = spawn(command, args, { stdio: "ignore" });
  killWhenWeExit(child);
  await waitFor(() => knows(port, name), { what: `a sentinel on port ${port} that knows ${name}` });
  return {
    port,
    async stop() {
      if (!hasEnded(child)) {
        const gone = once(child, "exit");
        child.kill("SIGKILL");
        await gone;
      }
      remove();
    },
  };
}

async function knows(port: number, name: string): Promise<boolean> {
  const redis = new Redis(port, "127.0.0.1", {
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: null,
  });
  redis.on("error", () => {});
  try {
    await redis.connect();
    return Array.isArray(await redis.call("SENTINEL", "get-master-addr-by-name", name));
  } catch {
    return false;
  } finally {
    redis.disconnect();
  }
}

/**
 * Whether the server says this of its replication. A Sentinel that promotes a server ends all its connections, the one of this question
 * too: then it says nothing.
 */
export async function replicates(node: ServerNode, words: string): Promise<boolean> {
  const info = await node.cli("INFO", "replication").catch(() => "");
  return String(info).includes(words);
}
