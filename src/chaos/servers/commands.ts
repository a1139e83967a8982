/**
 * What an operator, a memory limit or another server does to a Redis server that stays up: faults made by commands. Each is undone by
 * its counterpart here, or by a restart of the node.
 */
import { noticeChannel } from "../../node/key-names.ts";
import { sleep } from "../machine/wait-for.ts";
import type { ChaosNode } from "./server-node.ts";

/** Longer than the command itself may take, so that a sleeping server is no error. */
const MARGIN_MS = 10_000;
const FORGERY_PAUSE_MS = 1;

/** Demoted and promoted again without a restart: run_id stays, the replication id does not. Nothing listens on port 1. */
export async function replicaOfCycle(node: ChaosNode): Promise<void> {
  await node.cli("REPLICAOF", "127.0.0.1", 1);
  await node.cli("REPLICAOF", "NO", "ONE");
}

export async function flushAll(node: ChaosNode): Promise<void> {
  await node.cli("FLUSHALL");
}

export async function scriptFlush(node: ChaosNode): Promise<void> {
  await node.cli("SCRIPT", "FLUSH");
}

/** From now on writes that may grow the memory are refused (OOM), others are not. */
export async function fillMemory(node: ChaosNode): Promise<void> {
  const used = /used_memory:(\d+)/.exec(String(await node.cli("INFO", "memory")))?.[1];
  if (used === undefined) throw new Error(`the server on port ${node.port} does not tell its used memory`);
  // A tenth below: connections that end give some of it back.
  await evictionPolicy(node, "noeviction", Math.floor(Number(used) * 0.9));
}

export async function freeMemory(node: ChaosNode): Promise<void> {
  await node.cli("CONFIG", "SET", "maxmemory", 0);
}

/** `maxmemory` in bytes, 0 for no limit. */
export async function evictionPolicy(node: ChaosNode, policy: string, maxmemory: number): Promise<void> {
  await node.cli("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", maxmemory);
}

/** Writes, and scripts that may write, wait in the server until the time is over. */
export async function clientPauseWrite(node: ChaosNode, ms: number): Promise<void> {
  await node.cli("CLIENT", "PAUSE", ms, "WRITE");
}

/** Ends all connections too: those that exist would stay authenticated. */
export async function requirePassword(node: ChaosNode, password: string): Promise<void> {
  await node.cli("CONFIG", "SET", "requirepass", password);
  node.password = password;
  await node.cli("CLIENT", "KILL", "TYPE", "normal");
}

export async function noPassword(node: ChaosNode): Promise<void> {
  await node.cli("CONFIG", "SET", "requirepass", "");
  node.password = undefined;
}

/** Resolves when the server is awake again; until then it does nothing at all. */
export async function debugSleep(node: ChaosNode, seconds: number): Promise<void> {
  await node.connected((redis) => redis.call("DEBUG", "SLEEP", seconds), seconds * 1_000 + MARGIN_MS);
}

/** Whoever is connected stays so, and may run no script any more. */
export async function forbidScripts(node: ChaosNode): Promise<void> {
  await node.cli("ACL", "SETUSER", "default", "-@scripting");
}

/** Connections on which something is heard end, and may come back. */
export async function hangUpOnListeners(node: ChaosNode): Promise<void> {
  await node.cli("CLIENT", "KILL", "TYPE", "pubsub");
}

/** Nothing may be published or heard any more, not by scripts either; who listens is cut off. */
export async function forbidNotices(node: ChaosNode): Promise<void> {
  await node.cli("ACL", "SETUSER", "default", "resetchannels");
}

/** Everybody who listens is told for so long, as fast as the server can, that every lock is free. */
export async function forgeNotices(node: ChaosNode, ms: number): Promise<void> {
  await node.connected(async (redis) => {
    const end = Date.now() + ms;
    while (Date.now() < end) {
      const channels = (await redis.pubsub("CHANNELS", noticeChannel("*"))) as string[];
      const locks = (await redis.keys("*")).filter((key) => !key.includes(":"));
      for (const channel of channels) for (const key of locks) await redis.publish(channel, key);
      await sleep(FORGERY_PAUSE_MS);
    }
  }, ms + MARGIN_MS);
}

/** Ends all connections, and lets but one come back; only a restart of the server ends it. */
export async function limitClients(node: ChaosNode): Promise<void> {
  await node.connected(async (redis) => {
    await redis.config("SET", "maxclients", 1);
    await redis.call("CLIENT", "KILL", "TYPE", "normal");
  });
}

/** Undoes `requirePassword`, `forbidScripts` and `forbidNotices`. */
export async function allowEverybody(node: ChaosNode): Promise<void> {
  await node.cli("ACL", "SETUSER", "default", "+@all", "allchannels");
  await noPassword(node);
}

/** The server answers BUSY to everybody for so long. */
export async function runBusyScript(node: ChaosNode, ms: number): Promise<void> {
  await node.cli("CONFIG", "SET", "busy-reply-threshold", 1);
  // Ends with the error that it was killed.
  const script = node
    .connected((redis) => redis.eval("while true do end", 0), ms + MARGIN_MS)
    .catch(() => {});
  await sleep(ms);
  await node.cli("SCRIPT", "KILL");
  await script;
}

/** Of keys that nobody uses, so that loading them takes time. */
const FILLERS = 600;

/** Answers LOADING for about so long, with its memory kept. */
export async function loadSlowly(node: ChaosNode, ms: number): Promise<void> {
  await node.cli("DEBUG", "POPULATE", FILLERS, "filler", 2_000);
  const delayUs = Math.ceil((ms * 1_000) / FILLERS);
  await node.cli("CONFIG", "SET", "key-load-delay", delayUs, "rdbcompression", "no");
  // Between two events a loading server answers nobody: let every key be one.
  await node.cli("CONFIG", "SET", "loading-process-events-interval-bytes", 1_024);
  await node.connected((redis) => redis.call("DEBUG", "RELOAD"), ms + MARGIN_MS);
  await node.cli("EVAL", "for i = 0, ARGV[1] - 1 do redis.call('UNLINK', 'filler:' .. i) end", 0, FILLERS);
}
