/** Servers that vote for anybody at once: their operator has declared them new. */
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker } from "../../src/index.ts";

export async function startFleet(size: number): Promise<Cluster> {
  const cluster = await startCluster(size);
  await using operator = createLocker({ mode: "quorum", nodes: cluster.urls });
  await operator.init();
  return cluster;
}
