/**
 * What a server says of itself when it is met (rules G1, G2): which memory it has, whether it may vote at all, and what it was last
 * admitted with. Parsing and judging are pure; nothing is remembered here.
 */
import type { Clock, Instant } from "../clock/clock.ts";
import type { Connection } from "./connection.ts";
import { MARKER_KEY } from "./key-names.ts";
import type { Marker } from "./lock-node.ts";
import { MARKER_FIELDS } from "./redis-scripts.ts";
import { decodeMarker } from "./script-calls.ts";

export interface Introduction {
  readonly runId: string;
  /** The run id alone survives a promotion; uptime follows the wall clock. */
  readonly replicationId: string;
  readonly evictedKeys: number;
  readonly role: string;
  /** `standalone`, `cluster` or `sentinel`. */
  readonly serverMode: string;
  /** Of Redis, which Valkey says too: the version it is compatible with. */
  readonly version: string;
  readonly maxMemory: number;
  readonly maxMemoryPolicy: string;
  readonly nodeUs: number;
  readonly askedAt: Instant;
  readonly answeredAt: Instant;
  readonly marker: Marker | undefined;
}

/** The oldest that this library is tested with; Valkey 8 calls itself 7.2. */
const VERSION_MIN = 7;

/** Asks; rejects when the connection ends, or when a server of the right kind refuses one of the commands. */
export async function introduce(connection: Connection, clock: Clock): Promise<Introduction> {
  const askedAt = clock.glance();
  const server = connection.call("INFO", "server");
  const time = connection.call("TIME").then((answer) => ({ answer, answeredAt: clock.glance() }));
  const all = Promise.all([
    time,
    connection.call("HMGET", MARKER_KEY, ...MARKER_FIELDS),
    server,
    connection.call("INFO", "replication"),
    connection.call("INFO", "memory"),
    connection.call("INFO", "stats"),
  ]);
  // Of one that is no standalone server, what it is says more than what it refuses.
  const [{ answer, answeredAt }, fields, ...sections] = await all.catch(async (error: unknown) => {
    const told = String(await server);
    if (modeOf(parseInfo(told)) === "standalone") throw error;
    return [{ answer: undefined, answeredAt: clock.glance() }, undefined, told] as const;
  });
  const info = parseInfo(sections.map(String).join("\n"));
  const [seconds, micros] = Array.isArray(answer) ? (answer as unknown[]) : [];
  return {
    runId: info.get("run_id") ?? "",
    replicationId: info.get("master_replid") ?? "",
    evictedKeys: Number(info.get("evicted_keys") ?? 0),
    role: info.get("role") ?? "unknown",
    serverMode: modeOf(info),
    version: info.get("redis_version") ?? "",
    maxMemory: Number(info.get("maxmemory") ?? 0),
    maxMemoryPolicy: info.get("maxmemory_policy") ?? "noeviction",
    nodeUs: Number(seconds) * 1_000_000 + Number(micros),
    askedAt,
    answeredAt,
    marker: decodeMarker(fields),
  };
}

/** Valkey has a name of its own for it. */
function modeOf(info: ReadonlyMap<string, string>): string {
  return info.get("redis_mode") ?? info.get("server_mode") ?? "standalone";
}

/** What a memory of this server is called that is admitted now (rule G1). */
export function incarnationOf({ runId, replicationId }: Introduction): string {
  return `${runId}:${replicationId}`;
}

function parseInfo(text: string): Map<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1)];
    }),
  );
}

/** Why this server must not vote, or undefined where it may (G2). Its clock is judged with every vote, by the script (N8). */
export function objection(met: Introduction, allowEviction: boolean): string | undefined {
  return kindObjection(met) ?? stateObjection(met, allowEviction);
}

/**
 * Whether only an operator can mend what is objected to. A replica that never was a master here is a wrong address; one that was may be part of a
 * failover, after which its name leads elsewhere or it is promoted again.
 */
export function isLasting(met: Introduction, allowEviction: boolean, wasMaster: boolean): boolean {
  if (kindObjection(met) !== undefined) return true;
  return stateObjection(met, allowEviction) !== undefined && (met.role === "master" || !wasMaster);
}

/** It is no server of the kind that is needed, whatever becomes of it. */
function kindObjection({ serverMode, version }: Introduction): string | undefined {
  if (serverMode === "sentinel")
    return "it is a Sentinel, which only knows where the servers are: give ioredis options with sentinels: [{ host, port }] and the name of the master";
  if (serverMode !== "standalone")
    return `it runs in ${serverMode} mode, where keys live on many servers and move between them: give standalone servers`;
  const isTooOld = Number.parseInt(version, 10) < VERSION_MIN;
  return isTooOld ? `it is Redis ${version}: Redis 7 or Valkey 8 is needed, or later` : undefined;
}

function stateObjection(met: Introduction, allowEviction: boolean): string | undefined {
  if (!/^[0-9a-f]{40}:[0-9a-f]{40}$/.test(incarnationOf(met)))
    return "it does not say which server it is (run_id, master_replid)";
  if (!Number.isSafeInteger(met.nodeUs)) return "it does not tell its time";
  if (met.role !== "master")
    return `it is not a master but a ${met.role}: a replica may lack what its master acknowledged`;
  const evicts = met.maxMemory > 0 && met.maxMemoryPolicy !== "noeviction";
  if (evicts && !allowEviction) {
    return `its maxmemory-policy is ${met.maxMemoryPolicy}: it may evict locks that are held; set noeviction (or allowEviction)`;
  }
  return undefined;
}
