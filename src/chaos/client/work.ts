/**
 * What the clients of a scenario do under locks. It is written for any client that has a locker, a resource and a sense of time, so
 * that real processes and simulated ones do the same.
 */
import { AcquireTimeoutError, LockerClosedError, QuorumUnreachableError } from "../../errors.ts";
import type { Operation } from "../../history/history.ts";
import type { Lease } from "../../lease/lease.ts";
import type { Locker } from "../../locker.ts";
import type { Work } from "../scenario.ts";
import type { Ledger } from "./ledger.ts";

/** What the lock protects. */
export interface Resource {
  /** Stores what comes with the largest fence so far, and refuses the rest. */
  write(write: { readonly op: Operation; readonly key: string; readonly fence: number }): Promise<boolean>;
  /** A number that anybody may read and set. */
  read(key: string): Promise<number>;
  set(key: string, value: number): Promise<void>;
}

export interface Actor {
  /** From 1. */
  readonly number: number;
  readonly locker: Locker;
  readonly ledger: Ledger;
  readonly resource: Resource;
  readonly key: string;
  readonly minValidityMs: number;
  sleep(ms: number): Promise<void>;
  /** In [0, 1). */
  random(): number;
  /** False when the work is to end. */
  isOn(): boolean;
}

type Terms = Required<Omit<Work, "kind" | "clients">>;

const DEFAULTS: Terms = {
  contenders: 10,
  sectionMs: [0, 300],
  restMs: [0, 50],
  waitMs: 300,
  extend: true,
};

/** How often whoever holds a lock asks for it and writes. */
const PACE_MS = 25;
/** A late write comes so long after its lease has ended. */
const LATE_MS = 60;

/** Resolves when the work was told to end and has ended. */
export async function doWork(work: Work, actor: Actor): Promise<void> {
  const terms: Terms = { ...DEFAULTS, ...work };
  switch (work.kind) {
    case "long-hold":
      return actor.number === 1 ? keepAlways(actor) : repeat(terms, actor, holdFor);
    case "herd":
      await Promise.all(Array.from({ length: terms.contenders }, () => onceEach(terms, actor)));
      return;
    default:
      return repeat(terms, actor, SECTIONS[work.kind]);
  }
}

type Section = (op: Operation, lease: Lease, actor: Actor, ms: number) => Promise<void>;

const SECTIONS: Readonly<Record<"mutex" | "counter" | "register", Section>> = {
  mutex: holdFor,
  counter: countOneMore,
  register: writeOnAndOn,
};

async function repeat(terms: Terms, actor: Actor, section: Section): Promise<void> {
  while (actor.isOn()) {
    await actor.sleep(between(terms.restMs, actor));
    await oneTurn(terms, actor, section);
  }
}

async function oneTurn(
  { waitMs, extend, sectionMs }: Terms,
  actor: Actor,
  section: Section,
): Promise<boolean> {
  const got = await take(actor, { waitMs, autoExtend: extend });
  if (got === undefined) return false;
  await section(got.op, got.lease, actor, between(sectionMs, actor));
  await giveBack(got, actor);
  return true;
}

/** A contender of a herd goes home when it had its turn. */
async function onceEach(terms: Terms, actor: Actor): Promise<void> {
  while (actor.isOn() && !(await oneTurn(terms, actor, holdFor))) await actor.sleep(PACE_MS);
}

/** Takes it again when it is lost. */
async function keepAlways(actor: Actor): Promise<void> {
  while (actor.isOn()) {
    const got = await take(actor, { waitMs: 1_000, autoExtend: true });
    if (got === undefined) {
      await actor.sleep(PACE_MS);
      continue;
    }
    while (actor.isOn() && actor.ledger.asked(got.op, got.lease)) await actor.sleep(PACE_MS);
    await giveBack(got, actor);
  }
}

interface Got {
  readonly op: Operation;
  readonly lease: Lease;
}

/** Undefined where it was not granted; why is in the history. */
export async function take(
  actor: Actor,
  options: { waitMs: number; autoExtend?: boolean },
  mustSucceed = false,
): Promise<Got | undefined> {
  const { locker, ledger, key, minValidityMs } = actor;
  const op = ledger.acquiring([key], mustSucceed);
  try {
    const lease = await locker.acquire(key, { ...options, minValidityMs });
    ledger.acquired(op, lease, minValidityMs);
    return { op, lease };
  } catch (error) {
    ledger.notAcquired(op, isRefusal(error) ? error.code : String(error));
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}

export async function giveBack({ op, lease }: Got, { ledger }: Actor): Promise<void> {
  ledger.releasing(op);
  const { outcome } = await lease.release();
  ledger.released(op, outcome);
}

async function holdFor(op: Operation, lease: Lease, actor: Actor, ms: number): Promise<void> {
  for (let left = ms; left > 0 && actor.isOn(); left -= PACE_MS) {
    await actor.sleep(Math.min(PACE_MS, left));
    if (!actor.ledger.asked(op, lease) || lease.signal.aborted) return;
  }
}

async function countOneMore(op: Operation, lease: Lease, actor: Actor, ms: number): Promise<void> {
  const { resource, ledger, key } = actor;
  const read = await resource.read(key);
  await holdFor(op, lease, actor, ms);
  if (!ledger.asked(op, lease)) return;
  await resource.set(key, read + 1);
  ledger.counted(op, key, read);
}

/** As who does not know that the lock is lost: it is the resource that must stop the last of these writes. */
async function writeOnAndOn(op: Operation, lease: Lease, actor: Actor, ms: number): Promise<void> {
  const { resource, ledger, key } = actor;
  const { fence } = lease;
  for (let left = ms; left > 0 && actor.isOn(); left -= PACE_MS) {
    await resource.write({ op, key, fence });
    await actor.sleep(Math.min(PACE_MS, left));
    if (ledger.asked(op, lease)) continue;
    await actor.sleep(LATE_MS);
    await resource.write({ op, key, fence });
    return;
  }
}

function between([least, most]: readonly [number, number], actor: Actor): number {
  return least + (most - least) * actor.random();
}

/** Refused, or the work is over; anything else is a bug of somebody's. */
function isRefusal(error: unknown): error is Error & { code: string } {
  return (
    error instanceof AcquireTimeoutError ||
    error instanceof QuorumUnreachableError ||
    error instanceof LockerClosedError
  );
}
