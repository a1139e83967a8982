/**
 * `holdfast/iovalkey`: nodes that are reached by iovalkey. A client is duplicated, never used or changed: its duplicates queue nothing, send
 * nothing twice, and connect again only when they are told to.
 */
import { ConfigError } from "../errors.ts";
import type { ClientAdapter, ClientSession } from "../node/connection.ts";
import { isIovalkeyClient, kindOf } from "../options/node-input.ts";

/** A client of iovalkey, as far as this adapter needs it. */
export interface IovalkeyClient {
  readonly options: object;
  duplicate(override?: object): unknown;
}

interface IovalkeySession {
  on(event: "error", heard: (error: Error) => void): unknown;
  on(event: "end", heard: () => void): unknown;
  on(event: "message", heard: (channel: string, message: string) => void): unknown;
  connect(): Promise<void>;
  call(command: string, ...args: readonly string[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  disconnect(): void;
  readonly stream?: { destroy(): unknown } | undefined;
}

interface IovalkeyOptions {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly db?: number;
  readonly sentinels?: readonly unknown[] | null;
  readonly name?: string | null;
  readonly keyPrefix?: string;
}

/** A node for `createLocker`, from a client of iovalkey, connected or not. Throws `ConfigError` for anything else. */
export function iovalkey(client: IovalkeyClient): ClientAdapter {
  if (!isIovalkeyClient(client))
    throw new ConfigError(`iovalkey must be given a client of iovalkey 0.4 or later, got ${kindOf(client)}`);
  const options: IovalkeyOptions = client.options;
  return {
    name: addressOf(options),
    keyPrefix: options.keyPrefix,
    open: async ({ ended, signal, connectTimeoutMs }): Promise<ClientSession> => {
      const session = client.duplicate({
        ...OVERRIDES,
        connectTimeout: connectTimeoutMs,
      }) as IovalkeySession;
      session.on("error", (error) => ended(error.message));
      session.on("end", () => ended("the connection ended"));
      signal.addEventListener("abort", () => end(session), { once: true });
      await session.connect();
      return {
        send: ([command = "", ...args]) => session.call(command, ...args),
        subscribe: async (channel, heard) => {
          session.on("message", (from, message) => from === channel && heard(message));
          await session.subscribe(channel);
        },
      };
    },
  };
}

/** At once: a server that hangs would never agree to an orderly end. */
function end(session: IovalkeySession): void {
  session.disconnect();
  session.stream?.destroy();
}

/** Whatever the user's client does. That a server loads its data is asked for by whoever opened the session. */
const OVERRIDES: object = {
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  enableAutoPipelining: false,
  enableReadyCheck: false,
  retryStrategy: null,
  reconnectOnError: null,
  sentinelRetryStrategy: null,
  commandTimeout: undefined,
  socketTimeout: undefined,
  stringNumbers: false,
  readOnly: false,
  monitor: false,
  keyPrefix: "",
};

/** Without credentials. */
function addressOf({ sentinels, name, path, host, port, db }: IovalkeyOptions): string {
  const isBehindSentinels = sentinels !== undefined && sentinels !== null;
  const address = isBehindSentinels
    ? `sentinel:${name ?? "?"}`
    : (path ?? `${host ?? "localhost"}:${port ?? 6379}`);
  return db ? `${address}/${db}` : address;
}
