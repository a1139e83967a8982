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
  readonly maxMemory: number;
  readonly maxMemoryPolicy: string;
  readonly nodeUs: number;
  readonly askedAt: Instant;
  readonly answeredAt: Instant;
  readonly marker: Marker | undefined;
}

/** Asks; rejects when the connection ends or the server refuses one of the commands. */
export async function introduce(connection: Connection, clock: Clock): Promise<Introduction> {
  const askedAt = clock.glance();
  const time = connection.call("TIME").then((answer) => ({ answer, answeredAt: clock.glance() }));
  const [{ answer, answeredAt }, fields, ...sections] = await Promise.all([
    time,
    connection.call("HMGET", MARKER_KEY, ...MARKER_FIELDS),
    connection.call("INFO", "server"),
    connection.call("INFO", "replication"),
    connection.call("INFO", "memory"),
    connection.call("INFO", "stats"),
  ]);
  const info = parseInfo(sections.map(String).join("\n"));
  const [seconds, micros] = Array.isArray(answer) ? (answer as unknown[]) : [];
  return {
    runId: info.get("run_id") ?? "",
    replicationId: info.get("master_replid") ?? "",
    evictedKeys: Number(info.get("evicted_keys") ?? 0),
    role: info.get("role") ?? "unknown",
    maxMemory: Number(info.get("maxmemory") ?? 0),
    maxMemoryPolicy: info.get("maxmemory_policy") ?? "noeviction",
    nodeUs: Number(seconds) * 1_000_000 + Number(micros),
    askedAt,
    answeredAt,
    marker: decodeMarker(fields),
  };
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
