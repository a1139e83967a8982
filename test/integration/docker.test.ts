/** The same faults and scenarios on servers in containers; `npm run test:docker` runs this alone, and says so where no engine answers. */
import { afterEach, describe, expect, test } from "vitest";

import { RealWorld } from "../../src/chaos/real/real-world.ts";
import { runIn } from "../../src/chaos/runner.ts";
import { SCENARIOS } from "../../src/chaos/scenarios/index.ts";
import type { Servers } from "../../src/chaos/servers/server-node.ts";
import { dockerUnavailable, startDockerCluster } from "../harness/docker-cluster.ts";

const why = await dockerUnavailable();
const NAMES = [
  "two-of-five-killed",
  "restart-empty",
  "all-restart-empty",
  "paused-majority",
  "flushed",
  "cut-from-a-majority",
  "holder-killed",
];

describe.skipIf(why !== undefined)(
  `servers in containers${why === undefined ? "" : ` (not run: ${why})`}`,
  () => {
    let servers: Servers | undefined;
    afterEach(() => servers?.stop());

    test("a kill, a restart on the same port, a pause", async () => {
      servers = await startDockerCluster(1);
      const [node] = servers.nodes;
      await node?.cli("SET", "k", "v");
      await node?.kill();
      await expect(node?.cli("PING")).rejects.toThrow();
      await node?.start();
      expect(await node?.dump()).toEqual({});
      await node?.pause();
      await expect(node?.connected((redis) => redis.ping(), 300)).rejects.toThrow(
        "did not answer within 300 ms",
      );
      await node?.resume();
      expect(await node?.cli("PING")).toBe("PONG");
    });

    test.each(NAMES)("scenario %s", async (name) => {
      const scenario = SCENARIOS.find((each) => each.name === name);
      if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
      const world = new RealWorld(scenario, "docker", { start: startDockerCluster });
      const { failures, violations } = await runIn(world, scenario, "docker");
      expect({ failures, violations }).toEqual({ failures: [], violations: [] });
    });
  },
);
