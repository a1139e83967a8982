/** What the figures say beside each other: against the best of the other libraries, and against the floor. */
import { FLOORS, isFloor, isOurs } from "./contestants.ts";
import type { Row } from "./suites.ts";

export interface Rated {
  readonly row: Row;
  /** Of throughput, how many times as much; of latency, how many times as long. Undefined where there is nothing to compare with. */
  readonly toBestPeer: number | undefined;
  readonly toFloor: number | undefined;
  readonly toPipelinedFloor: number | undefined;
}

const MORE_IS_BETTER = "pairs/s";
const LESS_IS_BETTER = "p50 µs";

/** Rows of one suite, size and place are beside each other. */
export function rated(rows: readonly Row[]): Rated[] {
  return rows.map((row) => {
    const beside = rows.filter(
      ({ suite, nodes, at }) => suite === row.suite && nodes === row.nodes && at === row.at,
    );
    const peers = beside.filter(({ name }) => !isOurs(name) && !isFloor(name)).map(valueOf);
    const best = MORE_IS_BETTER in row.figures ? Math.max(...peers) : Math.min(...peers);
    const floorOf = (name: string) => beside.find((each) => each.name === name);
    return {
      row,
      toBestPeer: peers.length === 0 ? undefined : ratio(valueOf(row), best),
      toFloor: ratio(valueOf(row), valueOf(floorOf(FLOORS[0]))),
      toPipelinedFloor: ratio(valueOf(row), valueOf(floorOf(FLOORS[1]))),
    };
  });
}

function valueOf(row: Row | undefined): number {
  return row?.figures[MORE_IS_BETTER] ?? row?.figures[LESS_IS_BETTER] ?? Number.NaN;
}

function ratio(value: number, other: number): number | undefined {
  return Number.isFinite(value / other) ? value / other : undefined;
}
