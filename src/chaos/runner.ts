/**
 * Runs a scenario in a world: lets the clients work, inflicts the faults at their moments, heals everything, sees that all works
 * again, and judges the history.
 */
import { leadMs, quarantineMs } from "../clock/validity.ts";
import { check, CHECKERS, type Property, UNCONDITIONAL, type Violation } from "../history/checkers.ts";
import type { History, HistoryEvent } from "../history/history.ts";
import { remedyOf } from "./faults.ts";
import { figuresOf } from "./figures.ts";
import { lockerOptionsOf } from "./locker-options.ts";
import { type Course, unmet } from "./outcomes.ts";
import type { FinishedScenario } from "./result.ts";
import type { Cue, Fault, Scenario, Step } from "./scenario.ts";
import type { Interception, WireCue, World } from "./world.ts";

/** Whatever a step waits for comes within this, or will not come. */
const CUE_MS = 10_000;
const AFTER_MS = 300;
/** So much longer than a scenario says it may take until what it expects has happened. */
const LATE_MS = 10_000;
const LOOK_MS = 100;
/** Releases that are owed are asked for again as soon as a node is back. */
const SETTLE_MS = 2_000;

export async function runIn(world: World, scenario: Scenario, seed: string): Promise<FinishedScenario> {
  const run = new Run(world, scenario);
  try {
    await run.play();
  } catch (error) {
    run.failures.push(error instanceof Error ? error.message : String(error));
  } finally {
    await world.close();
  }
  return run.result(seed);
}

class Run {
  readonly failures: string[] = [];
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #stepsAt: number[] = [];
  /** Faults that nothing has undone yet. */
  readonly #standing = new Set<Fault>();
  #undoing: Promise<void>[] = [];
  #startedAt: number;
  #healedAt = Infinity;

  constructor(world: World, scenario: Scenario) {
    this.#world = world;
    this.#scenario = scenario;
    this.#startedAt = world.now();
  }

  async play(): Promise<void> {
    const world = this.#world;
    await world.begin();
    this.#startedAt = world.now();
    let place = 0;
    for (const step of this.#scenario.steps) {
      await this.#take(step, place);
      place = world.journal.length;
    }
    await world.sleep(this.#scenario.afterMs ?? AFTER_MS);
    await Promise.all(this.#undoing);
    await this.#untilMet();
    await world.passed();
    await this.#heal();
    await this.#comeToRest();
  }

  /** A slow machine shows later what is expected, which is no fault; what can only get worse does not get better by waiting. */
  async #untilMet(): Promise<void> {
    const { journal } = this.#world;
    const end = this.#world.now() + LATE_MS;
    const isMet = () => unmet(this.#course(journal.history())).length === 0;
    while (!isMet() && this.#world.now() < end) await this.#world.sleep(LOOK_MS);
  }

  #course(history: History): Course {
    return { scenario: this.#scenario, history, stepsAt: this.#stepsAt };
  }

  result(seed: string): FinishedScenario {
    const { nodes, clients, journal, troubles } = this.#world;
    const history = journal.history();
    const violations = this.#violations(history);
    const course = this.#course(history.filter(({ at }) => at < this.#healedAt));
    const failures = [...this.failures, ...troubles, ...unmet(course)];
    return {
      verdict: violations.length + failures.length === 0 ? "passed" : "failed",
      scenario: this.#scenario,
      seed,
      nodes,
      clients,
      startedAt: this.#startedAt,
      endedAt: this.#world.now(),
      history,
      violations,
      failures,
      figures: figuresOf(history),
    };
  }

  async #take(step: Step, place: number): Promise<void> {
    const { once, afterMs = 0, fault, forMs } = step;
    const kept = await this.#await(once, place);
    await this.#world.sleep(afterMs);
    await this.#inflict(fault);
    this.#stepsAt.push(this.#world.now());
    kept?.release();
    const remedy = remedyOf(fault);
    if (forMs !== undefined && remedy !== undefined)
      this.#undoing.push(this.#undoLater(fault, remedy, forMs));
  }

  async #await(cue: Cue | undefined, place: number): Promise<Interception | undefined> {
    if (cue === undefined) return undefined;
    if ("node" in cue) return this.#intercept(cue);
    await this.#within(this.#happens(cue, place), `client ${cue.client} has ${cue.has}`);
    return undefined;
  }

  async #intercept(cue: WireCue): Promise<Interception> {
    const interception = this.#world.intercept(cue);
    const happens =
      "hears" in cue
        ? `client ${cue.client} hears ${cue.hears} from node ${cue.node}`
        : `client ${cue.client} sends a request to ${cue.request} to node ${cue.node}`;
    try {
      await this.#within(interception.caught, happens);
    } catch (error) {
      interception.release();
      throw error;
    }
    return interception;
  }

  #happens({ client, has, times = 1 }: Exclude<Cue, WireCue>, place: number): Promise<void> {
    const { journal } = this.#world;
    const type = has === "asked" ? "acquiring" : has;
    const isIt = (event: HistoryEvent) =>
      event.type === type && "client" in event && event.client === `c${client}`;
    return new Promise((resolve) => {
      const look = () => {
        if (journal.countSince(place, isIt) < times) return;
        stop();
        resolve();
      };
      const stop = journal.listen(look);
      look();
    });
  }

  async #within(happening: Promise<void>, what: string): Promise<void> {
    const late = this.#world.sleep(CUE_MS).then(() => "late");
    if ((await Promise.race([happening, late])) === "late")
      throw new Error(`waited ${CUE_MS} ms in vain for this: ${what}`);
  }

  async #inflict(fault: Fault): Promise<void> {
    await this.#world.inflict(fault);
    if (remedyOf(fault) !== undefined) this.#standing.add(fault);
    for (const other of this.#standing)
      if (remedyOf(other)?.do === fault.do && covers(fault, other)) this.#standing.delete(other);
  }

  async #undoLater(fault: Fault, remedy: Fault, ms: number): Promise<void> {
    await this.#world.sleep(ms);
    if (this.#standing.has(fault)) await this.#inflict(remedy);
  }

  async #heal(): Promise<void> {
    for (const fault of Array.from(this.#standing)) {
      const remedy = remedyOf(fault);
      if (remedy !== undefined && this.#standing.has(fault)) await this.#inflict(remedy);
    }
    this.#healedAt = this.#world.now();
    this.#world.journal.add({ at: this.#healedAt, type: "healed" });
  }

  async #comeToRest(): Promise<void> {
    await this.#world.rest();
    await this.#world.confirm(this.#recoveryMs());
    await this.#world.settle(SETTLE_MS);
  }

  /** How long any client may have to wait when all is healed: connections, quarantines, locks of the dead, and the others' turns. */
  #recoveryMs(): number {
    const { maxTtlMs, clockWindowMs, rules } = lockerOptionsOf(this.#scenario.locker);
    const { clients = 3 } = this.#scenario.work;
    return 5_000 + 2 * quarantineMs(maxTtlMs, rules) + maxTtlMs + leadMs(clockWindowMs) + clients * 500;
  }

  #violations(history: readonly HistoryEvent[]): Violation[] {
    const isBroken = this.#scenario.expect.breaks !== undefined;
    return check(
      history,
      isBroken ? UNCONDITIONAL : (Object.keys(CHECKERS) as Property[]).filter(isObserved),
    );
  }
}

/** Which nodes would grant to others, and what every node answered to extensions, real servers do not tell. */
function isObserved(property: Property): boolean {
  return property !== "S5" && property !== "S8";
}

/** Whether a remedy is for all that a fault was inflicted on; a network's fault without clients is everybody's. */
function covers(remedy: Fault, fault: Fault): boolean {
  return coversAll(nodesOf(remedy), nodesOf(fault)) && coversAll(clientsOf(remedy), clientsOf(fault));
}

function coversAll(wide: readonly number[] | undefined, narrow: readonly number[] | undefined): boolean {
  return wide === undefined || (narrow?.every((target) => wide.includes(target)) ?? false);
}

function nodesOf(fault: Fault): readonly number[] | undefined {
  return "nodes" in fault ? fault.nodes : undefined;
}

function clientsOf(fault: Fault): readonly number[] | undefined {
  return "clients" in fault ? fault.clients : undefined;
}
