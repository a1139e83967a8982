/** Servers on hosts of their own: reached by address, losing packets on demand, and gone without a trace. */
import { spawnSync } from "node:child_process";

import { describe, expect, test } from "vitest";

import { namespacesUnavailable, startNamespaceCluster } from "../../src/chaos/servers/namespaces.ts";

const why = namespacesUnavailable();

describe.skipIf(why !== undefined)(
  `hosts of their own${why === undefined ? "" : ` (not run: ${why})`}`,
  () => {
    test("three servers that do not share an address, a restart, lost packets, and nothing left", async () => {
      const cluster = await startNamespaceCluster(3);
      const names = spaces();
      expect(names.length).toBe(3);
      expect(new Set(cluster.nodes.map(({ host }) => host)).size).toBe(3);
      const [first] = cluster.nodes;
      await first?.cli("SET", "k", "v");
      await first?.restartEmpty();
      expect(await first?.cli("GET", "k")).toBeNull();

      await first?.losePackets(100);
      await expect(first?.connected((redis) => redis.ping(), 300)).rejects.toThrow(
        "did not answer within 300 ms",
      );
      await first?.losePackets(0);
      expect(await first?.cli("PING")).toBe("PONG");

      await cluster.stop();
      expect(spaces().filter((name) => names.includes(name))).toEqual([]);
    });
  },
);

/** Of this machine, by the prefix of ours; another run may have some too. */
function spaces(): string[] {
  const { stdout } = spawnSync("ip", ["netns", "list"], { encoding: "utf8" });
  return stdout.split("\n").flatMap((line) => /^(hf\d+n\d+)/.exec(line)?.[1] ?? []);
}
