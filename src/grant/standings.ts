/**
 * Where each node stands towards one holder value, as votes come in (rules E2, C5, L4). Pure bookkeeping: who may be counted in an
 * extension, who must be told of a release, who is to be topped up.
 */
import type { Vote } from "../node/lock-node.ts";

/** `holds`: said so itself. `unsure`: was asked, and may hold it or execute the request later. `free`: surely without it. */
export type Standing = "holds" | "unsure" | "free";

export class Standings {
  readonly #nodes: Standing[];

  constructor(nodes: number) {
    this.#nodes = Array<Standing>(nodes).fill("free");
  }

  of(index: number): Standing {
    return this.#nodes[index] ?? "free";
  }

  /** By node: it said that it holds the value. */
  holders(): boolean[] {
    return this.#nodes.map((standing) => standing === "holds");
  }

  /** Every node on which the value may be, or may still arrive. */
  possible(): number[] {
    const indices: number[] = [];
    this.#nodes.forEach((standing, index) => {
      if (standing !== "free") indices.push(index);
    });
    return indices;
  }

  /** All nodes are surely without it. */
  get isFree(): boolean {
    return this.#nodes.every((standing) => standing === "free");
  }

  /** So many nodes are surely without it that others can have a quorum. */
  isGoneFrom(quorum: number): boolean {
    return this.#nodes.length - this.possible().length >= quorum;
  }

  /** One vote on an acquire or an extension, in time or late. */
  hear(index: number, vote: Vote): void {
    if (vote.kind === "granted") {
      this.#nodes[index] = "holds";
    } else if (vote.kind === "faulted") {
      if (vote.sent) this.doubt(index);
    } else if (vote.reason === "missing") {
      this.free(index);
    } else if (isOfLostMemory(vote.reason) && this.of(index) === "holds") {
      // Its memory may be gone; if it still holds the value, it says so once more before it counts (E1, E2).
      this.#nodes[index] = "unsure";
    }
    // All other refusals changed nothing on the node.
  }

  /** The node was seen to hold it. */
  hold(index: number): void {
    this.#nodes[index] = "holds";
  }

  /** The node has executed our release, or said that it is without the value. */
  free(index: number): void {
    this.#nodes[index] = "free";
  }

  /** Asked without an answer: a node known to hold it still does, any other may. */
  doubt(index: number): void {
    if (this.of(index) === "free") this.#nodes[index] = "unsure";
  }
}

function isOfLostMemory(reason: string): boolean {
  return reason === "unadmitted" || reason === "quarantined";
}
