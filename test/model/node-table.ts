/**
 * Exploring a model asks nodes for the same few decisions a hundred million times. A node that is asked about one key, in abstracted
 * time, has only some dozens of states, so each is asked once for each message, and the answers are kept in a table. The node itself
 * makes the table, a fresh one for every cell: nothing is copied and nothing imitated.
 */
export type Message =
  | { readonly kind: "acquire" | "release"; readonly attempt: number }
  /** Not sent by anybody: the lock's ttl is over on this node, too early or not. */
  | { readonly kind: "expiry" };

/** A node to be asked about one key. */
interface SpecimenNode {
  /** True if that was an acquire and was granted. */
  receive(message: Message): boolean;
  memory(): Memory;
}

interface Memory {
  /** The attempt whose lock the node has. */
  readonly holder: number | undefined;
  /** The largest proposal it accepted; 0 before the first. */
  readonly fence: number;
}

/** Makes an empty node; attempt `a` will propose `proposals[a]`, a small positive number. */
export type MakeNode = (proposals: readonly number[]) => SpecimenNode;

/** The states of a node are rows, 0 the empty one; what may happen to it are columns. */
export interface NodeTable {
  readonly next: readonly number[][];
  readonly granted: readonly boolean[][];
  readonly memories: readonly Memory[];
}

export const EXPIRY_COLUMN = 0;

export function acquireColumn(attempt: number): number {
  return 1 + 2 * attempt;
}

export function releaseColumn(attempt: number): number {
  return 2 + 2 * attempt;
}

/** Everything the messages of these attempts, in any order and number, and expiries at any moment can make of a node. */
export function tabulate(make: MakeNode, proposals: readonly number[]): NodeTable {
  const messages = messagesByColumn(proposals.length);
  const rows = new Rows();
  rows.numberOf(make(proposals).memory(), []);
  const next: number[][] = [];
  const granted: boolean[][] = [];
  for (const path of rows.paths) {
    const cells = messages.map((message) => {
      const node = make(proposals);
      for (const each of path) node.receive(each);
      return { isGranted: node.receive(message), row: rows.numberOf(node.memory(), [...path, message]) };
    });
    next.push(cells.map(({ row }) => row));
    granted.push(cells.map(({ isGranted }) => isGranted));
  }
  return { next, granted, memories: rows.memories };
}

export function messagesByColumn(attempts: number): Message[] {
  const messages: Message[] = [{ kind: "expiry" }];
  for (let attempt = 0; attempt < attempts; attempt++) {
    messages[acquireColumn(attempt)] = { kind: "acquire", attempt };
    messages[releaseColumn(attempt)] = { kind: "release", attempt };
  }
  return messages;
}

/** The states met so far, each with the messages that led to it first. */
class Rows {
  readonly memories: Memory[] = [];
  readonly paths: Message[][] = [];

  numberOf(memory: Memory, path: Message[]): number {
    const known = this.memories.findIndex(
      ({ holder, fence }) => holder === memory.holder && fence === memory.fence,
    );
    if (known >= 0) return known;
    this.paths.push(path);
    return this.memories.push(memory) - 1;
  }
}
