/** What a test starts ends with it, the last thing first, whatever became of the test. */
import { afterEach } from "vitest";

import { type Cluster, type ClusterOptions, startCluster } from "../../src/chaos/servers/cluster.ts";

export type CleanUp = (end: () => unknown) => void;

/** For the file that calls this. */
export function afterEachTest(): CleanUp {
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return (end) => void ends.push(end);
}

/** Servers of one test. */
export function serversFor(cleanUp: CleanUp): (size: number, options?: ClusterOptions) => Promise<Cluster> {
  return async (size, options) => {
    const cluster = await startCluster(size, options);
    cleanUp(() => cluster.stop());
    return cluster;
  };
}
