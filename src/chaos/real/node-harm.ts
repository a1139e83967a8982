/** Faults of servers, as what is done to a real one. */
import type { NodeFault } from "../scenario.ts";
import {
  clientPauseWrite,
  debugSleep,
  evictionPolicy,
  fillMemory,
  flushAll,
  forbidNotices,
  forbidScripts,
  forgeNotices,
  hangUpOnListeners,
  limitClients,
  loadSlowly,
  allowEverybody,
  requirePassword,
  runBusyScript,
  scriptFlush,
} from "../servers/commands.ts";
import type { ChaosNode } from "../servers/server-node.ts";

type Harm = (node: ChaosNode, ms: number) => Promise<unknown> | void;

const DEFAULT_MS = 1_000;
const PASSWORD = "changed";

const HARM: Readonly<Record<NodeFault["do"], Harm>> = {
  kill: (node) => node.kill(),
  restart: (node) => node.restart(),
  "restart empty": (node) => node.restartEmpty(),
  "lose power": (node) => node.powerLoss(),
  "keep a snapshot": (node) => node.keepSnapshot(),
  "restore the snapshot": (node) => node.restoreSnapshot(),
  // Another process at the same address, with a memory of its own.
  "replace by another server": (node) => node.restartEmpty(),
  "load slowly": loadSlowly,
  pause: (node) => node.pause(),
  resume: (node) => node.resume(),
  flush: flushAll,
  "flush scripts": scriptFlush,
  demote: (node) => node.cli("REPLICAOF", "127.0.0.1", 1),
  promote: (node) => node.cli("REPLICAOF", "NO", "ONE"),
  "fill memory": fillMemory,
  "free memory": (node) => evictionPolicy(node, "noeviction", 0),
  evict: (node) => evictionPolicy(node, "allkeys-lru", 0),
  "pause writes": clientPauseWrite,
  sleep: (node, ms) => debugSleep(node, ms / 1_000),
  "run a busy script": runBusyScript,
  "require a password": (node) => requirePassword(node, PASSWORD),
  "forbid scripts": forbidScripts,
  "hang up on listeners": hangUpOnListeners,
  "forbid notices": forbidNotices,
  "forge notices": forgeNotices,
  "limit clients": limitClients,
  "allow everybody": allowEverybody,
};

/** Resolves when it has begun: what takes its time goes on without being waited for. */
export async function harmNode(node: ChaosNode, { do: deed, ms = DEFAULT_MS }: NodeFault): Promise<void> {
  await HARM[deed](node, ms);
}
