/**
 * Servers that are not ours: a user's staging nodes. They are asked what they hold, and nothing is done to them; what can be broken is
 * the way to them.
 */
import { Redis } from "ioredis";

export interface GivenNode {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  cli(command: string, ...args: (string | number)[]): Promise<unknown>;
}

const DEFAULT_PORT = 6379;

/** `rediss:` cannot go through a proxy: the certificate is the server's. */
export function givenNode(url: string): GivenNode {
  const { protocol, hostname, port } = parsed(url);
  if (protocol !== "redis:")
    throw new RangeError(`nodes must be redis:// URLs, got ${protocol}//${hostname}`);
  return {
    url,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? DEFAULT_PORT : Number(port),
    cli: async (command, ...args) => {
      const redis = new Redis(url, {
        lazyConnect: true,
        retryStrategy: null,
        maxRetriesPerRequest: 0,
        protocol: 2,
      });
      redis.on("error", () => {});
      try {
        await redis.connect();
        return await redis.call(command, ...args);
      } finally {
        redis.disconnect();
      }
    },
  };
}

/** The same node behind a proxy on this machine: its credentials and database stay. */
export function throughPort(url: string, port: number): string {
  const other = new URL(url);
  other.hostname = "127.0.0.1";
  other.port = String(port);
  return other.href;
}

function parsed(url: string): URL {
  try {
    return new URL(url);
  } catch {
    // Without the value: it may carry a password.
    throw new RangeError("nodes must be redis:// URLs, got something else");
  }
}
