/**
 * The same options from outside the code: a JSON file, or environment variables, which win. Mode and nodes then change with the
 * deployment and not with a release.
 */
import { readFileSync } from "node:fs";

import { ConfigError, messageOf, shown } from "../errors.ts";
import type { LockerOptions } from "./options.ts";
import { resolveOptions } from "./settings.ts";

export interface ConfigSources {
  /** Path of a JSON file with `LockerOptions`; default the variable `HOLDFAST_CONFIG`, or none. */
  readonly file?: string | undefined;
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

type Reader = (text: string, variable: string) => unknown;

/** Variable → option. `HOLDFAST_NODES` is a list of URLs with commas between, `HOLDFAST_SHARDS` of `name=URL,URL` with semicolons. */
const VARIABLES: Readonly<Record<string, readonly [option: string, read: Reader]>> = {
  HOLDFAST_MODE: ["mode", asText],
  HOLDFAST_NODES: ["nodes", asList],
  HOLDFAST_SHARDS: ["shards", asShards],
  HOLDFAST_TTL_MS: ["ttlMs", asNumber],
  HOLDFAST_MAX_TTL_MS: ["maxTtlMs", asNumber],
  HOLDFAST_QUARANTINE_TTL_MS: ["quarantineTtlMs", asNumber],
  HOLDFAST_STALE_AFTER_MS: ["staleAfterMs", asNumber],
  HOLDFAST_READ_ONLY: ["readOnly", asBoolean],
  HOLDFAST_NODE_TIMEOUT_MS: ["nodeTimeoutMs", asNumber],
  HOLDFAST_CLOCK_WINDOW_MS: ["clockWindowMs", asNumber],
  HOLDFAST_DRIFT_FACTOR: ["driftFactor", asNumber],
  HOLDFAST_MIN_VALIDITY_MS: ["minValidityMs", asNumber],
  HOLDFAST_WAIT_MS: ["waitMs", asNumber],
  HOLDFAST_FENCE_TTL_MS: ["fenceTtlMs", asNumber],
  HOLDFAST_CONNECT_TIMEOUT_MS: ["connectTimeoutMs", asNumber],
  HOLDFAST_RESTART_GUARD: ["restartGuard", asText],
  HOLDFAST_ALLOW_EVICTION: ["allowEviction", asBoolean],
  HOLDFAST_WAIT_REPLICAS: ["waitReplicas", asNumber],
  HOLDFAST_NOTIFY: ["notify", asBoolean],
  HOLDFAST_REENTRANT: ["reentrant", asBoolean],
  HOLDFAST_QUEUE_LENGTH_MAX: ["queueLengthMax", asNumber],
  HOLDFAST_KEY_PREFIX: ["keyPrefix", asText],
  HOLDFAST_OWNER: ["owner", asText],
};

/** Reads and checks; throws `ConfigError` or `OptionRangeError`. The result goes to `createLocker`, with more options if need be. */
export function loadConfig({ file, env = process.env }: ConfigSources = {}): LockerOptions {
  const path = file ?? env["HOLDFAST_CONFIG"];
  const options: Record<string, unknown> = path === undefined ? {} : readJson(path);
  for (const [variable, [option, read]] of Object.entries(VARIABLES)) {
    const value = env[variable];
    if (value !== undefined && value !== "") options[option] = read(value, variable);
  }
  if (options["mode"] === undefined) {
    throw new ConfigError(
      "no mode: set HOLDFAST_MODE to quorum, single or memory, or name a config file (HOLDFAST_CONFIG)",
    );
  }
  resolveOptions(options as unknown as LockerOptions);
  return options as unknown as LockerOptions;
}

function readJson(path: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new ConfigError(`config file ${shown(path)} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new ConfigError(`config file ${shown(path)} must hold one JSON object, got ${shown(parsed)}`);
  }
  return { ...parsed };
}

function asText(value: string): string {
  return value;
}

function asList(value: string): string[] {
  return value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function asShards(value: string, variable: string): Record<string, string[]> {
  const shards: Record<string, string[]> = {};
  for (const part of value.split(";").filter((each) => each.trim() !== "")) {
    const [name = "", nodes] = part.split(/=(.*)/s);
    // The value is not shown: it may hold a password.
    if (nodes === undefined) throw new ConfigError(`${variable} must be a list of name=URL,URL;name=URL,URL`);
    if (Object.hasOwn(shards, name.trim()))
      throw new ConfigError(`${variable} names the shard ${shown(name.trim())} twice`);
    shards[name.trim()] = asList(nodes);
  }
  return shards;
}

function asNumber(value: string, variable: string): number {
  const number = Number(value);
  if (Number.isNaN(number)) throw new ConfigError(`${variable} must be a number, got ${shown(value)}`);
  return number;
}

function asBoolean(value: string, variable: string): boolean {
  if (value !== "true" && value !== "false")
    throw new ConfigError(`${variable} must be true or false, got ${shown(value)}`);
  return value === "true";
}
