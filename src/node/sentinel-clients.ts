/**
 * The clients by which ioredis asks Sentinels for the master, each of them for one dial. Nothing ends them with the client they work for: one
 * that a hung Sentinel does not answer keeps its process alive for ever, and every one that has failed for two seconds more. ioredis has no
 * option for them, so they are caught where its connector makes them; a connector of another shape is left as it is.
 */
import type { Redis } from "ioredis";

interface SentinelConnector {
  connectToSentinel(endpoint: object, options?: object): Redis;
}

export class SentinelClients {
  readonly #open = new Set<Redis>();

  /** `graceMs`: how long an ended one may take to close its connection. */
  constructor(redis: Redis, graceMs: number) {
    const { connector } = redis as unknown as { readonly connector?: Partial<SentinelConnector> };
    const connect = connector?.connectToSentinel;
    if (connector === undefined || typeof connect !== "function") return;
    connector.connectToSentinel = (endpoint, options) => {
      const client = connect.call(connector, endpoint, { disconnectTimeout: graceMs, ...options });
      this.#open.add(client);
      client.once("end", () => this.#open.delete(client));
      return client;
    };
  }

  close(): void {
    for (const client of this.#open) client.disconnect();
    this.#open.clear();
  }
}
