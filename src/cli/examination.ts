/** What one server says of itself, over a connection of its own that is closed again. */
import { Redis, type RedisOptions } from "ioredis";

import type { NodeInput } from "../index.ts";
import { messageOf } from "../errors.ts";

export interface Patient {
  /** Address without credentials. */
  readonly node: string;
  readonly host: string;
  /** Why it could not be asked; undefined where it could. */
  readonly trouble: string | undefined;
  /** Of INFO, by field. */
  readonly info: ReadonlyMap<string, string>;
  /** Its clock minus ours, in ms, and how far off that may be. */
  readonly offsetMs: number;
  readonly uncertaintyMs: number;
  /** Fields of `holdfast:node`; empty where it was never admitted. */
  readonly marker: Readonly<Record<string, string>>;
}

const PATIENCE_MS = 2_000;

export async function examine(input: NodeInput): Promise<Patient> {
  const client = clientOf(input);
  const { host = "localhost", port = 6379, path } = client.options;
  const place = { node: path ?? `${host}:${port}`, host: path ?? host };
  let lastError = "";
  client.on("error", (error: Error) => (lastError = messageOf(error)));
  try {
    await client.connect();
    const asked = performance.now();
    const [seconds, micros] = await client.time();
    const answered = performance.now();
    const halfway = performance.timeOrigin + (asked + answered) / 2;
    const info = parsedInfo(await client.info());
    const marker = await client.hmget("holdfast:node", ...MARKER_FIELDS).catch((): (string | null)[] => []);
    const offsetMs = Number(seconds) * 1_000 + Number(micros) / 1_000 - halfway;
    return {
      ...place,
      trouble: undefined,
      info,
      offsetMs,
      uncertaintyMs: (answered - asked) / 2,
      marker: markerOf(marker),
    };
  } catch (error) {
    const trouble = lastError || messageOf(error);
    return { ...place, trouble, info: new Map(), offsetMs: 0, uncertaintyMs: 0, marker: {} };
  } finally {
    client.disconnect();
  }
}

const MARKER_FIELDS = ["inc", "since", "declared", "ttl"] as const;

function markerOf(values: readonly (string | null)[]): Patient["marker"] {
  const entries = MARKER_FIELDS.map((field, index) => [field, values[index]] as const);
  return Object.fromEntries(
    entries.filter((entry): entry is [(typeof entry)[0], string] => typeof entry[1] === "string"),
  );
}

function clientOf(input: NodeInput): Redis {
  const profile = {
    lazyConnect: true,
    connectTimeout: PATIENCE_MS,
    commandTimeout: PATIENCE_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    disableClientInfo: true,
    // The library's own keys have none.
    keyPrefix: "",
  } satisfies RedisOptions;
  // What stands in a URL's query would win over what comes behind it.
  if (typeof input === "string") return Reflect.construct(Redis, [profile, input]) as Redis;
  if ("duplicate" in input && typeof input.duplicate === "function") return input.duplicate(profile) as Redis;
  return new Redis({ ...input, ...profile } as object);
}

function parsedInfo(text: string): Map<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(":"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}
