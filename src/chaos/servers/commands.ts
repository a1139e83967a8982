/**
 * What an operator, a memory limit or another server does to a Redis server that stays up: faults made by commands. Each is undone by
 * its counterpart here, or by a restart of the node.
 */
import type { ServerNode } from "./server-node.ts";

/** Longer than the command itself may take, so that a sleeping server is no error. */
const MARGIN_MS = 10_000;

/** Demoted and promoted again without a restart: run_id stays, the replication id does not. Nothing listens on port 1. */
export async function replicaOfCycle(node: ServerNode): Promise<void> {
  await node.cli("REPLICAOF", "127.0.0.1", 1);
  await node.cli("REPLICAOF", "NO", "ONE");
}

export async function flushAll(node: ServerNode): Promise<void> {
  await node.cli("FLUSHALL");
}

export async function scriptFlush(node: ServerNode): Promise<void> {
  await node.cli("SCRIPT", "FLUSH");
}

/** From now on writes that may grow the memory are refused (OOM), others are not. */
export async function fillMemory(node: ServerNode): Promise<void> {
  const used = /used_memory:(\d+)/.exec(String(await node.cli("INFO", "memory")))?.[1];
  if (used === undefined) throw new Error(`the server on port ${node.port} does not tell its used memory`);
  // A tenth below: connections that end give some of it back.
  await evictionPolicy(node, "noeviction", Math.floor(Number(used) * 0.9));
}

export async function freeMemory(node: ServerNode): Promise<void> {
  await node.cli("CONFIG", "SET", "maxmemory", 0);
}

/** `maxmemory` in bytes, 0 for no limit. */
export async function evictionPolicy(node: ServerNode, policy: string, maxmemory: number): Promise<void> {
  await node.cli("CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", maxmemory);
}

/** Writes, and scripts that may write, wait in the server until the time is over. */
export async function clientPauseWrite(node: ServerNode, ms: number): Promise<void> {
  await node.cli("CLIENT", "PAUSE", ms, "WRITE");
}

/** Ends all connections too: those that exist would stay authenticated. */
export async function requirePassword(node: ServerNode, password: string): Promise<void> {
  await node.cli("CONFIG", "SET", "requirepass", password);
  node.password = password;
  await node.cli("CLIENT", "KILL", "TYPE", "normal");
}

export async function noPassword(node: ServerNode): Promise<void> {
  await node.cli("CONFIG", "SET", "requirepass", "");
  node.password = undefined;
}

/** Resolves when the server is awake again; until then it does nothing at all. */
export async function debugSleep(node: ServerNode, seconds: number): Promise<void> {
  await node.connected((redis) => redis.call("DEBUG", "SLEEP", seconds), seconds * 1_000 + MARGIN_MS);
}
