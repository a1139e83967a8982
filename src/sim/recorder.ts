/**
 * Writes the history of a simulation: what clients asked and were told, what servers did, which faults hit. Knows every lease that is
 * alive, because a jump of its client's clock moves the end of its validity.
 */
import type { HoldfastEvent } from "../events.ts";
import type { Condition, HistoryEvent, Operation } from "../history/history.ts";
import type { Lease } from "../lease/lease.ts";
import type { Vote } from "../node/lock-node.ts";
import type { SimProcess } from "./process.ts";
import type { Execution, OpenTerms, SimServer } from "./server.ts";
import type { Simulation } from "./simulation.ts";

interface Held {
  readonly lease: Lease;
  readonly process: SimProcess;
  until: number;
}

/** When a node could grant something to the least patient client, how many of them a lock takes, and on which a key is. */
export interface RecorderTerms extends OpenTerms {
  readonly quorum: number;
  readonly fleetOf: (key: string) => readonly SimServer[];
}

export class Recorder {
  readonly events: HistoryEvent[] = [];
  readonly #simulation: Simulation;
  readonly #held = new Map<Operation, Held>();
  readonly #terms: RecorderTerms;
  #operations = 0;

  constructor(simulation: Simulation, terms: RecorderTerms) {
    this.#simulation = simulation;
    this.#terms = terms;
    for (const server of simulation.servers) server.executed = (execution) => this.#executed(execution);
  }

  add(event: HistoryEvent): void {
    this.events.push(event);
  }

  fault(fault: string, target: string): void {
    this.add({ at: this.#simulation.clock.now(), type: "fault", fault, target });
  }

  acquiring(process: SimProcess, keys: readonly string[], mustSucceed: boolean): Operation {
    const op = `${process.name}#${++this.#operations}`;
    this.add({ at: process.localNow, type: "acquiring", client: process.name, op, keys, mustSucceed });
    return op;
  }

  /** `adopts`: the operation whose lease it goes on with. */
  acquired(
    op: Operation,
    process: SimProcess,
    lease: Lease,
    minValidityMs: number,
    adopts?: Operation,
  ): void {
    const until = this.#untilOf(process, lease);
    const { keys, holder, fence } = lease;
    // What was left when the grant was decided: this turn of the process may have stood still since.
    const stoodStillMs = process.localNow - this.#simulation.clock.now();
    const remainingMs = process.undisturbed(() => lease.remainingMs()) + stoodStillMs * process.rate;
    this.#held.set(op, { lease, process, until });
    this.add({
      at: process.localNow,
      type: "acquired",
      client: process.name,
      op,
      keys,
      holder,
      fence,
      quorum: this.#terms.quorum,
      until,
      remainingMs,
      minValidityMs,
      ...(adopts !== undefined && { adopts }),
    });
    this.#planLook(op);
  }

  asked(op: Operation, process: SimProcess, lease: Lease): boolean {
    const at = process.localNow;
    const isHeld = lease.isHeld();
    this.add({ at, type: "asked", client: process.name, op, isHeld });
    return isHeld;
  }

  releasing(op: Operation, process: SimProcess): void {
    this.#held.delete(op);
    this.add({ at: process.localNow, type: "releasing", client: process.name, op });
  }

  detached(op: Operation, process: SimProcess): void {
    this.#held.delete(op);
    this.add({ at: process.localNow, type: "detached", client: process.name, op });
  }

  /** Conditions of nodes are complete where a pace is to be kept. */
  condition(target: string, condition: Condition, isOn: boolean): void {
    this.add({ at: this.#simulation.clock.now(), type: "condition", target, condition, isOn });
  }

  crashed(process: SimProcess): void {
    for (const [op, held] of this.#held) if (held.process === process) this.#held.delete(op);
    this.add({ at: this.#simulation.clock.now(), type: "crashed", client: process.name });
  }

  /** For a client's observer. */
  heard(process: SimProcess, event: HoldfastEvent): void {
    if (event.type === "clock-jump") return this.#jumped(process);
    if (event.type === "clock-rate") return this.#paced(process, event.rate);
    if (event.type !== "extended" && event.type !== "lost") return;
    const [op, held] = this.#find(process, event.fence, event.keys) ?? [];
    if (op === undefined || held === undefined) return;
    const at = process.localNow;
    if (event.type === "extended") {
      // Who stood still until the new validity was over as well was never told of it: the old end stands.
      if (process.undisturbed(() => held.lease.isHeld())) held.until = this.#untilOf(process, held.lease);
      // It may have stood still before it measured, or since: then its own present is ahead of the one it measured in.
      const startedAt = process.beginOf(this.#simulation.clock.now(), event.durationMs);
      const startedBy = process.beginOf(at, event.durationMs);
      this.add({ at, type: "extended", client: process.name, op, startedAt, startedBy, until: held.until });
      this.#planLook(op);
    } else {
      this.add({ at, type: "lost", client: process.name, op, cause: event.cause, until: held.until });
      if (event.cause === "gone") this.#held.delete(op);
    }
  }

  #jumped(process: SimProcess): void {
    for (const [op, held] of this.#held) {
      if (held.process !== process) continue;
      held.until = Math.min(held.until, this.#untilOf(process, held.lease));
      this.add({ at: process.localNow, type: "shortened", client: process.name, op, until: held.until });
    }
  }

  /** Faster or slower from now on: the validity ends earlier or later than was said, by the clock of all. */
  #paced(process: SimProcess, rate: number): void {
    process.pace = rate;
    for (const [op, held] of this.#held) {
      if (held.process !== process || !process.undisturbed(() => held.lease.isHeld())) continue;
      held.until = this.#untilOf(process, held.lease);
      this.add({ at: process.localNow, type: "shortened", client: process.name, op, until: held.until });
      this.#planLook(op);
    }
  }

  #find(process: SimProcess, fence: number, keys: readonly string[]): [Operation, Held] | undefined {
    return [...this.#held].find(
      ([, held]) => held.process === process && held.lease.fence === fence && held.lease.key === keys[0],
    );
  }

  #untilOf(process: SimProcess, lease: Lease): number {
    return process.localNow + process.undisturbed(() => lease.remainingMs()) / process.rate;
  }

  /** S5: looks at the nodes right before the validity ends, if it still ends then. */
  #planLook(op: Operation): void {
    const held = this.#held.get(op);
    if (held === undefined) return;
    const { until, lease } = held;
    const { clock } = this.#simulation;
    // Granted, and over before its holder ran again: nobody was told that it is held.
    if (until - LOOK_BEFORE_MS <= held.process.localNow) return;
    clock.at(until - LOOK_BEFORE_MS, () => {
      if (this.#held.get(op) !== held || held.until !== until) return;
      const servers = this.#terms.fleetOf(lease.key);
      const open = servers.filter((server) => server.isOpenTo(lease.keys, lease.holder, this.#terms)).length;
      this.add({ at: clock.now(), type: "open-nodes", op, open, quorum: this.#terms.quorum });
    });
  }

  #executed({ server, request, vote, before, after }: Execution): void {
    const { op, keys, holder } = request;
    // Of strangers only their servers know: they ask for keys of their own, under other rules.
    if (holder.startsWith(STRANGER)) return;
    this.add({
      at: this.#simulation.clock.now(),
      type: "vote",
      node: server,
      request: op,
      keys,
      holder,
      ...(op === "exchange" && { from: request.from }),
      vote: wordFor(vote),
      before: before.map((each) => each ?? null),
      after: after.map((each) => each ?? null),
    });
  }
}

const LOOK_BEFORE_MS = 0.01;
/** How the names of those begin who are no clients of the run. */
export const STRANGER = "stranger";

function wordFor(vote: Vote): string {
  if (vote.kind !== "granted") return vote.reason;
  return vote.owesTombstone === true ? "owed" : "granted";
}
