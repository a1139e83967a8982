/**
 * Several real redis-servers at once, for tests that need a quorum of them: started together, on ports nobody else has, and stopped
 * together.
 */
import { freePort } from "../machine/ports.ts";
import { type ChaosNode, type ClusterOptions, ServerNode } from "./server-node.ts";

export type { ClusterOptions, ServerNode } from "./server-node.ts";

export interface Cluster<Node extends ChaosNode = ServerNode> extends AsyncDisposable {
  readonly nodes: readonly Node[];
  readonly urls: string[];
  stop(): Promise<void>;
}

const PORT_TRIES = 5;

export function startCluster(size: number, options: ClusterOptions = {}): Promise<Cluster> {
  return together(Array.from({ length: size }, () => startNode(options)));
}

/** All of them, or none. */
export async function together<Node extends ChaosNode>(
  starting: readonly Promise<Node>[],
): Promise<Cluster<Node>> {
  const starts = await Promise.allSettled(starting);
  const nodes = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.dispose()));
  };
  const failed = starts.find((start) => start.status === "rejected");
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }
  return { nodes, urls: nodes.map(({ url }) => url), stop, [Symbol.asyncDispose]: stop };
}

/** Another process may take a port between our asking for it and the server's; then it is tried with another one. */
async function startNode(options: ClusterOptions): Promise<ServerNode> {
  for (let tries = 1; ; tries++) {
    const node = new ServerNode(await freePort(), options);
    try {
      await node.start();
      return node;
    } catch (error) {
      await node.dispose();
      if (tries >= PORT_TRIES || !String(error).includes("in use")) throw error;
    }
  }
}
