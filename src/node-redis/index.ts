/**
 * `holdfast/node-redis`: nodes that are reached by node-redis (the package `redis`, 5 or later). A client is duplicated, never used or
 * changed: its duplicates queue nothing, and connect again only when they are told to.
 */
import type { ClientAdapter, ClientSession } from "../node/connection.ts";

/** A client of node-redis, as far as this adapter needs it. */
export interface NodeRedisClient {
  readonly options?: NodeRedisOptions | undefined;
  duplicate(overrides?: object): NodeRedisSession;
}

interface NodeRedisOptions {
  readonly url?: string | undefined;
  readonly database?: number | undefined;
  readonly socket?: object | undefined;
}

interface NodeRedisSession {
  on(event: "error" | "end", heard: (error?: Error) => void): unknown;
  connect(): Promise<unknown>;
  sendCommand(args: readonly string[]): Promise<unknown>;
  subscribe(channel: string, heard: (message: string) => void): Promise<void>;
  destroy(): void;
}

/** A node for `createLocker`, from a client of node-redis. */
export function nodeRedis(client: NodeRedisClient): ClientAdapter {
  return {
    name: addressOf(client.options ?? {}),
    open: async ({ ended, signal, connectTimeoutMs }): Promise<ClientSession> => {
      const session = client.duplicate({
        disableOfflineQueue: true,
        pingInterval: undefined,
        commandsQueueMaxLength: undefined,
        RESP: 2,
        socket: { ...client.options?.socket, connectTimeout: connectTimeoutMs, reconnectStrategy: false },
      });
      session.on("error", (error) => ended(error?.message ?? "the connection failed"));
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
