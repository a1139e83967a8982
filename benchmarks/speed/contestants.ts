/**
 * Who is measured: the libraries, and the floor below all of them, which is a bare SET NX PX and a compare-and-delete with ioredis,
 * counted as a quorum, without retries, validity, fences or anything else.
 */
import { randomUUID } from "node:crypto";

import { Redis } from "ioredis";

import { quorumOf } from "../../src/quorum/tally.ts";
import { LIBRARIES, type LibraryName, openLibrary } from "../libraries.ts";

export const FLOORS = ["floor", "floor, pipelined"] as const;
export type FloorName = (typeof FLOORS)[number];
export type Name = LibraryName | FloorName;

export interface Contestant {
  readonly name: Name;
  /** Takes the lock and gives it back. */
  readonly pair: (key: string) => Promise<void>;
  readonly prepare: () => Promise<unknown>;
  readonly close: () => void;
}

const TTL_MS = 10_000;
const COMPARE_AND_DELETE =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/** For so many nodes: the mode of holdfast that one would use there, and all others. */
export function namesFor(nodes: number): Name[] {
  const own = nodes === 1 ? "holdfast single" : "holdfast";
  return [own, ...LIBRARIES.filter((name) => !name.startsWith("holdfast")), ...FLOORS];
}

export function isFloor(name: Name): name is FloorName {
  return FLOORS.some((floor) => floor === name);
}

export function isOurs(name: Name): boolean {
  return name.startsWith("holdfast");
}

export async function open(name: Name, urls: readonly string[]): Promise<Contestant> {
  return isFloor(name) ? openFloor(name, urls) : openPeer(name, urls);
}

async function openPeer(name: LibraryName, urls: readonly string[]): Promise<Contestant> {
  const library = await openLibrary(name, urls);
  return {
    name,
    pair: async (key) => {
      const held = await library.acquire({ key, ttlMs: TTL_MS, automatic: false });
      await held.release();
    },
    prepare: async () => library.prepare?.(),
    close: () => library.close(),
  };
}

async function openFloor(name: FloorName, urls: readonly string[]): Promise<Contestant> {
  const enableAutoPipelining = name === "floor, pipelined";
  const clients = urls.map((url) => new Redis(url, { enableAutoPipelining }).on("error", () => {}));
  const quorum = quorumOf(clients.length);
  const [sha] = await Promise.all(clients.map((client) => client.script("LOAD", COMPARE_AND_DELETE)));
  return {
    name,
    pair: async (key) => {
      const value = randomUUID();
      await majority(
        clients.map((client) => client.set(key, value, "PX", TTL_MS, "NX")),
        quorum,
      );
      await majority(
        clients.map((client) => client.evalsha(String(sha), 1, key, value)),
        quorum,
      );
    },
    prepare: () => Promise.resolve(),
    close: () => clients.forEach((client) => client.disconnect()),
  };
}

/** Settles with the q-th answer; those of dead nodes are nobody's. */
function majority(answers: readonly Promise<unknown>[], quorum: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let arrived = 0;
    let failed = 0;
    for (const answer of answers) {
      answer.then(
        () => ++arrived === quorum && resolve(),
        (error: unknown) => ++failed > answers.length - quorum && reject(error as Error),
      );
    }
  });
}
