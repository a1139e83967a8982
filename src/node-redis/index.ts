/**
 * `holdfast/node-redis`: nodes that are reached by node-redis (the package `redis`, 5 or 6). A client is duplicated for every
 * connection, never used or changed: its duplicates queue nothing, and do not connect again by themselves.
 */
import { ConfigError, messageOf } from "../errors.ts";
import type { ClientAdapter, ClientSession } from "../node/connection.ts";
import { foreignKind, isNodeRedisClient, kindOf } from "../options/node-input.ts";

/** A client of node-redis, as far as this adapter needs it. */
export interface NodeRedisClient {
  readonly options?: NodeRedisOptions | undefined;
  duplicate(overrides?: object): NodeRedisSession;
}

interface NodeRedisOptions {
  readonly url?: string | undefined;
  readonly database?: number | undefined;
  readonly socket?: object | undefined;
  readonly keyPrefix?: string | Buffer | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly credentialsProvider?: unknown;
}

interface NodeRedisSession {
  on(event: "error" | "end", heard: (error?: Error) => void): unknown;
  connect(): Promise<unknown>;
  sendCommand(args: readonly string[]): Promise<unknown>;
  subscribe(channel: string, heard: (message: string) => void): Promise<void>;
  destroy(): void;
}

/**
 * A node for `createLocker`, from a client of node-redis 5 or 6, connected or not. Its `options` are read again for every connection: a
 * password that is changed there, and what its `credentialsProvider` gives, counts from the next one. A provider has twice
 * `connectTimeoutMs`, with the dial. Throws `ConfigError` for anything else: a pool, a cluster, a Sentinel client, options.
 */
export function nodeRedis(client: NodeRedisClient): ClientAdapter {
  checkClient(client);
  const options = client.options ?? {};
  const given = { ...options };
  return {
    name: addressOf(options),
    keyPrefix: options.keyPrefix?.toString(),
    open: async ({ ended, signal, connectTimeoutMs }): Promise<ClientSession> => {
      const session = client.duplicate({
        ...OVERRIDES,
        ...changedSince(given, client.options ?? {}),
        socket: socketOf(client.options, connectTimeoutMs),
      });
      session.on("error", (error) => ended(messageOf(error)));
      session.on("end", () => ended("the connection ended"));
      signal.addEventListener("abort", () => end(session), { once: true });
      await session.connect();
      return {
        send: (args) => session.sendCommand(args),
        subscribe: (channel, heard) => session.subscribe(channel, heard),
      };
    },
  };
}

/**
 * Whatever the user's client does: requests are never queued, and answers come as the older protocol has them. What node-redis allows
 * with the newer one only (it is the default of node-redis 6) has to be switched off with it, or no duplicate could be made.
 */
const OVERRIDES: object = {
  disableOfflineQueue: true,
  pingInterval: undefined,
  commandsQueueMaxLength: undefined,
  RESP: 2,
  maintNotifications: "disabled",
  clientSideCache: undefined,
  emitInvalidate: undefined,
  commandOptions: undefined,
};

function socketOf(options: NodeRedisOptions | undefined, connectTimeout: number): object {
  return { ...options?.socket, connectTimeout, reconnectStrategy: false };
}

function checkClient(client: unknown): void {
  if (isNodeRedisClient(client)) return;
  const hint = foreignKind(client)?.forNodeRedis;
  throw new ConfigError(
    `nodeRedis must be given a client of node-redis 5 or 6 (createClient), got ${kindOf(client)}${hint === undefined ? "" : `: ${hint}`}`,
  );
}

/**
 * What a client was made of is in its options twice: as a URL or a password, and as what became of it. A duplicate would read the first
 * again, whatever was changed since in the second.
 */
function changedSince(given: NodeRedisOptions, now: NodeRedisOptions): object {
  const isRenamed = given.username !== now.username || given.password !== now.password;
  const isProvided = given.credentialsProvider !== now.credentialsProvider;
  return { url: undefined, ...(isRenamed && !isProvided ? { credentialsProvider: undefined } : {}) };
}

/** It throws where it has ended already. */
function end(session: NodeRedisSession): void {
  try {
    session.destroy();
  } catch {
    // Then there is nothing left to end.
  }
}

/** Without credentials. */
function addressOf({ url, socket, database }: NodeRedisOptions): string {
  const given = url === undefined ? undefined : new URL(url);
  const own: { host?: string; port?: number; path?: string } = socket ?? {};
  const host = own.host ?? given?.hostname ?? "localhost";
  const port = own.port ?? (given?.port || "6379");
  const address = own.path ?? `${host}:${port}`;
  return database ? `${address}/${database}` : address;
}
