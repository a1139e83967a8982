/** What all nodes say of one key: for a person who asks who holds it, and which nodes would vote. Reads only. */
import { type Clock, Latch } from "../clock/clock.ts";
import type { Fleet, FleetNodeState, Sighting } from "./lock-node.ts";

export interface Inspection {
  readonly key: string;
  /** Who holds it on a quorum of nodes; undefined where nobody does, or too few nodes answered. */
  readonly holder: string | undefined;
  /** For how long a quorum of nodes will still hold it, by the nodes; 0 without a holder. */
  readonly remainingMs: number;
  /** The largest fence any node has accepted for it; 0 where none is remembered. */
  readonly fence: number;
  readonly nodes: readonly NodeInspection[];
}

export interface NodeInspection extends FleetNodeState {
  /** False where the node did not answer in time: then nothing is known of the key there. */
  readonly answered: boolean;
  readonly holder: string | undefined;
  readonly remainingMs: number;
  readonly fence: number;
}

export async function inspectAll(
  key: string,
  nodeKey: string,
  fleet: Fleet,
  quorum: number,
  timeoutMs: number,
  clock: Clock,
): Promise<Inspection> {
  const sightings: (Sighting | undefined)[] = fleet.nodes.map(() => undefined);
  const latch = new Latch(clock, timeoutMs);
  let answers = 0;
  fleet.nodes.forEach((node, index) =>
    node.inspect([nodeKey], (seen) => {
      if (!("kind" in seen)) sightings[index] = seen;
      if (++answers === fleet.nodes.length) latch.settle();
    }),
  );
  await latch.settled;
  const states = fleet.state();
  const nodes = sightings.map((sighting, index) => nodeInspection(states[index], sighting));
  return { key, ...holderOf(nodes, quorum), fence: Math.max(0, ...nodes.map(({ fence }) => fence)), nodes };
}

function nodeInspection(state: FleetNodeState | undefined, sighting: Sighting | undefined): NodeInspection {
  const known = state ?? { node: "?", state: "connecting", detail: "" };
  const seen = sighting?.keys[0];
  const { holder, remainingMs, fence } = seen ?? { holder: undefined, remainingMs: 0, fence: 0 };
  return { ...known, answered: sighting !== undefined, holder, remainingMs, fence };
}

function holderOf(
  nodes: readonly NodeInspection[],
  quorum: number,
): { holder: string | undefined; remainingMs: number } {
  for (const { holder } of nodes) {
    const remaining = nodes
      .filter((node) => holder !== undefined && node.holder === holder)
      .map(({ remainingMs }) => remainingMs);
    // The q-th longest: after that, fewer than a quorum hold it.
    const qth = remaining.sort((a, b) => b - a)[quorum - 1];
    if (qth !== undefined) return { holder, remainingMs: qth };
  }
  return { holder: undefined, remainingMs: 0 };
}
