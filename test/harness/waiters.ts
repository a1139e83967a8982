/** Who waits for a lock listens for notices of releases, on a channel of its locker's own. */
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import type { ServerNode } from "../../src/chaos/servers/server-node.ts";

export async function waiterChannels(node: ServerNode): Promise<string[]> {
  return (await node.cli("PUBSUB", "CHANNELS", "holdfast:wake:*")) as string[];
}

/** Resolves when a waiter would hear every node. */
export async function somebodyWaits({ nodes }: Cluster): Promise<void> {
  const isHeard = async () =>
    (await Promise.all(nodes.map(waiterChannels))).every(({ length }) => length > 0);
  await waitFor(isHeard, { what: "somebody waits" });
}
