/** From what servers say of themselves to findings: pure. Every finding that is not good says what to do. */
import type { Patient } from "./examination.ts";

export type Verdict = "good" | "warning" | "bad";

export interface Finding {
  /** Address of the node, or `fleet`. */
  readonly node: string;
  readonly check: string;
  readonly verdict: Verdict;
  readonly detail: string;
  readonly advice?: string;
}

export interface Terms {
  readonly clockWindowMs: number;
  readonly allowEviction: boolean;
}

export interface Diagnosis {
  readonly findings: readonly Finding[];
  /** Whether enough of them can be reached. */
  readonly hasQuorum: boolean;
}

export function diagnose(patients: readonly Patient[], terms: Terms): Diagnosis {
  const reached = patients.filter(({ trouble }) => trouble === undefined);
  const median = medianOf(reached.map(({ offsetMs }) => offsetMs));
  const findings = [
    ...patients.flatMap((patient) =>
      findingsOf(patient, median, terms).map((each) => ({ node: patient.node, ...each })),
    ),
    ...fleetFindings(patients, reached).map((each) => ({ node: "fleet", ...each })),
  ];
  return { findings, hasQuorum: 2 * reached.length > patients.length };
}

type Judged = Omit<Finding, "node">;

function findingsOf(patient: Patient, medianOffsetMs: number, terms: Terms): Judged[] {
  const { trouble, info } = patient;
  if (trouble !== undefined) return [reachable(trouble)];
  return [
    { check: "reachable", verdict: "good", detail: `Redis ${version(info)}, up ${days(info)}` },
    role(info),
    eviction(info, terms),
    memory(info),
    persistence(info),
    clock(patient, medianOffsetMs, terms),
    admission(patient),
  ];
}

function reachable(trouble: string): Judged {
  const advice = /NOAUTH|WRONGPASS|NOPERM/.test(trouble)
    ? "give a user that may run TIME, INFO, EVAL and EVALSHA (redis://user:password@host)"
    : "is the server running, and can this host reach it? Locks live on as long as a majority of the nodes can be reached";
  return { check: "reachable", verdict: "bad", detail: trouble, advice };
}

function role(info: Patient["info"]): Judged {
  const found = info.get("role") ?? "unknown";
  if (found === "master") return { check: "role", verdict: "good", detail: "master" };
  return {
    check: "role",
    verdict: "bad",
    detail: found,
    advice:
      "only masters vote, since a replica may lack what its master acknowledged: name the master, or make this server one",
  };
}

function eviction(info: Patient["info"], { allowEviction }: Terms): Judged {
  const policy = info.get("maxmemory_policy") ?? "noeviction";
  const limit = Number(info.get("maxmemory") ?? 0);
  if (limit === 0 || policy === "noeviction")
    return { check: "eviction", verdict: "good", detail: limit === 0 ? "no memory limit" : policy };
  return {
    check: "eviction",
    verdict: allowEviction ? "warning" : "bad",
    detail: `${policy} with maxmemory ${mebibytes(limit)}`,
    advice:
      "it may evict locks that are held: CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
  };
}

function memory(info: Patient["info"]): Judged {
  const [used, limit] = [Number(info.get("used_memory") ?? 0), Number(info.get("maxmemory") ?? 0)];
  const most = limit > 0 ? limit : Number(info.get("total_system_memory") ?? 0);
  const detail = `${mebibytes(used)} of ${mebibytes(most)} used`;
  if (most === 0 || used < 0.8 * most) return { check: "memory", verdict: "good", detail };
  return {
    check: "memory",
    verdict: "warning",
    detail,
    advice:
      "when it is full it refuses new locks; those that are held are extended and released all the same. Give it more, or to locks alone",
  };
}

function persistence(info: Patient["info"]): Judged {
  const [aof, saves] = [info.get("aof_enabled") === "1", info.get("rdb_last_bgsave_status") ?? "ok"];
  const failing =
    aof && info.get("aof_last_write_status") === "err" ? "AOF" : saves === "err" ? "RDB" : undefined;
  if (failing !== undefined)
    return {
      check: "persistence",
      verdict: "warning",
      detail: `the last ${failing} write failed`,
      advice: "look at its disk and its log",
    };
  if (aof) return { check: "persistence", verdict: "good", detail: "append-only file" };
  return {
    check: "persistence",
    verdict: "good",
    detail:
      "none that holds every write: after a restart it is in quarantine for the longest ttl, and votes again then",
  };
}

function clock(
  { offsetMs, uncertaintyMs }: Patient,
  medianOffsetMs: number,
  { clockWindowMs }: Terms,
): Judged {
  const skewMs = offsetMs - medianOffsetMs;
  const detail = `${skewMs >= 0 ? "+" : ""}${skewMs.toFixed(1)} ms against the median of the nodes (± ${uncertaintyMs.toFixed(1)} ms)`;
  const off = Math.max(0, Math.abs(skewMs) - uncertaintyMs);
  const most = clockWindowMs > 0 ? clockWindowMs : 1_000;
  if (off < most / 4) return { check: "clock", verdict: "good", detail };
  return {
    check: "clock",
    verdict: off < most ? "warning" : "bad",
    detail,
    advice: `beyond ${most} ms its votes are refused: let chrony or ntpd keep its clock`,
  };
}

function admission({ marker, info }: Patient): Judged {
  const { inc, since, declared, ttl } = marker;
  if (inc === undefined)
    return {
      check: "admission",
      verdict: "warning",
      detail: "never admitted by a client",
      advice:
        "the first client admits it, and strict clients wait for one maxTtlMs from then on; `holdfast init` ends that wait where no lock can be outstanding",
    };
  if (!inc.startsWith(info.get("run_id") ?? "?"))
    return {
      check: "admission",
      verdict: "warning",
      detail: "its memory was admitted under an earlier process",
      advice: "the next client admits it anew, with a quarantine",
    };
  return {
    check: "admission",
    verdict: "good",
    detail: `since ${dated(since)}${declared ? `, declared new (${declared})` : ""}; locks lately of up to ${ttl ?? "?"} ms`,
  };
}

function fleetFindings(patients: readonly Patient[], reached: readonly Patient[]): Judged[] {
  const quorum = Math.floor(patients.length / 2) + 1;
  const detail = `${reached.length} of ${patients.length} nodes reached, ${quorum} needed`;
  const hasQuorum = reached.length >= quorum;
  return [
    hasQuorum
      ? { check: "quorum", verdict: "good", detail }
      : {
          check: "quorum",
          verdict: "bad",
          detail,
          advice: "no lock can be taken or extended until a majority is back",
        },
    size(patients.length),
    ...twins(reached),
    ...neighbours(patients),
    ...ages(reached),
  ];
}

function size(nodes: number): Judged {
  if (nodes % 2 === 1)
    return { check: "size", verdict: "good", detail: `${nodes}: ${(nodes - 1) / 2} may fail` };
  return {
    check: "size",
    verdict: "warning",
    detail: `${nodes}: ${nodes / 2 - 1} may fail, no more than of ${nodes - 1}`,
    advice: "an even number costs a node and bears no more faults: add one, or leave one out",
  };
}

/** One server under two names would vote twice. */
function twins(reached: readonly Patient[]): Judged[] {
  const byRunId = groupedBy(reached, ({ info }) => info.get("run_id") ?? "");
  return [...byRunId.values()]
    .filter((same) => same.length > 1)
    .map((same) => ({
      check: "independence",
      verdict: "bad",
      detail: `${same.map(({ node }) => node).join(" and ")} are the same server`,
      advice: "every node must be a server of its own; name each once",
    }));
}

function neighbours(patients: readonly Patient[]): Judged[] {
  return [...groupedBy(patients, ({ host }) => host).entries()]
    .filter(([, same]) => same.length > 1)
    .map(([host, same]) => ({
      check: "independence",
      verdict: "warning",
      detail: `${same.length} of ${patients.length} nodes are on ${host}`,
      advice: "they fail together; put each on a machine of its own",
    }));
}

/** Started together: likely to be stopped together. */
function ages(reached: readonly Patient[]): Judged[] {
  const starts = reached.map(({ info }) => Number(info.get("uptime_in_seconds") ?? 0));
  if (reached.length < 2 || Math.min(...starts) > YOUNG_S) return [];
  const young = starts.filter((seconds) => seconds <= YOUNG_S).length;
  return 2 * young > reached.length
    ? [
        {
          check: "restarts",
          verdict: "warning",
          detail: `${young} of ${reached.length} nodes were started within the last ${YOUNG_S} s`,
          advice:
            "restart one node at a time, and wait until it votes again: a majority that restarts together stops all locks",
        },
      ]
    : [];
}

const YOUNG_S = 60;

function groupedBy<T>(all: readonly T[], keyOf: (each: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const each of all) groups.set(keyOf(each), [...(groups.get(keyOf(each)) ?? []), each]);
  return groups;
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

function version(info: Patient["info"]): string {
  return info.get("valkey_version") ?? info.get("redis_version") ?? "?";
}

function days(info: Patient["info"]): string {
  const seconds = Number(info.get("uptime_in_seconds") ?? 0);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3_600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(0)} MiB`;
}

function dated(us: string | undefined): string {
  const ms = Number(us) / 1_000;
  return Number.isFinite(ms) ? new Date(ms).toISOString() : "?";
}
