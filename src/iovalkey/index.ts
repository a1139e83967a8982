/**
 * `holdfast/iovalkey`: nodes that are reached by iovalkey. A client is duplicated for every connection, never used or changed: its duplicates
 * queue nothing, send nothing twice, and do not connect again by themselves.
 */
import { ConfigError, messageOf } from "../errors.ts";
import type { ClientAdapter, ClientSession } from "../node/connection.ts";
import { type SentinelAddress, SentinelTurns } from "../node/sentinel-turns.ts";
import { isIovalkeyClient, kindOf } from "../options/node-input.ts";

/** A client of iovalkey, as far as this adapter needs it. */
export interface IovalkeyClient {
  readonly options: object;
  duplicate(override?: object): unknown;
}

interface IovalkeySession {
  readonly options: IovalkeyOptions;
  on(event: "error", heard: (error: Error) => void): unknown;
  on(event: "end" | "connect", heard: () => void): unknown;
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
  readonly sentinels?: readonly SentinelAddress[] | null;
  readonly family?: number;
  /** Whether it goes on with IPv6 after it failed with IPv4, and the other way round; set when it is dialled. */
  readonly familyFallback?: { readonly enabled?: boolean } | null;
  readonly name?: string | null;
  readonly keyPrefix?: string;
}

/**
 * A node for `createLocker`, from a client of iovalkey, connected or not. What is changed in its `options` (`client.options.password = token`)
 * counts from the next connection. Throws `ConfigError` for anything else.
 */
export function iovalkey(client: IovalkeyClient): ClientAdapter {
  if (!isIovalkeyClient(client))
    throw new ConfigError(`iovalkey must be given a client of iovalkey 0.4 or later, got ${kindOf(client)}`);
  const options: IovalkeyOptions = client.options;
  const { db } = options;
  const turns = new SentinelTurns();
  let failed: IovalkeySession | undefined;
  return {
    name: addressOf(options),
    keyPrefix: options.keyPrefix,
    open: async ({ ended, signal, connectTimeoutMs }): Promise<ClientSession> => {
      const given: IovalkeyOptions = client.options;
      const session = client.duplicate({
        ...OVERRIDES,
        db,
        sentinels: turns.next(given.sentinels) ?? given.sentinels,
        family: failed === undefined ? given.family : otherFamily(failed.options),
        connectTimeout: connectTimeoutMs,
        sentinelCommandTimeout: connectTimeoutMs,
      }) as IovalkeySession;
      failed = session;
      turns.ask(session);
      session.on("error", (error) => ended(messageOf(error)));
      session.on("end", () => ended("the connection was closed"));
      session.on("connect", () => signal.aborted && end(session));
      signal.addEventListener("abort", () => end(session), { once: true });
      await session.connect();
      failed = undefined;
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

/** A new client would always begin with the family of its options. */
function otherFamily({ family, familyFallback }: IovalkeyOptions): number | undefined {
  if (familyFallback?.enabled !== true) return family;
  return family === 6 ? 4 : 6;
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
  disconnectTimeout: 0,
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
