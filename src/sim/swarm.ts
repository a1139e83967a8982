/**
 * One run of the swarm: a cluster, its clients and a nemesis from one seed; first anything goes, then everything is healed and must
 * work again; in the end the history is checked.
 */
import { check, CHECKERS, type Property, UNCONDITIONAL, type Violation } from "../history/checkers.ts";
import type { History } from "../history/history.ts";
import { quorumOf } from "../quorum/tally.ts";
import { type Hardship, hardened } from "./hardships.ts";
import { Nemesis } from "./nemesis.ts";
import { drawPlan, FENCES, optionsOf, paceOf, type Plan, recoveryMs, shardsOf, silenceMs } from "./plan.ts";
import { Prng } from "./prng.ts";
import { Recorder } from "./recorder.ts";
import type { SimServer } from "./server.ts";
import { type Client, Simulation } from "./simulation.ts";
import { confirm, Resource, type Site, work } from "./workload.ts";

export interface Run {
  readonly plan: Plan;
  readonly history: History;
  readonly violations: readonly Violation[];
  readonly virtualMs: number;
}

/** All properties where the run keeps the assumptions, those without assumptions where it breaks some on purpose. */
export async function runSeed(seed: string, hardships: readonly Hardship[] = []): Promise<Run> {
  const prng = new Prng(seed);
  const plan = hardened(drawPlan(seed, prng.fork("plan")), hardships, prng.fork("hardships"));
  const simulation = new Simulation({ seed, nodes: plan.nodes * plan.shards + plan.spares });
  const { history, trouble } = await new SwarmRun(plan, simulation, prng).run();
  const violations = [...check(history, propertiesOf(plan)), ...trouble];
  return { plan, history, violations, virtualMs: simulation.clock.now() };
}

const ALL = Object.keys(CHECKERS) as readonly Property[];

const RESTS_ON_FENCES: readonly Property[] = ["S2", "S3", "S4"];

function propertiesOf({ broken, unchecked }: Plan): readonly Property[] {
  if (broken.length === 0) return ALL.filter((property) => !unchecked.includes(property));
  return UNCONDITIONAL.filter((property) => !broken.includes(FENCES) || !RESTS_ON_FENCES.includes(property));
}

/** After this the servers have forgotten all locks, and whatever was owed to them has been given up. */
const GRACE_MS = 30_000;

const WARM_UP_MS = 1_000;

class SwarmRun {
  readonly #plan: Plan;
  readonly #simulation: Simulation;
  readonly #prng: Prng;
  readonly #recorder: Recorder;
  readonly #site: Site;
  readonly #clients: Client[] = [];
  readonly #trouble: Violation[] = [];
  #starts = 0;

  constructor(plan: Plan, simulation: Simulation, prng: Prng) {
    this.#plan = plan;
    this.#simulation = simulation;
    this.#prng = prng;
    this.#recorder = new Recorder(simulation, {
      clockWindowMs: plan.clockWindowMs,
      silenceMs: silenceMs(plan),
      quorum: quorumOf(plan.nodes),
      fleetOf: (key) => this.#fleetOf(key),
    });
    const end = plan.faultyMs;
    this.#site = {
      plan,
      simulation,
      recorder: this.#recorder,
      resource: new Resource(),
      clients: () => this.#clients,
      isOn: () => simulation.clock.now() < end,
    };
  }

  /** The servers that have this key. */
  #fleetOf(key: string): readonly SimServer[] {
    const { nodes, shards } = this.#plan;
    const { servers } = this.#simulation;
    const home = this.#clients[0]?.locker.shardOf(key);
    const first =
      shards === 1 || home === undefined ? 0 : shardsOf(this.#plan).findIndex(([name]) => name === home);
    return servers.slice(first * nodes, (first + 1) * nodes);
  }

  async run(): Promise<{ history: History; trouble: readonly Violation[] }> {
    const simulation = this.#simulation;
    simulation.network.weather = this.#plan.weather;
    for (const server of simulation.servers)
      Object.assign(server, { noticeWeather: this.#plan.noticeWeather, replicas: this.#plan.waitReplicas });
    for (let index = 0; index < this.#plan.clients; index++) this.#start(index);
    if (this.#plan.isDeclared) await this.#declare();
    const nemesis = new Nemesis(
      {
        plan: this.#plan,
        simulation,
        recorder: this.#recorder,
        clients: () => this.#clients,
        replace: (client) => this.#replace(client),
      },
      this.#prng.fork("nemesis"),
    );
    if (this.#plan.hasPace) this.#setPace();
    nemesis.begin();
    this.#clients.forEach((client, index) => this.#work(client, index));
    await simulation.pass(this.#plan.faultyMs - simulation.clock.now());
    nemesis.heal();
    this.#recorder.add({ at: simulation.clock.now(), type: "healed" });
    await this.#recover();
    await this.#close();
    return { history: this.#recorder.events, trouble: this.#trouble };
  }

  /** When clients have met their nodes, and know their clocks as they are from now on. */
  #setPace(): void {
    const { clock } = this.#simulation;
    clock.at(clock.now() + WARM_UP_MS, () => this.#recorder.add(paceOf(this.#plan, this.#simulation)));
  }

  #start(index: number): Client {
    const prng = this.#prng.fork(`client ${index} start ${this.#starts++}`);
    // Filled in below: the observer hears of nothing before the client has asked for something.
    const heard: { by?: Client } = {};
    const client = this.#simulation.start(`c${index + 1}`, {
      ...optionsOf(this.#plan),
      maxTtlMs: this.#plan.maxTtlMs[index],
      clockRate: clockRateOf(prng.between(-0.003, 0.003), this.#plan.clockSpread),
      observer: (event) => heard.by && this.#recorder.heard(heard.by.process, event),
    });
    heard.by = client;
    this.#clients[index] = client;
    return client;
  }

  async #declare(): Promise<void> {
    const [first] = this.#clients;
    if (first !== undefined) await this.#simulation.run(first.locker.init(), GRACE_MS);
  }

  #work(client: Client, index: number): void {
    for (let section = 0; section < this.#plan.sectionsAtOnce; section++) {
      const prng = this.#prng.fork(`work ${index} section ${section} start ${this.#starts}`);
      work(client, index, this.#site, prng).catch((error: unknown) => this.#report(error));
    }
  }

  #replace(client: Client): void {
    const index = this.#clients.indexOf(client);
    const { clock } = this.#simulation;
    const next = this.#start(index);
    clock.at(clock.now() + 1, () => this.#work(next, index));
  }

  /** L1, L4: every client that lives gets every key. */
  async #recover(): Promise<void> {
    const waitMs = recoveryMs(this.#plan);
    const confirmations = this.#clients.map((client) => confirm(client, this.#site, waitMs));
    try {
      await this.#simulation.run(Promise.all(confirmations), 3 * waitMs * this.#plan.keys.length);
    } catch (error) {
      this.#report(error);
    }
  }

  /** Closed lockers leave no timer: all that still waits then belongs to nobody. */
  async #close(): Promise<void> {
    const { clock } = this.#simulation;
    await this.#simulation.run(Promise.all(this.#clients.map(({ locker }) => locker.close())), GRACE_MS);
    await this.#simulation.pass(GRACE_MS);
    if (clock.pending > 0)
      this.#report(new Error(`${clock.pending} timers are left after everything was closed`));
  }

  /** What no property names, and must not be either. */
  #report(error: unknown): void {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#trouble.push({ property: "run", at: this.#simulation.clock.now(), detail });
  }
}

/** Of a drift in ±0.3 %. One client in ten is slewed by its NTP, as fast as chrony does it by default; which, was drawn with the drift. */
function clockRateOf(drift: number, spread: number): number {
  if (spread > DRIFT_MAX) return 1 + (drift / DRIFT_MAX) * spread;
  return drift < SLEWED_BELOW ? 1 - CHRONY_SLEW : 1 + drift;
}

const DRIFT_MAX = 0.003;
const SLEWED_BELOW = -0.0024;
const CHRONY_SLEW = 0.083333;
