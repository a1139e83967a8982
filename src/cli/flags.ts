/** Flags that many commands share, and how durations are written. */
import { type ParseArgsConfig, parseArgs } from "node:util";

import { createLocker, loadConfig, type Locker, type LockerOptions, type Observer } from "../index.ts";
import { messageOf } from "../errors.ts";
import { UsageError } from "./exit.ts";

export const NODE_FLAGS = {
  nodes: { type: "string" },
  mode: { type: "string" },
  ttl: { type: "string" },
  config: { type: "string" },
  json: { type: "boolean", default: false },
} as const;

export interface NodeFlags {
  readonly nodes?: string | undefined;
  readonly mode?: string | undefined;
  readonly ttl?: string | undefined;
  readonly config?: string | undefined;
}

type Options = NonNullable<ParseArgsConfig["options"]>;

/** Parsed strictly; what is wrong is a word about usage. */
export function parsed<const O extends Options>(
  args: readonly string[],
  options: O,
): ReturnType<typeof parseArgs<{ options: O; allowPositionals: true; strict: true }>> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(messageOf(error).split(". ")[0] ?? "wrong arguments");
  }
}

/** The one key a command is about. */
export function oneKey(positionals: readonly string[]): string {
  const [key, ...rest] = positionals;
  if (key === undefined) throw new UsageError("which key?");
  if (rest.length > 0) throw new UsageError(`one key at a time; unexpected ${JSON.stringify(rest[0])}`);
  return key;
}

/** Options from flags, over the environment, over the config file. */
export function lockerOptions({ nodes, mode, ttl, config }: NodeFlags): LockerOptions {
  const env: Record<string, string | undefined> = { ...process.env };
  if (nodes !== undefined) {
    env["HOLDFAST_NODES"] = nodes;
    delete env["HOLDFAST_SHARDS"];
  }
  if (mode !== undefined) env["HOLDFAST_MODE"] = mode;
  if (ttl !== undefined) env["HOLDFAST_TTL_MS"] = String(duration("--ttl", ttl));
  return loadConfig({ file: config, env: completed(env, nodes !== undefined, config !== undefined) });
}

type Variables = Readonly<Record<string, string | undefined>>;

/** With a mode, where only nodes are named. */
function completed(env: Variables, isGiven: boolean, hasFlag: boolean): Variables {
  const hasFile = hasFlag || env["HOLDFAST_CONFIG"] !== undefined;
  const known = env["HOLDFAST_NODES"];
  if (known === undefined && env["HOLDFAST_SHARDS"] === undefined && !hasFile)
    throw new UsageError(
      "which nodes? Give --nodes redis://host:6379,... or HOLDFAST_NODES, or a --config file",
    );
  // Nodes that were named here are not of the mode that a file has for its own.
  const mayGuess = env["HOLDFAST_MODE"] === undefined && (isGiven || !hasFile);
  if (known === undefined || !mayGuess) return env;
  return { ...env, HOLDFAST_MODE: known.includes(",") ? "quorum" : "single" };
}

/** A locker for one command, closed at its end. */
export async function withLocker<T>(
  flags: NodeFlags,
  work: (locker: Locker, options: LockerOptions) => Promise<T>,
  more: { readonly observer?: Observer; readonly maxTtlMs?: number; readonly readOnly?: boolean } = {},
): Promise<T> {
  const options = { ...lockerOptions(flags), ...more } as LockerOptions;
  await using locker = createLocker(options);
  return await work(locker, options);
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `500ms`, `30s`, `5m`, `1.5h`, `0`, in ms. A number alone would be taken for one unit by some and for another by others. */
export function duration(flag: string, text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  if (text === "0") return 0;
  if (number === undefined || unit === undefined)
    throw new UsageError(`${flag} must be a duration such as 500ms, 30s or 5m, got ${JSON.stringify(text)}`);
  return Number(number) * (UNITS[unit] ?? 1);
}

/** For people: 2.7 s rather than 2707 ms. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 3_600_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}
