/** The faults that only hardships bring: names that lead elsewhere, strangers, and what happens to servers beside crashes and losses. */
import { type ExtraFault, placesOf } from "./plan.ts";
import type { Prng } from "./prng.ts";
import { STRANGER } from "./recorder.ts";
import type { Target } from "./nemesis.ts";
import type { SimServer } from "./server.ts";
import type { Client, SimLockerOptions } from "./simulation.ts";

/** What it needs of the nemesis it works for. */
export interface Accomplice {
  readonly target: Target;
  readonly prng: Prng;
  /** Runs after a while, unless all was healed before. */
  readonly later: (run: () => void) => void;
  readonly lostMemory: (server: SimServer) => void;
  readonly note: (fault: ExtraFault, target: string) => void;
}

const STRANGERS = ["cron", "reader", "facade", "truster"] as const;

type Kind = (typeof STRANGERS)[number];

/** What processes of other kinds ask the same servers for. */
const KINDS: Readonly<Record<Kind, SimLockerOptions>> = {
  cron: { mode: "single" },
  reader: { mode: "single", readOnly: true },
  facade: { clockWindowMs: 0, restartGuard: "first-use", maxTtlMs: 10_000 },
  truster: { restartGuard: "trust" },
};

export class Misfortunes {
  readonly #by: Accomplice;
  readonly #swapped = new Set<SimServer>();
  #strangers = 0;
  /** How far the clocks of all nodes are ahead. */
  #aheadMs = 0;

  constructor(by: Accomplice) {
    this.#by = by;
  }

  inject(fault: ExtraFault): void {
    const { target, prng } = this.#by;
    const { servers } = target.simulation;
    const server = servers[prng.int(0, servers.length - 1)];
    if (server !== undefined) this.#harm(server, fault);
  }

  #harm(server: SimServer, fault: ExtraFault): void {
    switch (fault) {
      case "a stranger comes":
        return this.#stranger(this.#by.prng.pick(STRANGERS), server);
      case "flush all":
        return this.#flushAll();
      case "lose the replicas":
        return this.#loseReplicas(server);
      case "renew a replication id":
        this.#by.note(fault, server.name);
        return server.renewReplicationId();
      case "swap databases":
        return this.#swap(server);
      case "evict":
        this.#by.note(fault, server.name);
        return server.evict();
      case "lead to a twin":
        return this.#twin(server);
      case "lead elsewhere":
        return this.#leadElsewhere();
      case "step all clocks":
        return this.#stepAll();
    }
  }

  /** All names lead where they say. Replicas are back. */
  heal(): void {
    const { clients, simulation, plan } = this.#by.target;
    for (const server of simulation.servers) server.replicas = plan.waitReplicas;
    const isAstray = plan.faults.has("lead to a twin") || plan.faults.has("lead elsewhere");
    if (!isAstray) return;
    for (const { name } of simulation.servers) for (const client of clients()) client.redirect(name, name);
  }

  /** With keys of its own, and other rules. It does what a process of another kind does, and is gone. */
  #stranger(kind: Kind, { name: server }: SimServer): void {
    const { simulation, plan } = this.#by.target;
    const name = `${STRANGER}-${kind}-${++this.#strangers}`;
    this.#by.note("a stranger comes", name);
    const options = { ttlMs: plan.ttlMs, clockWindowMs: plan.clockWindowMs, ...KINDS[kind] };
    const alone = options.mode === "single" ? { knows: [server], clockWindowMs: 0 } : placesOf(plan);
    void this.#visit(simulation.start(name, { ...options, ...alone }));
  }

  async #visit({ process, locker }: Client): Promise<void> {
    const { target, prng } = this.#by;
    await locker.inspect(target.plan.keys[0] ?? "");
    // A reader is refused.
    await locker.acquire(`of ${process.name}`, { waitMs: 1_000 }).catch(() => undefined);
    await process.sleep(prng.between(0, 2 * target.plan.ttlMs));
    await locker.close();
  }

  #flushAll(): void {
    const { target, lostMemory, note } = this.#by;
    note("flush all", "all servers");
    for (const server of target.simulation.servers) {
      server.flush();
      lostMemory(server);
    }
    // Before anybody else has looked, if it is quick.
    const [server] = target.simulation.servers;
    if (server !== undefined) this.#stranger("facade", server);
  }

  #loseReplicas(server: SimServer): void {
    this.#by.note("lose the replicas", server.name);
    server.replicas = 0;
    this.#by.later(() => (server.replicas = this.#by.target.plan.waitReplicas));
  }

  /** Once for each: back again, fences would be lost and the marker would not (docs/safety.md). */
  #swap(server: SimServer): void {
    if (this.#swapped.has(server)) return;
    this.#swapped.add(server);
    this.#by.note("swap databases", server.name);
    server.swapDatabases();
    this.#by.lostMemory(server);
  }

  #twin(server: SimServer): void {
    const { target, prng, later, note } = this.#by;
    const others = target.simulation.servers.filter((each) => each !== server);
    const other = others[prng.int(0, others.length - 1)];
    const clients = target.clients();
    const client = clients[prng.int(0, clients.length - 1)];
    if (other === undefined || client === undefined) return;
    note("lead to a twin", `${server.name} is ${other.name} for ${client.process.name}`);
    client.redirect(server.name, other.name);
    later(() => client.redirect(server.name, server.name));
  }

  /** The one name of single mode, for everybody at once, and back when the other server has voted for a while. */
  #leadElsewhere(): void {
    const { target, note } = this.#by;
    const { simulation, plan } = target;
    const [server, other] = simulation.servers;
    if (server === undefined || other === undefined) return;
    const lead = (to: SimServer): void => {
      note("lead elsewhere", `${server.name} leads to ${to.name}`);
      for (const client of target.clients()) client.redirect(server.name, to.name);
    };
    lead(other);
    const { clock } = simulation;
    const back = clock.now() + 3 * Math.max(...plan.maxTtlMs) + 2_000;
    clock.at(back, () => lead(server));
  }

  /** Ahead by less than fences are kept: no step back is larger than that. */
  #stepAll(): void {
    const { target, prng, note } = this.#by;
    const aheadMs = prng.between(0, 0.9) * (target.plan.fenceTtlMs ?? 0);
    note("step all clocks", `${Math.round(aheadMs - this.#aheadMs)} ms`);
    for (const server of target.simulation.servers) server.stepClock(aheadMs - this.#aheadMs);
    this.#aheadMs = aheadMs;
  }
}
