/**
 * Scenarios drawn from a seed, for long runs: some kind of work on some cluster while faults come and go, each for some seconds. Times
 * are such that locks do expire under those who hold them. Nothing is drawn that breaks an assumption: at most f clocks are wrong, and
 * a wrong one is never just set right.
 */
import { quorumOf } from "../quorum/tally.ts";
import { Prng } from "../sim/prng.ts";
import { factsOf, isAboutNetwork, remedyOf } from "./faults.ts";
import type {
  ClientFault,
  ClockFault,
  Fault,
  NetworkFault,
  NodeFault,
  Scenario,
  Step,
  Work,
} from "./scenario.ts";

/** From the first fault to the healing, about. */
const FAULTY_MS = 20_000;

/** For what takes its time, such as the start of a server. */
const MARGIN_MS = 1_000;

interface Site {
  readonly nodes: number;
  readonly clients: number;
  readonly aof: boolean;
  readonly ttlMs: number;
  /** The nodes whose clocks may be wrong. */
  readonly wrongClocks: readonly number[];
}

/** `round`: from 1; the same seed and round give the same scenario. */
export function drawScenario(seed: string, round: number): Scenario {
  const prng = new Prng(`${seed}/round ${round}`);
  const nodes = prng.pick([3, 3, 5]);
  const order = shuffled(numbers(nodes), prng);
  const ttlMs = prng.int(1_000, 3_000);
  const clients = prng.int(3, 5);
  const aof = prng.chance(0.5);
  const wrongClocks = order.slice(0, prng.int(0, nodes - quorumOf(nodes)));
  const steps = drawSteps({ nodes, clients, aof, ttlMs, wrongClocks }, prng);
  const kind = prng.pick<Work["kind"]>(["mutex", "counter", "register", "register"]);
  return {
    name: `round-${round}`,
    title: `${kind} on ${nodes} nodes, ttl ${ttlMs} ms: ${[...new Set(steps.map(({ fault }) => fault.do))].join(", ")}.`,
    cluster: { nodes, aof },
    locker: { ttlMs, maxTtlMs: prng.pick([ttlMs, 2 * ttlMs]) },
    work: {
      kind,
      clients,
      sectionMs: [0, prng.pick([0.1, 0.5, 2]) * ttlMs],
      waitMs: prng.pick([0.3, 1, 2]) * ttlMs,
      extend: prng.chance(0.7),
    },
    steps,
    expect: {},
  };
}

function drawSteps(site: Site, prng: Prng): Step[] {
  const steps: Step[] = [];
  const busy = new Busy();
  // Swarm testing: a round has only some kinds of faults, since all at once hide each other.
  const menu = MENU.filter(() => prng.chance(0.4));
  if (menu.length === 0) menu.push(...MENU);
  for (let [at, before] = [0, 0]; at < FAULTY_MS;) {
    at += prng.int(300, 3_000);
    const fault = prng.pick(menu as [Draw, ...Draw[]])(site, prng);
    const forMs = prng.int(500, 8_000);
    if (fault === undefined || !busy.take(fault, at, forMs)) continue;
    steps.push({ afterMs: at - before, fault, forMs });
    before = at;
  }
  return steps;
}

/** What one fault has hold of, another one cannot be inflicted on: a server that is down or hangs takes no commands. */
class Busy {
  readonly #until = new Map<string, number>();

  take(fault: Fault, at: number, forMs: number): boolean {
    const targets = isAboutNetwork(fault) ? [] : namesOf(fault);
    if (targets.some((target) => at < (this.#until.get(target) ?? 0))) return false;
    const ms = "ms" in fault && factsOf(fault).passes ? (fault.ms ?? 0) : 0;
    const end = at + Math.max(ms, remedyOf(fault) === undefined ? 0 : forMs) + MARGIN_MS;
    for (const target of targets) this.#until.set(target, end);
    return true;
  }
}

function namesOf(fault: Fault): string[] {
  if ("nodes" in fault) return fault.nodes.map((node) => `n${node}`);
  return fault.clients.map((client) => `c${client}`);
}

type Draw = (site: Site, prng: Prng) => Fault | undefined;

const MENU: readonly Draw[] = [
  nodeFault("kill"),
  nodeFault("restart"),
  nodeFault("restart empty"),
  (site, prng) => (site.aof ? nodeFault("lose power")(site, prng) : undefined),
  nodeFault("pause"),
  nodeFault("flush"),
  nodeFault("flush scripts"),
  nodeFault("demote"),
  nodeFault("fill memory"),
  nodeFault("evict"),
  timedNodeFault("pause writes"),
  timedNodeFault("sleep"),
  timedNodeFault("run a busy script"),
  nodeFault("forbid scripts"),
  nodeFault("hang up on listeners"),
  nodeFault("forbid notices"),
  networkFault("cut"),
  networkFault("drop requests"),
  networkFault("drop replies"),
  networkFault("hold requests"),
  networkFault("hold replies"),
  networkFault("chop"),
  networkFault("reset connections"),
  networkFault("reset before the reply"),
  networkFault("refuse connections"),
  networkFault("swallow connections"),
  (site, prng) => ({
    ...drawNetwork("delay", site, prng),
    ms: prng.int(1, 50),
    jitterMs: prng.int(0, site.ttlMs),
  }),
  (site, prng) =>
    clockFault(site, prng, "step the clock", { ms: prng.pick([-1, 1]) * prng.int(200, 3_600_000) }),
  (site, prng) => clockFault(site, prng, "run the clock at", { rate: prng.between(0.5, 2) }),
  (site, prng) => drawClient("stop", site, prng),
  (site, prng) => ({ ...drawClient("block", site, prng), ms: prng.int(100, 2 * site.ttlMs) }),
  (site, prng) => drawClient("kill a client", site, prng),
  (site, prng) => ({
    ...drawClient("step a client's clock", site, prng),
    ms: prng.pick([-1, 1]) * prng.int(100, 3_600_000),
  }),
];

/** Mostly one, now and then so many that there is no quorum. */
function drawNodes({ nodes }: Site, prng: Prng): number[] {
  const count = prng.pick([1, 1, 1, 2, prng.int(1, nodes)]);
  return shuffled(numbers(nodes), prng).slice(0, count);
}

function nodeFault(deed: NodeFault["do"]): Draw {
  return (site, prng) => ({ do: deed, nodes: drawNodes(site, prng) });
}

function timedNodeFault(deed: NodeFault["do"]): Draw {
  return (site, prng) => ({ do: deed, nodes: drawNodes(site, prng), ms: prng.int(100, 2 * site.ttlMs) });
}

function networkFault(deed: NetworkFault["do"]): Draw {
  return (site, prng) => drawNetwork(deed, site, prng);
}

function drawNetwork(deed: NetworkFault["do"], site: Site, prng: Prng): NetworkFault {
  const nodes = drawNodes(site, prng);
  return prng.chance(0.5)
    ? { do: deed, nodes }
    : { do: deed, nodes, clients: shuffled(numbers(site.clients), prng).slice(0, prng.int(1, 2)) };
}

function clockFault(
  { wrongClocks }: Site,
  prng: Prng,
  deed: ClockFault["do"],
  amount: { ms?: number; rate?: number },
): Fault | undefined {
  const [first, ...others] = wrongClocks;
  return first === undefined ? undefined : { do: deed, nodes: [prng.pick([first, ...others])], ...amount };
}

function drawClient(deed: ClientFault["do"], { clients }: Site, prng: Prng): ClientFault {
  return { do: deed, clients: [prng.int(1, clients)] };
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

function shuffled<T>(values: readonly T[], prng: Prng): T[] {
  return values
    .map((value) => ({ value, place: prng.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ value }) => value);
}
