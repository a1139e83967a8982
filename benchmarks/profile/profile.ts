/** What the samples of a profile say: the time of each part of the house, and of each stack. */
import type { Profiler } from "node:inspector";

/** A function in its stack, and how many µs of samples it and its callees have. */
export interface Flame {
  readonly name: string;
  readonly part: string;
  readonly us: number;
  readonly callees: readonly Flame[];
}

/** µs of each part for one pair. */
export function sharesOf(profile: Profiler.Profile, pairs: number): Map<string, number> {
  const own = ownTimes(profile);
  const shares = new Map<string, number>();
  for (const node of profile.nodes) {
    const part = partOf(node.callFrame);
    shares.set(part, (shares.get(part) ?? 0) + (own.get(node.id) ?? 0) / pairs);
  }
  return shares;
}

/** From the root; what the process waited is left out. */
export function flamesOf(profile: Profiler.Profile): Flame {
  const own = ownTimes(profile);
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const flame = (id: number): Flame[] => {
    const node = nodes.get(id);
    if (node === undefined || partOf(node.callFrame) === WAITING) return [];
    const callees = merged((node.children ?? []).flatMap(flame));
    const us = (own.get(id) ?? 0) + callees.reduce((sum, callee) => sum + callee.us, 0);
    return us === 0
      ? []
      : [{ name: node.callFrame.functionName || "(anonymous)", part: partOf(node.callFrame), us, callees }];
  };
  const [root] = flame(profile.nodes[0]?.id ?? 0);
  return root ?? { name: "(root)", part: "node", us: 0, callees: [] };
}

/** Functions of one name beside each other are one, the largest first. */
function merged(flames: readonly Flame[]): Flame[] {
  const byName = new Map<string, Flame>();
  for (const flame of flames) {
    const name = `${flame.part} ${flame.name}`;
    const known = byName.get(name);
    byName.set(name, known === undefined ? flame : joined(known, flame));
  }
  return [...byName.values()].sort((a, b) => b.us - a.us);
}

function joined(one: Flame, other: Flame): Flame {
  return { ...one, us: one.us + other.us, callees: merged([...one.callees, ...other.callees]) };
}

function ownTimes({ samples = [], timeDeltas = [] }: Profiler.Profile): Map<number, number> {
  const times = new Map<number, number>();
  samples.forEach((id, index) => times.set(id, (times.get(id) ?? 0) + (timeDeltas[index] ?? 0)));
  return times;
}

const WAITING = "(waiting)";

function partOf({ functionName, url }: Profiler.ProfileNode["callFrame"]): string {
  if (functionName === "(idle)") return WAITING;
  if (functionName === "(garbage collector)") return "garbage collection";
  const room = /\/src\/(\w+)\/[\w-]+\.[jt]s$/.exec(url)?.[1];
  if (room !== undefined) return `src/${room}`;
  if (/\/src\/[\w-]+\.[jt]s$/.test(url)) return "src/locker, acquirer";
  if (url.includes("/node_modules/")) return /node_modules\/(@?[\w-]+)/.exec(url)?.[1] ?? "packages";
  if (/^write\w*String$|^writev$|^writeBuffer$/.test(functionName)) return "writing to sockets";
  return url.includes("/benchmarks/") ? "benchmark" : "node";
}
