/**
 * Options as the library uses them: checked once, relations included, defaults filled in. Whoever passes here has a configuration in which
 * every lock keeps at least half of its ttl as validity.
 */
import { hostname } from "node:os";

import {
  DRIFT_FACTOR,
  QUARANTINE_TTL_MS_MAX,
  quarantineMs,
  validityMs,
  type ValidityRules,
} from "../clock/validity.ts";
import { ConfigError, OptionRangeError, shown } from "../errors.ts";
import type { Observer } from "../events.ts";
import type { RestartGuard } from "../node/fleet.ts";
import type { NodeInput } from "../node/connection.ts";
import { isReserved, LOCK_NAME_RULE } from "../node/key-names.ts";
import { keyPrefixOf } from "../node/reach.ts";
import { type RetryFunction, retrying } from "../wait/retry.ts";
import { faultOfNode } from "./node-input.ts";
import type { LockerOptions } from "./options.ts";
import { didYouMean } from "./suggestion.ts";

/** Nodes that decide together, and on nothing with those of other shards. */
export interface ShardSettings {
  /** Empty where there is only one. */
  readonly name: string;
  readonly nodes: readonly NodeInput[];
}

export interface Settings extends ValidityRules {
  readonly mode: LockerOptions["mode"];
  /** At least one. */
  readonly shards: readonly ShardSettings[];
  readonly ttlMs: number;
  readonly maxTtlMs: number;
  readonly quarantineTtlMs: number;
  /** 0 for never. */
  readonly staleAfterMs: number;
  readonly readOnly: boolean;
  readonly nodeTimeoutMs: number;
  readonly minValidityMs: number | undefined;
  readonly waitMs: number;
  readonly keyPrefix: string;
  /** All that stands before a key on any node, `keyPrefix` and those of the users' own clients included; each once. */
  readonly nodePrefixes: readonly string[];
  readonly owner: string;
  readonly fenceTtlMs: number;
  readonly restartGuard: RestartGuard;
  readonly allowEviction: boolean;
  readonly waitReplicas: number;
  readonly connectTimeoutMs: number;
  readonly observer: Observer | undefined;
  readonly notify: boolean;
  readonly retry: (() => RetryFunction) | undefined;
  readonly queueLengthMax: number;
  readonly reentrant: boolean;
}

/** Shorter locks would be all margin. */
const TTL_MS_MIN = 500;
const DAY_MS = 86_400_000;
/** As good as for ever, and still exact when a few of them are added. */
const TTL_MS_MAX = 2 ** 52;
/** Clients say three times in it that they are there. */
const STALE_AFTER_MS_MIN = 1_000;
const WAIT_MS = 10_000;
/** A new fleet is admitted, and clocks are compared, before its quarantine begins. */
const WAIT_MARGIN_MS = 2_500;
const NODES_MAX = 15;
const SHARDS_MAX = 64;
const REPLICAS_MAX = 16;
const SHARD_NAME_LENGTH_MAX = 64;
const OWNER_LENGTH_MAX = 128;
/** In bytes, prefix included; keys travel with every request. */
const KEY_BYTES_MAX = 1_024;
const KEYS_MAX = 64;

const OPTION_NAMES: ReadonlySet<string> = new Set(
  [
    "mode nodes shards ttlMs maxTtlMs nodeTimeoutMs driftFactor minValidityMs waitMs keyPrefix owner fenceTtlMs observer notify retry queueLengthMax reentrant".split(
      " ",
    ),
    "clockWindowMs restartGuard quarantineTtlMs staleAfterMs readOnly allowEviction waitReplicas connectTimeoutMs".split(
      " ",
    ),
  ].flat(),
);

/** Fills in defaults; throws `ConfigError` for values of the wrong kind and `OptionRangeError` for those out of range. */
export function resolveOptions(options: LockerOptions): Settings {
  const given = checkShape(options);
  const { mode } = options;
  const ttlMs = integer("ttlMs", given["ttlMs"], 10_000, TTL_MS_MIN, DAY_MS);
  const maxTtlMs = integer("maxTtlMs", given["maxTtlMs"], ttlMs, ttlMs, TTL_MS_MAX, "ttlMs");
  const shards = checkShards(mode, given);
  const keyPrefix = text("keyPrefix", given["keyPrefix"], "");
  const guard = guardOf(given, mode, ttlMs, maxTtlMs);
  const imposedMs =
    mode === "memory" || guard.restartGuard === "trust" ? 0 : quarantineMs(guard.quarantineTtlMs, guard);
  // Locks and their fences expire apart by this; it is for releases that come before their acquires, and for keys nobody uses.
  const fenceTtlLeastMs = Math.min(2 * maxTtlMs, 2 * DAY_MS);
  const settings: Settings = {
    mode,
    shards,
    ttlMs,
    maxTtlMs,
    staleAfterMs: number("staleAfterMs", given["staleAfterMs"], 0, 0, DAY_MS),
    readOnly: flag("readOnly", given["readOnly"], false),
    nodeTimeoutMs: checkNodeTimeout(given["nodeTimeoutMs"], ttlMs),
    ...guard,
    minValidityMs:
      given["minValidityMs"] === undefined
        ? undefined
        : number("minValidityMs", given["minValidityMs"], 0, 0, maxTtlMs),
    waitMs: number("waitMs", given["waitMs"], Math.max(WAIT_MS, imposedMs + WAIT_MARGIN_MS), 0, Infinity),
    keyPrefix,
    nodePrefixes: nodePrefixesOf(shards, keyPrefix),
    owner: checkOwner(given["owner"] ?? `${hostname()}:${process.pid}`),
    fenceTtlMs: integer(
      "fenceTtlMs",
      given["fenceTtlMs"],
      Math.max(DAY_MS, fenceTtlLeastMs),
      fenceTtlLeastMs,
      366 * DAY_MS,
    ),
    waitReplicas: integer("waitReplicas", given["waitReplicas"], 0, 0, REPLICAS_MAX),
    allowEviction: flag("allowEviction", given["allowEviction"], false),
    connectTimeoutMs: number("connectTimeoutMs", given["connectTimeoutMs"], 1_000, 1, DAY_MS),
    observer: given["observer"] as Observer | undefined,
    notify: flag("notify", given["notify"], true),
    reentrant: flag("reentrant", given["reentrant"], false),
    retry: given["retry"] === undefined ? undefined : retrying(given["retry"]),
    queueLengthMax: integer("queueLengthMax", given["queueLengthMax"], 10_000, 0, Number.MAX_SAFE_INTEGER),
  };
  checkTtl(settings, ttlMs);
  checkStaleAfter(settings);
  return settings;
}

/** A memory that was looked after until so short a time ago cannot have been stood in for: the other server would be in quarantine still. */
function checkStaleAfter(settings: Settings): void {
  const { staleAfterMs, quarantineTtlMs, restartGuard } = settings;
  if (staleAfterMs === 0) return;
  const most = quarantineMs(quarantineTtlMs, settings);
  if (staleAfterMs < STALE_AFTER_MS_MIN || staleAfterMs > most) {
    const rule = `be 0, or ${STALE_AFTER_MS_MIN} to ${most}, the quarantine for quarantineTtlMs ${quarantineTtlMs}`;
    throw new OptionRangeError("staleAfterMs", rule, staleAfterMs);
  }
  if (restartGuard === "trust")
    throw new ConfigError(
      `staleAfterMs ${staleAfterMs} needs restartGuard "strict" or "first-use", got "trust"`,
    );
}

function nodePrefixesOf(shards: readonly ShardSettings[], keyPrefix: string): readonly string[] {
  const prefixes = shards.flatMap(({ nodes }) => nodes).map((node) => keyPrefixOf(node) + keyPrefix);
  return prefixes.length === 0 ? [keyPrefix] : [...new Set(prefixes)];
}

/** What a node that lost its memory has to do with, and how long a lock may be trusted. */
function guardOf(
  given: Record<string, unknown>,
  mode: LockerOptions["mode"],
  ttlMs: number,
  maxTtlMs: number,
): ValidityRules & Pick<Settings, "restartGuard" | "quarantineTtlMs"> {
  const isQuorum = mode === "quorum";
  const drift = mode === "memory" ? 0.01 : DRIFT_FACTOR;
  const longestMs = Math.min(maxTtlMs, QUARANTINE_TTL_MS_MAX);
  const guards = ["strict", "first-use", "trust"] as const;
  return {
    driftFactor: number("driftFactor", given["driftFactor"], drift, 0, 0.25),
    clockWindowMs: number("clockWindowMs", given["clockWindowMs"], isQuorum ? 100 : 0, 0, DAY_MS),
    restartGuard: oneOf("restartGuard", given["restartGuard"] ?? (isQuorum ? "strict" : "trust"), guards),
    quarantineTtlMs: integer("quarantineTtlMs", given["quarantineTtlMs"], longestMs, ttlMs, longestMs),
  };
}

/** Whether `ttlMs` may be asked for in one call. */
export function checkTtl(settings: Settings, ttlMs: number): void {
  if (!Number.isInteger(ttlMs) || ttlMs < TTL_MS_MIN)
    throw new OptionRangeError("ttlMs", `be an integer of at least ${TTL_MS_MIN}`, ttlMs);
  if (ttlMs > settings.maxTtlMs)
    throw new OptionRangeError("ttlMs", `be at most maxTtlMs (${settings.maxTtlMs})`, ttlMs);
  const validity = validityMs(ttlMs, settings);
  if (validity < ttlMs / 2) {
    const { clockWindowMs, driftFactor } = settings;
    const rule = `leave at least half of itself as validity with clockWindowMs ${clockWindowMs} and driftFactor ${driftFactor} (leaves ${validity} ms)`;
    throw new OptionRangeError("ttlMs", rule, ttlMs);
  }
}

export function checkOwner(owner: unknown): string {
  const value = text("owner", owner, "");
  const isFine = value.length > 0 && value.length <= OWNER_LENGTH_MAX && /^[^\p{Cc}\p{Cs}#]+$/u.test(value);
  if (!isFine)
    throw new OptionRangeError("owner", `be 1 to ${OWNER_LENGTH_MAX} printable characters without #`, owner);
  return value;
}

/** The keys of one lock, each once. Two names of one key on the nodes, or a key of ours, would be a lock that excludes nobody. */
export function checkKeys(keys: unknown, prefixes: readonly string[]): readonly string[] {
  if (typeof keys === "string") {
    checkKey(keys, prefixes);
    return [keys];
  }
  const list: readonly unknown[] = Array.isArray(keys) ? keys : [keys];
  if (list.length === 0 || list.length > KEYS_MAX)
    throw new OptionRangeError("keys", `be 1 to ${KEYS_MAX} keys`, list.length);
  for (const key of list) checkKey(key, prefixes);
  return [...new Set(list as readonly string[])];
}

/** One key of one lock, under every name that it has on a node. */
export function checkKey(key: unknown, prefixes: readonly string[]): asserts key is string {
  if (typeof key !== "string" || key === "") throw new OptionRangeError("key", "be a non-empty string", key);
  if (!key.isWellFormed()) throw new OptionRangeError("key", "be well-formed Unicode", key);
  for (const prefix of prefixes) {
    const nodeKey = prefix + key;
    if (Buffer.byteLength(nodeKey) > KEY_BYTES_MAX)
      throw new OptionRangeError("key", `be at most ${KEY_BYTES_MAX} bytes, prefix included`, key);
    if (isReserved(nodeKey)) throw reserved(key, nodeKey);
  }
}

function reserved(key: string, nodeKey: string): ConfigError {
  const name = nodeKey === key ? "" : `, which is ${shown(nodeKey)} on the nodes`;
  return new ConfigError(`key must ${LOCK_NAME_RULE}, got ${shown(key)}${name}`);
}

/** Options under names that are known; what is not is likely to be misspelt, and would have no effect. */
export function namedOptions(options: unknown, known: ReadonlySet<string>): Record<string, unknown> {
  if (typeof options !== "object" || options === null)
    throw new ConfigError(`options must be an object, got ${shown(options)}`);
  for (const name in options)
    if (!known.has(name))
      throw new ConfigError(
        `unknown option ${shown(name)}; known are ${[...known].join(", ")}${didYouMean(name, known)}`,
      );
  return options as Record<string, unknown>;
}

function checkShape(options: unknown): Record<string, unknown> {
  const given = namedOptions(options, OPTION_NAMES);
  oneOf("mode", given["mode"], ["quorum", "single", "memory"]);
  if (given["observer"] !== undefined && typeof given["observer"] !== "function") {
    throw new ConfigError(`observer must be a function, got ${shown(given["observer"])}`);
  }
  return given;
}

function checkShards(
  mode: LockerOptions["mode"],
  { nodes, shards }: Record<string, unknown>,
): readonly ShardSettings[] {
  if (mode === "memory") {
    const given = nodes === undefined ? (shards === undefined ? undefined : "shards") : "nodes";
    if (given !== undefined) throw new ConfigError(`${given} must be absent in memory mode`);
    return [{ name: "", nodes: [] }];
  }
  if (shards === undefined) return [{ name: "", nodes: checkNodes(mode, "nodes", nodes) }];
  if (nodes !== undefined) throw new ConfigError("nodes and shards exclude each other; give one of them");
  if (typeof shards !== "object" || shards === null || Array.isArray(shards))
    throw new ConfigError(`shards must be an object of name: nodes, got ${shown(shards)}`);
  const entries = Object.entries(shards);
  if (entries.length < 1 || entries.length > SHARDS_MAX)
    throw new OptionRangeError("shards", `be 1 to ${SHARDS_MAX}`, entries.length);
  return entries.map(([name, each]) => {
    if (name.length < 1 || name.length > SHARD_NAME_LENGTH_MAX || !name.isWellFormed())
      throw new OptionRangeError("shards", `have names of 1 to ${SHARD_NAME_LENGTH_MAX} characters`, name);
    return { name, nodes: checkNodes(mode, `shards.${name}`, each) };
  });
}

function checkNodes(mode: "quorum" | "single", option: string, nodes: unknown): readonly NodeInput[] {
  if (!Array.isArray(nodes))
    throw new ConfigError(
      `${option} must be an array of URLs, ioredis options or clients, got ${shown(nodes)}`,
    );
  const most = mode === "single" ? 1 : NODES_MAX;
  if (nodes.length < 1 || nodes.length > most) {
    throw new OptionRangeError(
      option,
      mode === "single" ? "be exactly one in single mode" : `be 1 to ${most}`,
      nodes.length,
    );
  }
  // By index: what is missing in between is wrong, too.
  for (let index = 0; index < nodes.length; index++) checkNode(option, index, nodes[index]);
  return nodes as NodeInput[];
}

function checkNode(option: string, index: number, node: unknown): void {
  const fault = faultOfNode(node);
  if (fault !== undefined)
    throw new ConfigError(
      `${option} must be URLs like redis://host:6379, ioredis options with a host, clients or adapters; ${option}[${index}]: ${fault}`,
    );
  if (typeof node === "object" && node !== null && "keyPrefix" in node)
    text(`${option}[${index}]: keyPrefix`, node.keyPrefix, "");
}

function checkNodeTimeout(value: unknown, ttlMs: number): number {
  const timeout = number("nodeTimeoutMs", value, Math.max(20, Math.min(ttlMs / 20, 250)), 1, Infinity);
  if (timeout >= ttlMs) throw new OptionRangeError("nodeTimeoutMs", `be less than ttlMs (${ttlMs})`, value);
  return timeout;
}

export function number(
  option: string,
  value: unknown,
  fallback: number,
  least: number,
  most: number,
): number {
  const chosen = value ?? fallback;
  if (typeof chosen !== "number" || !(chosen >= least && chosen <= most)) {
    throw new OptionRangeError(
      option,
      most === Infinity ? `be a number of at least ${least}` : `be a number from ${least} to ${most}`,
      value,
    );
  }
  return chosen;
}

function integer(
  option: string,
  value: unknown,
  fallback: number,
  least: number,
  most: number,
  leastName?: string,
): number {
  const chosen = value ?? fallback;
  if (typeof chosen !== "number" || !Number.isInteger(chosen) || chosen < least || chosen > most) {
    const from = leastName === undefined ? `${least}` : `${leastName} (${least})`;
    throw new OptionRangeError(option, `be an integer from ${from} to ${most}`, value);
  }
  return chosen;
}

function text(option: string, value: unknown, fallback: string): string {
  const chosen = value ?? fallback;
  if (typeof chosen !== "string" || !chosen.isWellFormed())
    throw new ConfigError(`${option} must be well-formed text, got ${shown(value)}`);
  return chosen;
}

export function flag(option: string, value: unknown, fallback: boolean): boolean {
  const chosen = value ?? fallback;
  if (typeof chosen !== "boolean")
    throw new ConfigError(`${option} must be true or false, got ${shown(value)}`);
  return chosen;
}

function oneOf<T extends string>(option: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined)
    throw new ConfigError(`${option} must be one of ${allowed.join(", ")}, got ${shown(value)}`);
  return found;
}
