/**
 * What must hold of every history, property by property: pure functions from a history to what is wrong with it. The names are those
 * of docs/safety.md; a test shows each of them a doctored history that it must refuse.
 */
import { type History, type HistoryEvent, type LeaseRecord, leasesOf, type VoteFact } from "./history.ts";
import { longWaits, type Wait } from "./promptness.ts";

export type Property =
  "S1" | "S2" | "S3" | "S4" | "S5" | "S6" | "S7" | "S8" | "S9" | "S10" | "S11" | "L1" | "L2" | "L4";

export interface Violation {
  /** `run`: not a property, but something that must not happen either, such as an unexpected error. */
  readonly property: Property | "run";
  readonly at: number;
  /** In words, with the operations it is about. */
  readonly detail: string;
}

type Checker = (history: History) => Violation[];

/** Times of different clients are computed from clocks with rates: a µs is no violation. */
const NOISE_MS = 0.001;

export const CHECKERS: Readonly<Record<Property, Checker>> = {
  S1: noOverlap,
  S2: laterIsLarger,
  S3: neverTheSameFence,
  S4: noOlderWriteAfterNewer,
  S5: quorumUntilTheEnd,
  S6: quorumAndTime,
  S7: othersAreUntouched,
  S8: extendedOnlyWhileHeld,
  S9: nothingBehindARelease,
  S10: silentAfterMemoryLoss,
  S11: noClaimAfterTheEnd,
  L1: acquiredAfterHealing,
  L2: promptWhileQuorate,
  L4: promptAfterReturn,
};

/** The properties that hold even where clocks and memory break the assumptions of the others. */
export const UNCONDITIONAL: readonly Property[] = ["S2", "S3", "S4", "S6", "S7", "S9", "S11"];

export function check(history: History, properties: readonly Property[]): Violation[] {
  return properties.flatMap((property) => CHECKERS[property](history));
}

/** S1: two leases of one key never overlap in time. */
function noOverlap(history: History): Violation[] {
  return keysOf(history).flatMap(([, leases]) => {
    let latest: LeaseRecord | undefined;
    return leases.flatMap((lease) => {
      const before = latest;
      if (before === undefined || lease.endedAt > before.endedAt) latest = lease;
      if (before === undefined || lease.acquiredAt + NOISE_MS >= before.endedAt) return [];
      const overlapMs = Math.min(before.endedAt, lease.endedAt) - lease.acquiredAt;
      return overlapMs <= NOISE_MS
        ? []
        : [
            violation(
              "S1",
              lease.acquiredAt,
              `${name(before)} and ${name(lease)} overlap for ${overlapMs.toFixed(3)} ms`,
            ),
          ];
    });
  });
}

/** S2: a lease that was asked for after another one was acquired has a larger fence. */
function laterIsLarger(history: History): Violation[] {
  return keysOf(history).flatMap(([, leases]) => {
    const asked = [...leases].sort((a, b) => a.invokedAt - b.invokedAt);
    let largest: LeaseRecord | undefined;
    let next = 0;
    return asked.flatMap((lease) => {
      for (
        let each = leases[next];
        each !== undefined && each.acquiredAt < lease.invokedAt;
        each = leases[++next]
      ) {
        if (largest === undefined || each.fence > largest.fence) largest = each;
      }
      return largest === undefined || isSameLock(largest, lease) || lease.fence > largest.fence
        ? []
        : [
            violation(
              "S2",
              lease.acquiredAt,
              `${name(lease)} is later than ${name(largest)}, and its fence is not larger`,
            ),
          ];
    });
  });
}

/** S3: no two leases of a key share a fence. */
function neverTheSameFence(history: History): Violation[] {
  return keysOf(history).flatMap(([, leases]) => {
    const known = new Map<number, LeaseRecord>();
    return leases.flatMap((lease) => {
      const twin = known.get(lease.fence);
      known.set(lease.fence, lease);
      return twin === undefined || isSameLock(twin, lease)
        ? []
        : [violation("S3", lease.acquiredAt, `${name(twin)} and ${name(lease)} share a fence`)];
    });
  });
}

/** S4: at a resource that refuses smaller fences, no write of an older holder lands after one of a newer. */
function noOlderWriteAfterNewer(history: History): Violation[] {
  const leases = new Map(leasesOf(history).map((lease) => [lease.op, lease]));
  const newest = new Map<string, LeaseRecord>();
  return history.flatMap((event) => {
    if (event.type !== "write" || !event.isStored) return [];
    const writer = leases.get(event.op);
    if (writer === undefined) return [];
    const last = newest.get(event.key);
    if (last === undefined || writer.acquiredAt > last.acquiredAt) newest.set(event.key, writer);
    return last !== undefined && !isSameLock(writer, last) && writer.acquiredAt < last.invokedAt
      ? [violation("S4", event.at, `a write of ${name(writer)} was stored after one of ${name(last)}`)]
      : [];
  });
}

/** S5: until its validity ends, so many nodes hold it or are silent that nobody else can have a quorum. */
function quorumUntilTheEnd(history: History): Violation[] {
  return history.flatMap((event) =>
    event.type === "open-nodes" && event.open >= event.quorum
      ? [
          violation(
            "S5",
            event.at,
            `${event.op}: ${event.open} nodes could have granted its keys to others before its end`,
          ),
        ]
      : [],
  );
}

/** S6: no lease without a quorum of grants of its own attempt, and time left to use it. */
function quorumAndTime(history: History): Violation[] {
  const grants = new Map<string, Set<string>>();
  return history.flatMap((event) => {
    if (event.type === "vote" && isBid(event) && event.vote === "granted") {
      const nodes = grants.get(event.holder) ?? new Set();
      grants.set(event.holder, nodes.add(event.node));
    }
    if (event.type !== "acquired") return [];
    const granted =
      event.adopts === undefined ? (grants.get(event.holder)?.size ?? 0) : keptBy(history, event).size;
    if (granted < event.quorum)
      return [violation("S6", event.at, `${event.op} has ${granted} grants of ${event.quorum}`)];
    return event.remainingMs + NOISE_MS < event.minValidityMs
      ? [
          violation(
            "S6",
            event.at,
            `${event.op} has ${event.remainingMs} ms left of ${event.minValidityMs} that were asked for`,
          ),
        ]
      : [];
  });
}

/** The nodes on which an adoption has extended what it goes on with. */
function keptBy(history: History, { op, at, holder }: HistoryEvent & { type: "acquired" }): Set<string> {
  const began = history.find((event) => event.type === "acquiring" && event.op === op)?.at ?? at;
  const kept = votesOf(history).filter(
    (vote) => vote.holder === holder && isExtensionWithin(vote, { startedAt: began, at }),
  );
  return new Set(kept.map(({ node }) => node));
}

/** One lock that went from process to process is one lease. */
function isSameLock(one: LeaseRecord, other: LeaseRecord): boolean {
  return one.holder === other.holder;
}

function isBid({ request }: VoteFact): boolean {
  return request === "acquire" || request === "exchange";
}

/** S7: nothing but its own end takes a key from who holds it: no release, extension or exchange of somebody else. */
function othersAreUntouched(history: History): Violation[] {
  return votesOf(history).flatMap((vote) => {
    if (isBid(vote) && vote.vote !== "granted") return [];
    const hurt = vote.before.findIndex(
      (before, index) =>
        before !== null && before !== vote.holder && before !== vote.from && vote.after[index] !== before,
    );
    return hurt < 0
      ? []
      : [
          violation(
            "S7",
            vote.at,
            `${vote.request} of ${vote.holder} on ${vote.node} took ${vote.keys[hurt]} from ${vote.before[hurt]}`,
          ),
        ];
  });
}

/** S8: an extension succeeds only on a quorum of nodes that held it all along, up to the extension's own request. */
function extendedOnlyWhileHeld(history: History): Violation[] {
  const leases = new Map(leasesOf(history).map((lease) => [lease.op, lease]));
  const quorums = new Map(
    history.flatMap((event) => (event.type === "acquired" ? [[event.op, event.quorum] as const] : [])),
  );
  const votes = groupedBy(votesOf(history), (vote) => vote.holder);
  return history.flatMap((event) => {
    const lease = event.type === "extended" ? leases.get(event.op) : undefined;
    if (event.type !== "extended" || lease === undefined) return [];
    const mine = votes.get(lease.holder) ?? [];
    const counted = new Set(mine.filter((vote) => isExtensionWithin(vote, event)).map(({ node }) => node));
    // A node on which it was put back meanwhile did not hold it all along.
    const since = Math.max(event.startedBy, lease.acquiredAt);
    for (const vote of mine)
      if (isTopUp(vote) && vote.at > since && vote.at <= event.at) counted.delete(vote.node);
    const quorum = quorums.get(event.op) ?? 0;
    return counted.size >= quorum
      ? []
      : [
          violation(
            "S8",
            event.at,
            `${event.op} was extended with ${counted.size} nodes that held it, of ${quorum}`,
          ),
        ];
  });
}

function isExtensionWithin(vote: VoteFact, { startedAt, at }: { startedAt: number; at: number }): boolean {
  const isInTime = vote.at >= startedAt - NOISE_MS && vote.at <= at + NOISE_MS;
  return (
    isInTime &&
    vote.request === "extend" &&
    vote.vote === "granted" &&
    vote.before.every((holder) => holder === vote.holder)
  );
}

function isTopUp({ request, vote, before, holder }: VoteFact): boolean {
  return request === "acquire" && vote === "granted" && !before.includes(holder);
}

/** S9: on a node that has executed a release of a holder, that holder never has a key again. */
function nothingBehindARelease(history: History): Violation[] {
  const released = new Set<string>();
  return history.flatMap((event) => {
    if (event.type === "left-behind") {
      const { at, node, key, holder } = event;
      return [violation("S9", at, `${key} is still held by ${holder} on ${node}, and nobody works under it`)];
    }
    if (event.type !== "vote") return [];
    const mark = `${event.node} ${event.holder}`;
    if (event.request === "release" && event.vote === "granted") released.add(mark);
    // What was given on must not come back either.
    if (event.from !== undefined && event.vote === "granted") released.add(`${event.node} ${event.from}`);
    return released.has(mark) && event.after.includes(event.holder)
      ? [
          violation(
            "S9",
            event.at,
            `${event.request} left ${event.holder} on ${event.node}, which had executed its release`,
          ),
        ]
      : [];
  });
}

/** S10: a node that lost its memory grants nothing until its quarantine is over. */
function silentAfterMemoryLoss(history: History): Violation[] {
  const silentUntil = new Map<string, number>();
  return history.flatMap((event) => {
    if (event.type === "memory-lost") silentUntil.set(event.node, event.silentUntil);
    if (event.type !== "vote" || event.request === "release" || event.vote !== "granted") return [];
    const until = silentUntil.get(event.node) ?? -Infinity;
    const executedBy = event.by ?? event.at;
    return executedBy < until
      ? [
          violation(
            "S10",
            event.at,
            `${event.node} granted an ${event.request} ${(until - executedBy).toFixed(1)} ms too early`,
          ),
        ]
      : [];
  });
}

/** S11: a lease never says that it is held after its validity. */
function noClaimAfterTheEnd(history: History): Violation[] {
  const until = new Map<string, number>();
  return history.flatMap((event) => {
    if ("until" in event) until.set(event.op, event.until);
    if (event.type !== "asked" || !event.isHeld) return [];
    const end = until.get(event.op) ?? -Infinity;
    return event.at > end + NOISE_MS
      ? [
          violation(
            "S11",
            event.at,
            `${event.op} said that it is held ${(event.at - end).toFixed(3)} ms after its end`,
          ),
        ]
      : [];
  });
}

/** L2: nodes that are dead or hung cost nothing while a quorum is able to vote. */
function promptWhileQuorate(history: History): Violation[] {
  return longWaits(history)
    .filter(({ isAfterReturn }) => !isAfterReturn)
    .map((wait) => tooLong("L2", wait, "all along"));
}

/** L4: when the q-th node is back, it is granted soon. */
function promptAfterReturn(history: History): Violation[] {
  return longWaits(history)
    .filter(({ isAfterReturn }) => isAfterReturn)
    .map((wait) => tooLong("L4", wait, "again"));
}

function tooLong(property: Property, { key, from, to }: Wait, since: string): Violation {
  const ms = (to - from).toFixed(1);
  return violation(property, to, `${key} was free and wanted for ${ms} ms, and a quorum could vote ${since}`);
}

/** L1: once everything is healed, whoever asks is granted within the bound its caller gave. */
function acquiredAfterHealing(history: History): Violation[] {
  const expected = new Set<string>();
  return history.flatMap((event) => {
    if (event.type === "acquiring" && event.mustSucceed) expected.add(event.op);
    return event.type === "not-acquired" && expected.has(event.op)
      ? [
          violation(
            "L1",
            event.at,
            `${event.op} was not granted within its time after healing: ${event.code}`,
          ),
        ]
      : [];
  });
}

function keysOf(history: History): [string, LeaseRecord[]][] {
  const leases = leasesOf(history).sort((a, b) => a.acquiredAt - b.acquiredAt);
  return [
    ...groupedBy(
      leases.flatMap((lease) => lease.keys.map((key) => ({ key, lease }))),
      ({ key }) => key,
    ),
  ].map(([key, entries]) => [key, entries.map(({ lease }) => lease)]);
}

function groupedBy<T>(values: readonly T[], keyOf: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(keyOf(value));
    if (group === undefined) groups.set(keyOf(value), [value]);
    else group.push(value);
  }
  return groups;
}

function votesOf(history: History): VoteFact[] {
  return history.filter((event: HistoryEvent): event is VoteFact => event.type === "vote");
}

function name({ op, fence }: LeaseRecord): string {
  return `${op} (fence ${fence})`;
}

function violation(property: Property, at: number, detail: string): Violation {
  return { property, at, detail };
}
