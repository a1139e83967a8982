/** Commands to a server that may be paused, asleep or gone: over a connection of their own, and not for ever. */
import { Redis } from "ioredis";

/** A node may be paused or asleep: then a command fails instead of hanging the test. */
export const CLI_TIMEOUT_MS = 10_000;

export interface DumpedKey {
  readonly type: string;
  /** As PTTL answers: −1 without an expiry. */
  readonly pttl: number;
  readonly value: unknown;
}

interface Address {
  readonly host: string;
  readonly port: number;
  readonly password: string | undefined;
  /** For the error. */
  readonly state: string;
}

/** The connection ends with the work or with the time. */
export async function connectedTo<T>(
  { host, port, password, state }: Address,
  work: (redis: Redis) => Promise<T>,
  timeoutMs: number,
): Promise<T> {
  const redis = new Redis(port, host, {
    protocol: 2,
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    ...(password === undefined ? {} : { password }),
  });
  redis.on("error", () => {});
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `the server on port ${port} (${state}) did not answer within ${timeoutMs} ms`;
    timer = setTimeout(() => reject(new Error(message)), timeoutMs);
  });
  try {
    return await Promise.race([redis.connect().then(() => work(redis)), late]);
  } finally {
    clearTimeout(timer);
    redis.disconnect();
  }
}

/** All keys of database 0, read one after the other: not a snapshot while others write. */
export async function dumpOf(redis: Redis): Promise<Record<string, DumpedKey>> {
  const found: Record<string, DumpedKey> = {};
  for (const key of (await redis.keys("*")).toSorted()) {
    const type = await redis.type(key);
    const [pttl, value] = await Promise.all([redis.pttl(key), readKey(redis, key, type)]);
    // −2: it expired since it was listed.
    if (pttl !== -2) found[key] = { type, pttl, value };
  }
  return found;
}

function readKey(redis: Redis, key: string, type: string): Promise<unknown> {
  switch (type) {
    case "string":
      return redis.get(key);
    case "hash":
      return redis.hgetall(key);
    case "list":
      return redis.lrange(key, 0, -1);
    case "set":
      return redis.smembers(key);
    case "zset":
      return redis.call("ZRANGE", key, "0", "-1", "WITHSCORES");
    default:
      return Promise.resolve(undefined);
  }
}
