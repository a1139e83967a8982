/**
 * What happens to each library: the same faults at the same moments, on a fresh cluster each time. A scenario measures and decides
 * nothing; whatever a library does is a figure.
 */
import { monotonicMs } from "../../src/chaos/machine/monotonic.ts";
import { sleep, within } from "../../src/chaos/machine/wait-for.ts";
import { fillMemory, freeMemory } from "../../src/chaos/servers/commands.ts";
import type { LibraryName } from "../libraries.ts";
import type { AcquireAnswer } from "./messages.ts";
import { claimsOf, KEY, majorityOf, overlapOf, Site, type Span, type Worker } from "./site.ts";

/** Milliseconds, counts, or words. Undefined where a library has no such thing. */
export type Figures = Readonly<Record<string, number | string | undefined>>;

/** What a picture shows of one run. */
export interface Course {
  readonly figures: Figures;
  readonly from: number;
  readonly to: number;
  /** By contender: when it said that it had the lock. */
  readonly claims: readonly (readonly Span[])[];
  /** When it was told that it is lost. */
  readonly signals: readonly (readonly number[])[];
  /** When a majority of the nodes, and when fewer, had the key. */
  readonly majority: readonly Span[];
  readonly minority: readonly Span[];
  readonly marks: readonly { readonly at: number; readonly what: string }[];
}

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** What its figures are, in words. */
  readonly figures: Readonly<Record<string, string>>;
  /** Whether it says anything of a single node. */
  readonly isForOneNode: boolean;
  /** Nothing in it is faster than its faults, so that several libraries can go through it at once. */
  readonly mostlyWaits: boolean;
  run(library: LibraryName): Promise<Course>;
}

const HOUR_MS = 3_600_000;
const HUNG = "hung";
const EXTENDED = "extended";
const OCCUPIED_MS = 400;
const REASON_CHARACTERS = 44;

/** Runs on a site of its own, which is closed whatever happens. */
async function on(
  library: LibraryName,
  options: Parameters<typeof Site.open>[1],
  play: (site: Site, mark: (what: string) => void) => Promise<Figures>,
): Promise<Course> {
  const site = await Site.open(library, options);
  try {
    const from = monotonicMs();
    const marks: { at: number; what: string }[] = [];
    await site.watch();
    const figures = await play(site, (what) => marks.push({ at: monotonicMs(), what }));
    return courseOf(site, figures, from, marks);
  } finally {
    await site.close();
  }
}

function courseOf(site: Site, figures: Figures, from: number, marks: Course["marks"]): Course {
  const to = monotonicMs();
  return {
    figures,
    from,
    to,
    claims: site.workers.map((worker) => claimsOf(worker, to)),
    signals: site.workers.map(({ news }) => news.filter(({ why }) => why === "told").map(({ at }) => at)),
    majority: presence(site, to, (values) => majorityOf(values, site.quorum) !== undefined),
    minority: presence(
      site,
      to,
      (values) => values.length > 0 && majorityOf(values, site.quorum) === undefined,
    ),
    marks,
  };
}

function presence(site: Site, end: number, matches: (values: readonly string[]) => boolean): Span[] {
  const spans: Span[] = [];
  let from: number | undefined;
  for (const { at, values } of site.presence) {
    if (matches(values)) from ??= at;
    else if (from !== undefined) {
      spans.push({ from, to: at });
      from = undefined;
    }
  }
  if (from !== undefined) spans.push({ from, to: end });
  return spans;
}

function took(answer: AcquireAnswer | undefined): number | string {
  if (answer === undefined) return HUNG;
  return answer.isHeld ? answer.at - answer.began : "refused";
}

function outcome(answer: AcquireAnswer | undefined): string {
  if (answer === undefined) return HUNG;
  return answer.isHeld ? "acquired" : `refused: ${answer.error?.slice(0, REASON_CHARACTERS) ?? ""}`;
}

function overlapMs(site: Site): number {
  const now = monotonicMs();
  const [first = [], second = []] = site.workers.map((worker) => claimsOf(worker, now));
  return overlapOf(first, second);
}

/** When the library said that the lock is lost, counted from when a majority really had it last: late is positive. */
function signalMs(worker: Worker, site: Site, since: number, holder: string | undefined): number | string {
  const told = worker.news.find(({ why, at }) => why === "told" && at >= since);
  const end = site.lastMajorityAt(holder);
  if (told === undefined) return "no signal";
  return end === undefined ? "no signal" : told.at - end;
}

export const COMPARED: readonly Scenario[] = [
  {
    name: "restart-empty",
    title:
      "A holder has two of three nodes (ttl 5 s); one of the two comes back empty, and another process asks.",
    figures: { "overlap ms": "both said that they had it", "contender ms": "until the other process had it" },
    isForOneNode: true,
    mostlyWaits: true,
    run: (library) =>
      on(library, { nodes: 3 }, async (site, mark) => {
        await occupyLast(site);
        await site.acquire(0, 5_000, { withinMs: 10_000 });
        await sleep(OCCUPIED_MS);
        mark("restarts empty");
        await site.cluster.nodes[site.cluster.nodes.length > 1 ? 1 : 0]?.restartEmpty();
        // Everybody is connected again.
        await sleep(300);
        const answer = await site.acquire(1, 5_000, { withinMs: 15_000 });
        await sleep(5_500);
        return { "overlap ms": overlapMs(site), "contender ms": took(answer) };
      }),
  },
  {
    name: "minority-dead",
    title: "One of three nodes is dead; a process asks for a lock of 5 s.",
    figures: { "acquire ms": "from the call to the lock" },
    isForOneNode: false,
    mostlyWaits: false,
    run: (library) =>
      on(library, { nodes: 3, workers: 1 }, async (site, mark) => {
        await site.cluster.nodes[2]?.kill();
        mark("asks");
        const answer = await site.acquire(0, 5_000, { withinMs: 15_000 });
        return { "acquire ms": took(answer), outcome: outcome(answer) };
      }),
  },
  {
    name: "minority-hung",
    title:
      "One of three nodes hangs while a lock of 2 s is extended by its library; another process asks meanwhile.",
    figures: {
      "overlap ms": "both said that they had it",
      "said ms": "how long the holder said that it has it, of 10 s",
      "had ms": "how long a majority of the nodes had it",
    },
    isForOneNode: false,
    mostlyWaits: true,
    run: (library) =>
      on(library, { nodes: 3 }, async (site, mark) => {
        await site.acquire(0, 2_000, { automatic: true, withinMs: 10_000 });
        await sleep(50);
        const holder = site.holder();
        const from = monotonicMs();
        mark("node hangs");
        site.cluster.nodes[2]?.pause();
        await site.contend(1, 2_000, 10_000);
        await sleep(from + 10_000 - monotonicMs());
        const to = monotonicMs();
        const said = overlapOf(claimsOf(site.worker(0), to), [{ from, to }]);
        const had = presence(site, to, (values) => majorityOf(values, site.quorum) === holder);
        return { "overlap ms": overlapMs(site), "said ms": said, "had ms": overlapOf(had, [{ from, to }]) };
      }),
  },
  {
    name: "replies-dropped",
    title:
      "The replies of a majority disappear while a lock of 2 s is extended by its library; another process asks.",
    figures: {
      "signal ms": "told of the loss, counted from when no majority had the lock any more",
      "overlap ms": "both said that they had it",
    },
    isForOneNode: true,
    mostlyWaits: true,
    run: (library) =>
      on(library, { nodes: 3, proxied: [0] }, async (site, mark) => {
        await site.acquire(0, 2_000, { automatic: true, withinMs: 10_000 });
        await sleep(500);
        const holder = site.holder();
        const from = monotonicMs();
        mark("replies dropped");
        for (const proxy of site.worker(0).proxies.slice(0, site.quorum)) proxy.drop("down");
        await site.contend(1, 2_000, 12_000);
        await sleep(from + 12_000 - monotonicMs());
        return { "signal ms": signalMs(site.worker(0), site, from, holder), "overlap ms": overlapMs(site) };
      }),
  },
  {
    name: "slow-replies",
    title: "Replies take 2.5 s, and a lock of 2 s is asked for.",
    figures: {
      outcome: "what the library said",
      "gone ms": "how long the lock had been gone when it was handed out",
    },
    isForOneNode: true,
    mostlyWaits: true,
    run: (library) =>
      on(library, { nodes: 3, workers: 1, proxied: [0] }, async (site, mark) => {
        for (const proxy of site.worker(0).proxies) proxy.delay(2_500, "down");
        mark("asks");
        const answer = await site.acquire(0, 2_000, { withinMs: 25_000 });
        if (answer?.isHeld !== true) return { outcome: outcome(answer), "gone ms": undefined };
        const gone = site.presence.findLast(
          ({ values }) => majorityOf(values, site.quorum) !== undefined,
        )?.at;
        return { outcome: outcome(answer), "gone ms": answer.at - (gone ?? answer.began) };
      }),
  },
  {
    name: "split-vote",
    title: "Two nodes, and two processes that ask at the same moment: each gets one node first.",
    figures: {
      "first ms": "until one of them had the lock of 10 s, which it gave back at once",
      outcome: "of both",
    },
    isForOneNode: false,
    mostlyWaits: false,
    run: (library) =>
      on(library, { nodes: 2, proxied: [0, 1] }, async (site, mark) => {
        site.worker(0).proxies[1]?.delay(30, "up");
        site.worker(1).proxies[0]?.delay(30, "up");
        mark("both ask");
        const turns = await Promise.all([0, 1].map((index) => oneTurn(site, index, 20_000)));
        const times = turns.flatMap((turn) => (typeof turn === "number" ? [turn] : []));
        return {
          "first ms": times.length === 0 ? HUNG : Math.min(...times),
          outcome: turns.map((turn) => (typeof turn === "number" ? "acquired" : turn)).join(" / "),
        };
      }),
  },
  {
    name: "failed-extend",
    title: "All nodes are out of memory for a moment, just when a lock of 5 s is to be extended.",
    figures: { extend: "what the call said", "still there": "whether a majority had the lock afterwards" },
    isForOneNode: true,
    mostlyWaits: true,
    run: (library) =>
      on(library, { nodes: 3, workers: 1 }, async (site, mark) => {
        await site.acquire(0, 5_000, { withinMs: 10_000 });
        mark("out of memory");
        await Promise.all(site.cluster.nodes.map((node) => fillMemory(node)));
        const extending = site.worker(0).client.call("extend", 5_000) as Promise<string | undefined>;
        const answer = await within(
          extending.then((error) => error ?? EXTENDED),
          10_000,
        );
        const error = answer ?? HUNG;
        await Promise.all(site.cluster.nodes.map((node) => freeMemory(node)));
        await sleep(50);
        if (error === "no such call") return { extend: undefined, "still there": undefined };
        return {
          extend: error === EXTENDED ? error : `failed: ${error.slice(0, REASON_CHARACTERS)}`,
          "still there": site.holder() === undefined ? "NO" : "yes",
        };
      }),
  },
  {
    name: "cut-before-the-reply",
    title: "The nodes execute an acquire (ttl 10 s), and the connections end before they can say so.",
    figures: {
      "acquire ms": "until the same process had it",
      "orphan ms": "how long a lock that nobody has was there",
    },
    isForOneNode: true,
    mostlyWaits: true,
    run: (library) =>
      on(library, { nodes: 3, workers: 1, proxied: [0] }, async (site, mark) => {
        for (const proxy of site.worker(0).proxies) proxy.cutBeforeReply();
        mark("asks");
        const answer = await site.acquire(0, 10_000, { withinMs: 15_000 });
        if (answer?.isHeld === true) return { "acquire ms": took(answer), "orphan ms": 0 };
        const failedAt = answer?.at ?? monotonicMs();
        await goneOrLate(site, failedAt + 11_000);
        return {
          "acquire ms": took(answer),
          "orphan ms": Math.max(0, (site.lastPresentAt() ?? failedAt) - failedAt),
        };
      }),
  },
  {
    name: "clock-back-and-stolen",
    title:
      "A holder's wall clock goes back an hour, and its lock of 2 s, extended by its library, is somebody else's.",
    figures: {
      "signal ms": "told of the loss after the theft",
      "commands/s": "of all nodes together, meanwhile",
    },
    isForOneNode: true,
    mostlyWaits: false,
    run: (library) =>
      on(library, { nodes: 3, workers: 1, clocks: [0] }, async (site, mark) => {
        await site.acquire(0, 2_000, { automatic: true, withinMs: 10_000 });
        site.worker(0).clock?.step(-HOUR_MS);
        const key = String(await site.worker(0).client.call("redisKey", KEY));
        mark("stolen");
        const from = monotonicMs();
        await Promise.all(site.cluster.nodes.map((node) => node.cli("SET", key, "a thief", "PX", HOUR_MS)));
        const before = await site.commands();
        await sleep(6_000);
        const commands = (await site.commands()) - before;
        const told = site.worker(0).news.find(({ why }) => why === "told");
        return {
          "signal ms": told === undefined ? "no signal" : told.at - from,
          "commands/s": commands / ((monotonicMs() - from) / 1_000),
        };
      }),
  },
  {
    name: "herd",
    title:
      "Ten processes ask for one lock (ttl 10 s) on five healthy nodes at the same moment, and give it back at once.",
    figures: {
      "first ms": "until the first had it",
      "all ms": "until all had it once",
      "commands/turn": "of all nodes together",
    },
    isForOneNode: true,
    mostlyWaits: false,
    run: (library) =>
      on(library, { nodes: 5, workers: 10 }, async (site, mark) => {
        mark("all ask");
        const before = await site.commands();
        const turns = await Promise.all(site.workers.map((_, index) => oneTurn(site, index, 30_000)));
        const times = turns.flatMap((turn) => (typeof turn === "number" ? [turn] : []));
        const commands = (await site.commands()) - before;
        return {
          "first ms": times.length === 0 ? HUNG : Math.min(...times),
          "all ms":
            times.length === turns.length ? Math.max(...times) : `${times.length} of ${turns.length} had it`,
          "commands/turn": times.length === 0 ? undefined : commands / times.length,
        };
      }),
  },
  {
    name: "hand-over",
    title:
      "One process gives the lock back while another one waits for it, ten times (five nodes, defaults).",
    figures: {
      "hand-over ms": "from the release to the other's lock, median",
      "commands/s": "of the waiter, by node",
    },
    isForOneNode: true,
    mostlyWaits: false,
    run: (library) =>
      on(library, { nodes: 5 }, async (site) => {
        const times: number[] = [];
        let [commands, waitedMs] = [0, 0];
        for (let turn = 0; turn < 10; turn++) {
          const [holder, waiter] = turn % 2 === 0 ? [0, 1] : [1, 0];
          if (turn === 0) await site.acquire(holder, 10_000, { withinMs: 10_000 });
          const before = await site.commands();
          const began = monotonicMs();
          const waiting = site.acquire(waiter, 10_000, { withinMs: 15_000 });
          await sleep(600 + 37 * turn);
          commands += (await site.commands()) - before;
          waitedMs += monotonicMs() - began;
          const releasedAt = monotonicMs();
          await site.worker(holder).client.call("release");
          const answer = await waiting;
          if (answer?.isHeld !== true) return { "hand-over ms": outcome(answer), "commands/s": undefined };
          times.push(answer.at - releasedAt);
        }
        return {
          "hand-over ms": median(times),
          "commands/s": commands / (waitedMs / 1_000) / site.cluster.nodes.length,
        };
      }),
  },
];

/** From the call to the lock, which is given back at once; or what became of it. */
async function oneTurn(site: Site, index: number, withinMs: number): Promise<number | string> {
  const answer = await site.acquire(index, 10_000, { withinMs });
  if (answer?.isHeld !== true) return outcome(answer);
  await within(site.worker(index).client.call("release"), withinMs);
  return answer.at - answer.began;
}

/** The last of several nodes has somebody else's lock for a moment, so that a holder gets the others only. */
async function occupyLast(site: Site): Promise<void> {
  const last = site.cluster.nodes.at(-1);
  if (site.cluster.nodes.length === 1 || last === undefined) return;
  const key = String(await site.worker(0).client.call("redisKey", KEY));
  await last.cli("SET", key, "somebody else", "PX", OCCUPIED_MS);
}

async function goneOrLate(site: Site, end: number): Promise<void> {
  while (monotonicMs() < end && (site.presence.at(-1)?.values.length ?? 0) > 0) await sleep(20);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
