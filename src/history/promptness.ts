/**
 * How long a free key that is wanted stays nobody's (L2, L4), while so many nodes are able to vote that they could grant it. A history says in
 * a `pace` fact how long that may be; of one without it nothing is asked. Pure.
 */
import type { History, HistoryEvent } from "./history.ts";

/** Somebody wanted a free key in [from, to), which a quorum was able to grant all the time, and nobody got it. */
export interface Wait {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  /** The quorum was there only shortly before: somebody had come back (L4); otherwise it had been there all along (L2). */
  readonly isAfterReturn: boolean;
}

type Pace = HistoryEvent & { readonly type: "pace" };

interface Span {
  readonly from: number;
  readonly to: number;
}

/** Those that were longer than the pace allows. */
export function longWaits(history: History): Wait[] {
  const pace = history.find((event): event is Pace => event.type === "pace");
  if (pace === undefined) return [];
  const events = [...history].sort((a, b) => a.at - b.at);
  const quorate = quorateSpans(events, pace);
  return [...wantedSpans(events)].flatMap(([key, wanted]) =>
    common(common(wanted, freeSpans(events, key, pace)), quorate)
      .filter(({ from, to }) => to - from > pace.promptMs)
      .map(({ from, to }) => ({ key, from, to, isAfterReturn: hasJustReturned(quorate, from, pace) })),
  );
}

/** A wait that begins with its quorum has waited for that one. */
function hasJustReturned(quorate: readonly Span[], at: number, { at: began }: Pace): boolean {
  return quorate.some(({ from }) => from > began && from === at);
}

/** When at least a quorum of nodes was able to vote: in no condition, and long enough in none to be reached by all again. */
function quorateSpans(events: readonly HistoryEvent[], { at, nodes, quorum, returnMs }: Pace): Span[] {
  const unable = nodes.map((node) => unableSpans(events, node, returnMs));
  const bounds = [...new Set([at, ...unable.flat().flatMap(({ from, to }) => [from, to])])]
    .filter((each) => each >= at)
    .sort((a, b) => a - b);
  const spans = bounds.map((from, index) => ({ from, to: bounds[index + 1] ?? Infinity }));
  return joined(
    spans.filter(({ from }) => nodes.length - unable.filter((each) => contains(each, from)).length >= quorum),
  );
}

/** Conditions may overlap; the node is able again when the last one has ended, and the way back has been made. */
function unableSpans(events: readonly HistoryEvent[], node: string, returnMs: number): Span[] {
  const since = new Map<string, number>();
  const spans: Span[] = [];
  for (const event of events) {
    if (event.type === "memory-lost" && event.node === node)
      spans.push({ from: event.at, to: event.silentUntil + returnMs });
    if (event.type !== "condition" || event.target !== node) continue;
    const from = since.get(event.condition);
    if (event.isOn) since.set(event.condition, from ?? event.at);
    else if (from !== undefined) spans.push({ from, to: event.at + returnMs });
    if (!event.isOn) since.delete(event.condition);
  }
  for (const from of since.values()) spans.push({ from, to: Infinity });
  return spans;
}

/** By key, when somebody asked for it and for no other. */
function wantedSpans(events: readonly HistoryEvent[]): Map<string, Span[]> {
  const spans = new Map<string, Span[]>();
  for (const { key, from, to } of events.flatMap((event) => wish(event, events)))
    spans.set(key, joined([...(spans.get(key) ?? []), { from, to }]));
  return spans;
}

/** From its call to its answer, or to the end of its process. */
function wish(asked: HistoryEvent, events: readonly HistoryEvent[]): (Span & { readonly key: string })[] {
  if (asked.type !== "acquiring" || asked.keys.length !== 1) return [];
  const end = events.find((event) => {
    if (event.type === "crashed") return event.client === asked.client && event.at >= asked.at;
    return (event.type === "acquired" || event.type === "not-acquired") && event.op === asked.op;
  });
  return asked.keys.map((key) => ({ key, from: asked.at, to: end?.at ?? Infinity }));
}

/** When no lease had the key, and no lock of one that was not given back, or of a process that was killed, could be left. */
function freeSpans(events: readonly HistoryEvent[], key: string, { at, lockMs }: Pace): Span[] {
  const taken = events.flatMap((event) => {
    if (event.type === "crashed") return [{ from: event.at, to: event.at + lockMs }];
    if (event.type !== "acquired" || !event.keys.includes(key)) return [];
    return [{ from: event.at, to: leftUntil(event, events, lockMs) }];
  });
  return without({ from: at, to: Infinity }, joined(taken));
}

/** Until its release was confirmed, or until nothing can be left of it. */
function leftUntil(
  { op, until }: HistoryEvent & { readonly type: "acquired" },
  events: readonly HistoryEvent[],
  lockMs: number,
): number {
  let last = until;
  for (const event of events) {
    if (!("op" in event) || event.op !== op) continue;
    if (event.type === "released" && event.outcome === "released") return event.at;
    if (event.type === "extended" || event.type === "shortened") last = Math.max(last, event.until);
  }
  return last + lockMs;
}

function contains(spans: readonly Span[], at: number): boolean {
  return spans.some(({ from, to }) => from <= at && at < to);
}

/** In their order, those that touch as one. */
function joined(spans: readonly Span[]): Span[] {
  const result: { from: number; to: number }[] = [];
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, to);
    else result.push({ from, to });
  }
  return result;
}

function without({ from, to }: Span, taken: readonly Span[]): Span[] {
  const edges = [from, ...taken.flatMap((span) => [span.from, span.to]), to];
  const gaps: Span[] = [];
  for (let index = 0; index + 1 < edges.length; index += 2)
    gaps.push({ from: Math.max(from, edges[index] ?? from), to: edges[index + 1] ?? to });
  return gaps.filter((gap) => gap.to > gap.from);
}

/** Both sorted, and each without overlaps. */
function common(some: readonly Span[], others: readonly Span[]): Span[] {
  return some.flatMap((one) =>
    others
      .map((other) => ({ from: Math.max(one.from, other.from), to: Math.min(one.to, other.to) }))
      .filter(({ from, to }) => to > from),
  );
}
