/**
 * The faults of a swarm run, each at random moments and healed after a random time. Knows how to harm and how to heal, and writes down
 * which promise it took away: a memory that is lost, until when its node must be silent.
 */
import type { Condition } from "../history/history.ts";
import type { WriteRefusal } from "../node/node-state.ts";
import { Misfortunes } from "./misfortunes.ts";
import { type Fault, isExtra, type Plan, silenceMs } from "./plan.ts";
import type { Prng } from "./prng.ts";
import type { Recorder } from "./recorder.ts";
import type { Disk, SimServer } from "./server.ts";
import type { Client, Simulation } from "./simulation.ts";

export interface Target {
  readonly plan: Plan;
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  /** The clients that live now; a crashed one is replaced after a while. */
  readonly clients: () => readonly Client[];
  readonly replace: (client: Client) => void;
}

/** Clocks that count as right are within this part of the window. */
const RIGHT_CLOCK = 0.25;
const RIGHT_RATE = 0.0003;

export class Nemesis {
  readonly #target: Target;
  readonly #prng: Prng;
  readonly #misfortunes: Misfortunes;
  readonly #silentUntil = new Map<SimServer, number>();
  #isOn = true;

  constructor(target: Target, prng: Prng) {
    this.#target = target;
    this.#prng = prng;
    this.#misfortunes = new Misfortunes({
      target,
      prng: prng.fork("misfortunes"),
      later: (run) => this.#later(run),
      lostMemory: (server) => this.#lostMemory(server),
      note: (fault, name) => this.#note(fault, name),
    });
  }

  begin(): void {
    for (const server of this.#target.simulation.servers) this.#setClockNearlyRight(server);
    for (const [fault, meanMs] of this.#target.plan.faults) {
      // Not at any time, but when a client calls: the workload's affair.
      if (fault !== "stop a client in a call") this.#planNext(fault, meanMs);
    }
  }

  /** No more faults, and everything as it should be; servers that are down come back with what they had. */
  heal(): void {
    this.#isOn = false;
    const { simulation, clients, plan } = this.#target;
    simulation.network.healAll();
    simulation.network.weather = { ...plan.weather, stormChance: 0 };
    for (const server of simulation.servers) this.#repair(server);
    this.#misfortunes.heal();
    for (const { process } of clients()) process.hesitate = () => 0;
  }

  /** A clock that was far off is not just set right, which would be a jump there and back: its server starts anew. */
  #repair(server: SimServer): void {
    this.#resume(server);
    this.#condition([server], "cut off", false);
    server.refuses = undefined;
    if (Math.abs(server.skewMs) > this.#target.plan.clockWindowMs / 2) server.kill();
    server.setClockRight();
    if (server.state === "dead") this.#start(server, "everything");
  }

  #planNext(fault: Fault, meanMs: number): void {
    const { clock } = this.#target.simulation;
    clock.at(clock.now() + this.#prng.between(0, 2 * meanMs), () => {
      if (!this.#isOn) return;
      this.#inject(fault);
      this.#planNext(fault, meanMs);
    });
  }

  /** Runs after a while, unless all was healed before. */
  #later(run: () => void): void {
    const { clock } = this.#target.simulation;
    const ms = this.#prng.pick([50, 300, 1_000, 3_000]) * this.#prng.next() * 2;
    clock.at(clock.now() + ms, () => this.#isOn && run());
  }

  #inject(fault: Fault): void {
    if (isExtra(fault)) this.#misfortunes.inject(fault);
    else if (isAboutClients(fault)) this.#harmClient(fault);
    else if (fault === "storm") this.#storm();
    else if (fault === "isolate a majority") this.#isolateMajority();
    else this.#harmServer(fault);
  }

  #harmServer(fault: Fault): void {
    const server = this.#server();
    if (server === undefined) return;
    this.#note(fault, server.name);
    switch (fault) {
      case "kill":
      case "kill, back with everything":
        return this.#kill(server, "everything");
      case "kill, back with nothing":
        return this.#kill(server, "nothing");
      case "kill, back with an old snapshot":
        server.takeSnapshot();
        return this.#later(() => this.#kill(server, "old-snapshot"));
      case "stop a server":
        return this.#pause(server);
      case "fail over":
        return this.#failOver(server, "everything");
      case "fail over with loss":
        return this.#failOver(server, this.#prng.pick(["nothing", "old-snapshot"]));
      case "flush":
        server.flush();
        return this.#lostMemory(server);
      case "script flush":
        return server.forgetScripts();
      case "fill the memory":
        return this.#refuse(server, "growth");
      case "refuse all writes":
        return this.#refuse(server, "everything");
      default:
        return this.#harmNetworkOrClock(fault, server);
    }
  }

  #harmNetworkOrClock(fault: Fault, server: SimServer): void {
    const { network } = this.#target.simulation;
    const client = this.#client();
    const { process } = client;
    const away = [network.path(process.name, server.name), network.path(server.name, process.name)] as const;
    switch (fault) {
      case "cut both ways":
        away.forEach((path) => path.cut());
        return this.#later(() => away.forEach((path) => path.heal()));
      case "cut requests":
        away[0].cut();
        return this.#later(() => away[0].heal());
      case "cut replies":
        away[1].cut();
        return this.#later(() => away[1].heal());
      case "isolate a server":
        return this.#isolate([server]);
      case "disconnect":
        return client.disconnect(server.name);
      case "disconnect a listener":
        return client.deafen(server.name);
      default:
        return this.#harmClock(fault, server);
    }
  }

  #harmClock(fault: Fault, server: SimServer): void {
    const mayBeWrong = this.#target.plan.wrongClocks.includes(
      this.#target.simulation.servers.indexOf(server),
    );
    if (!mayBeWrong) return this.#setClockNearlyRight(server);
    const ms = this.#prng.pick([20, 200, 2_000, 20_000, 3_600_000]) * this.#prng.between(-1, 1);
    switch (fault) {
      case "step a clock":
        return server.stepClock(ms);
      case "clock there and back":
        server.stepClock(ms);
        if (this.#prng.chance(0.5)) server.expire();
        return this.#later(() => server.stepClock(-ms));
      default:
        server.setClockRate(this.#prng.between(0.5, 2));
        return this.#later(() => server.setClockRate(1));
    }
  }

  #harmClient(fault: Fault): void {
    const client = this.#client();
    const { process } = client;
    this.#note(fault, process.name);
    const ms = this.#prng.pick([0.02, 0.5, 2]) * this.#target.plan.ttlMs * this.#prng.next();
    switch (fault) {
      case "stop a client":
        return process.stop(ms);
      case "suspend a client":
        return process.suspend(ms);
      case "hesitate":
        return this.#hesitate(client, ms);
      case "step a client's wall clock":
        return process.stepWall(this.#prng.pick([50, 1_000, 3_600_000]) * this.#prng.between(-1, 1));
      default:
        return this.#crash(client);
    }
  }

  /** Not one that stands still just now: what it will do when it goes on is under way already. */
  #crash(client: Client): void {
    const { recorder, replace, simulation } = this.#target;
    if (client.process.localNow > simulation.clock.now()) return;
    recorder.crashed(client.process);
    client.crash();
    replace(client);
  }

  /** Stands still at some of its looks at the clock, for a while. */
  #hesitate({ process }: Client, ms: number): void {
    const chance = this.#prng.pick([0.001, 0.01, 0.05]);
    process.hesitate = () => (this.#prng.chance(chance) ? ms : 0);
    this.#later(() => (process.hesitate = () => 0));
  }

  #storm(): void {
    const { network } = this.#target.simulation;
    this.#note("storm", "network");
    network.weather = { ...network.weather, stormChance: 0.3, stormMs: this.#target.plan.ttlMs };
    this.#later(() => (network.weather = this.#target.plan.weather));
  }

  #isolateMajority(): void {
    const { servers } = this.#target.simulation;
    const some = servers.filter(() => this.#prng.chance(0.7));
    this.#note("isolate a majority", some.map(({ name }) => name).join(" "));
    this.#isolate(some);
  }

  #isolate(servers: readonly SimServer[]): void {
    const { network } = this.#target.simulation;
    const names = this.#target.clients().map(({ process }) => process.name);
    const each = (act: (client: string, server: string) => void) =>
      names.forEach((client) => servers.forEach((server) => act(client, server.name)));
    each((client, server) => network.cut(client, server));
    this.#condition(servers, "cut off", true);
    this.#later(() => {
      each((client, server) => network.heal(client, server));
      this.#condition(servers, "cut off", false);
    });
  }

  #refuse(server: SimServer, refuses: WriteRefusal): void {
    server.refuses = refuses;
    this.#later(() => (server.refuses = undefined));
  }

  #pause(server: SimServer): void {
    server.pause();
    this.#condition([server], "hung", true);
    this.#later(() => this.#resume(server));
  }

  #resume(server: SimServer): void {
    server.resume();
    this.#condition([server], "hung", false);
  }

  /** Where a pace is to be kept, it is known of every node whether it could vote. */
  #condition(servers: readonly SimServer[], condition: Condition, isOn: boolean): void {
    const { plan, recorder } = this.#target;
    if (plan.hasPace) for (const { name } of servers) recorder.condition(name, condition, isOn);
  }

  #kill(server: SimServer, disk: Disk): void {
    if (server.state === "dead") return;
    server.kill();
    this.#condition([server], "down", true);
    this.#later(() => this.#start(server, disk));
  }

  #start(server: SimServer, disk: Disk): void {
    if (server.state !== "dead") return;
    server.start(disk);
    if (disk !== "everything") this.#lostMemory(server);
    this.#quarantined(server);
  }

  /** A new process is a new memory to strict clients, whatever it remembers: silent for the longest ttl there may be. */
  #quarantined(server: SimServer): void {
    const { plan, simulation } = this.#target;
    const { clock } = simulation;
    this.#condition([server], "down", false);
    this.#condition([server], "hung", false);
    if (!plan.hasPace) return;
    this.#condition([server], "quarantined", true);
    const silentMs = 1.1 * Math.max(...plan.maxTtlMs) + 4 * plan.clockWindowMs;
    const end = clock.now() + silentMs;
    this.#silentUntil.set(server, end);
    clock.at(end, () => {
      // Not where it has been started again since.
      if (this.#silentUntil.get(server) === end) this.#condition([server], "quarantined", false);
    });
  }

  #failOver(server: SimServer, disk: Disk): void {
    if (server.state === "dead") return;
    server.failOver(disk);
    if (disk !== "everything") this.#lostMemory(server);
  }

  /** S10: what it forgot may be valid for so long. Where its clock may be wrong, nothing can be said. */
  #lostMemory(server: SimServer): void {
    const { plan, simulation, recorder } = this.#target;
    const isClockSound = !plan.wrongClocks.includes(simulation.servers.indexOf(server));
    if (!isClockSound || !plan.isStrict) return;
    const at = simulation.clock.now();
    const silentMs = silenceMs(plan) - plan.clockWindowMs;
    recorder.add({ at, type: "memory-lost", node: server.name, silentUntil: at + silentMs });
  }

  #setClockNearlyRight(server: SimServer): void {
    server.setClockRight();
    const { clockWindowMs } = this.#target.plan;
    server.stepClock(this.#prng.between(-RIGHT_CLOCK, RIGHT_CLOCK) * clockWindowMs);
    server.setClockRate(1 + this.#prng.between(-RIGHT_RATE, RIGHT_RATE));
  }

  #note(fault: Fault, target: string): void {
    this.#target.recorder.fault(fault, target);
  }

  #server(): SimServer | undefined {
    const { servers } = this.#target.simulation;
    return servers[this.#prng.int(0, servers.length - 1)];
  }

  #client(): Client {
    const [first, ...others] = this.#target.clients();
    if (first === undefined) throw new Error("a swarm run has clients");
    return this.#prng.pick([first, ...others]);
  }
}

function isAboutClients(fault: Fault): boolean {
  return fault.includes("client") || fault === "hesitate";
}
