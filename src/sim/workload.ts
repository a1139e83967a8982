/**
 * What the clients of a swarm run do: take locks in every way the library offers, work under them for any time, write to a resource
 * that checks fences, and now and then do what one should not, such as writing after the end.
 */
import {
  AcquireTimeoutError,
  ConfigError,
  LeaseLostError,
  LockerClosedError,
  OptionRangeError,
  QuorumUnreachableError,
} from "../errors.ts";
import type { Operation } from "../history/history.ts";
import type { Lease, LeaseToken } from "../lease/lease.ts";
import type { AcquireOptions } from "../options/options.ts";
import type { Plan } from "./plan.ts";
import type { Prng } from "./prng.ts";
import type { Recorder } from "./recorder.ts";
import type { Client, Simulation } from "./simulation.ts";

export interface Site {
  readonly plan: Plan;
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly resource: Resource;
  /** Those that live now. */
  readonly clients: () => readonly Client[];
  /** False when the faulty phase is over. */
  isOn: () => boolean;
}

/** A store that refuses fences smaller than the largest it has seen (S4). */
export class Resource {
  readonly #largest = new Map<string, number>();

  write(key: string, fence: number): boolean {
    if (fence < (this.#largest.get(key) ?? 0)) return false;
    this.#largest.set(key, fence);
    return true;
  }
}

/** Takes and releases locks until the faulty phase is over. */
export async function work(client: Client, index: number, site: Site, prng: Prng): Promise<void> {
  const { process } = client;
  while (site.isOn()) {
    await process.sleep(prng.pick([0, 20, 200, 1_000]) * prng.next());
    await oneSection(client, index, site, prng);
  }
}

/** After healing: every client gets every key once, in time. */
export async function confirm(client: Client, site: Site, waitMs: number): Promise<void> {
  for (const key of site.plan.keys) {
    // A jump of the client's own clock, noticed only now, may end its first try before any time has passed.
    if (!(await confirmed(client, key, site, waitMs, false)))
      await confirmed(client, key, site, waitMs, true);
  }
}

async function confirmed(
  client: Client,
  key: string,
  site: Site,
  waitMs: number,
  mustSucceed: boolean,
): Promise<boolean> {
  const { process, locker } = client;
  const { recorder, plan } = site;
  const op = recorder.acquiring(process, [key], mustSucceed);
  try {
    const lease = await locker.acquire(key, { waitMs });
    recorder.acquired(op, process, lease, plan.ttlMs / 10);
    recorder.releasing(op, process);
    await lease.release();
    return true;
  } catch (error) {
    notAcquired(op, client, site, codeOf(error));
    return false;
  }
}

async function oneSection(client: Client, index: number, site: Site, prng: Prng): Promise<void> {
  const { plan, recorder } = site;
  const { process, locker } = client;
  const keys = prng.chance(0.2) ? together(plan.keys, locker) : [prng.pick(["red", ...plan.keys])];
  const options = drawOptions(client, index, plan, prng);
  const op = recorder.acquiring(process, keys, false);
  try {
    mayStop(client, site, prng);
    if (plan.hasAllWork && prng.chance(0.3)) return await inBody(op, client, site, prng, keys, options);
    const lease = await (prng.chance(0.3) ? locker.tryAcquire(keys, options) : locker.acquire(keys, options));
    if (lease === undefined) return notAcquired(op, client, site, "CONTENDED");
    recorder.acquired(op, process, lease, boundOf(options));
    await hold(op, lease, client, site, prng);
  } catch (error) {
    const isLost = plan.hasAllWork && error instanceof LeaseLostError;
    if (!isLost && !isExpected(error, site, options.signal)) throw error;
    notAcquired(op, client, site, codeOf(error));
  }
}

type Wish = AcquireOptions & { readonly minValidityMs: number; readonly signal: AbortSignal };

function drawOptions({ process }: Client, index: number, plan: Plan, prng: Prng): Wish {
  const ttlMs = prng.chance(0.3) ? prng.int(plan.ttlMs, plan.maxTtlMs[index] ?? plan.ttlMs) : plan.ttlMs;
  const minValidityMs = ttlMs * prng.pick([0.05, 0.1, 0.3]);
  const giveUp = new AbortController();
  if (prng.chance(0.1))
    void process.sleep(prng.between(0, ttlMs)).then(() => giveUp.abort(new Error("given up")));
  return {
    ttlMs,
    minValidityMs,
    autoExtend: prng.chance(0.5),
    signal: giveUp.signal,
    waitMs: prng.pick([0, 0.2, 1, 3]) * ttlMs,
    maxHoldMs: prng.chance(0.1) ? prng.between(0.2, 3) * ttlMs : undefined,
  };
}

/** What must be left of its validity; who holds it for less than that from the start has asked for nothing. */
function boundOf({ minValidityMs, maxHoldMs }: Wish): number {
  return maxHoldMs === undefined ? minValidityMs : 0;
}

function notAcquired(op: Operation, { process }: Client, { recorder }: Site, code: string): void {
  recorder.add({ at: process.localNow, type: "not-acquired", client: process.name, op, code });
}

/** Those that live where the first one does: a lock of several keys is on one shard. */
function together(keys: readonly string[], locker: Client["locker"]): readonly string[] {
  const home = locker.shardOf(keys[0] ?? "");
  return keys.filter((key) => locker.shardOf(key) === home);
}

/** The work in `using`, which releases by itself. */
async function inBody(
  op: Operation,
  client: Client,
  site: Site,
  prng: Prng,
  keys: readonly string[],
  options: Wish,
): Promise<void> {
  const { process, locker } = client;
  const { recorder } = site;
  await locker.using(keys, options, async (lease) => {
    recorder.acquired(op, process, lease, boundOf(options));
    await workUnder(op, lease, client, site, prng);
    recorder.releasing(op, process);
  });
}

async function hold(op: Operation, lease: Lease, client: Client, site: Site, prng: Prng): Promise<void> {
  const { plan, recorder } = site;
  const { process } = client;
  await workUnder(op, lease, client, site, prng);
  if (plan.hasAllWork && prng.chance(0.3)) return handOn(op, lease, client, site, prng);
  recorder.releasing(op, process);
  mayStop(client, site, prng);
  const { outcome } = await lease.release();
  recorder.add({ at: process.localNow, type: "released", client: process.name, op, outcome });
}

/** Lets go of it, and another process goes on with it after a while, if it can. */
async function handOn(op: Operation, lease: Lease, client: Client, site: Site, prng: Prng): Promise<void> {
  const { recorder, plan } = site;
  recorder.detached(op, client.process);
  mayStop(client, site, prng);
  let token: LeaseToken;
  try {
    token = await lease.detach();
  } catch (error) {
    if (error instanceof LeaseLostError) return;
    throw error;
  }
  const heir = prng.pick([client, ...site.clients()]);
  await heir.process.sleep(prng.pick([0, 0.1, 1]) * plan.ttlMs * prng.next());
  await adopt(token, op, heir, site, prng);
}

async function adopt(
  token: LeaseToken,
  from: Operation,
  heir: Client,
  site: Site,
  prng: Prng,
): Promise<void> {
  const { process, locker } = heir;
  const { recorder, plan } = site;
  const op = recorder.acquiring(process, token.keys, false);
  const minValidityMs = 0.2 * plan.ttlMs;
  try {
    mayStop(heir, site, prng);
    const lease = await locker.adopt(token, { minValidityMs, autoExtend: prng.chance(0.5) });
    recorder.acquired(op, process, lease, minValidityMs, from);
    await workUnder(op, lease, heir, site, prng);
    recorder.releasing(op, process);
    const { outcome } = await lease.release();
    recorder.add({ at: process.localNow, type: "released", client: process.name, op, outcome });
  } catch (error) {
    if (!(error instanceof LeaseLostError) && !isExpected(error, site)) throw error;
    notAcquired(op, heir, site, codeOf(error));
  }
}

async function workUnder(op: Operation, lease: Lease, client: Client, site: Site, prng: Prng): Promise<void> {
  const { plan, recorder } = site;
  const { process } = client;
  const sectionMs = prng.pick([0, 0.02, 0.1, 0.5, 2]) * plan.ttlMs * prng.next();
  const endsAt = process.localNow + sectionMs;
  while (process.localNow < endsAt && site.isOn()) {
    await process.sleep(prng.next() * Math.max(1, sectionMs / 3));
    const isHeld = recorder.asked(op, process, lease);
    // One in four writes whatever the lease says: a holder that was paused between asking and writing.
    if (isHeld || prng.chance(0.25)) write(op, lease, client, site);
    mayStop(client, site, prng);
    if (prng.chance(0.3)) await extend(lease, prng.chance(0.5) ? undefined : plan.ttlMs);
    if (prng.chance(0.1)) await lease.verify();
    if (!isHeld && prng.chance(0.8)) break;
  }
  if (prng.chance(0.05)) write(op, lease, client, site);
}

/** A fault at named points: the process stands still while requests or replies of its next call are under way. */
function mayStop({ process }: Client, { plan, simulation, recorder }: Site, prng: Prng): void {
  if (!plan.faults.has("stop a client in a call") || !prng.chance(STOP_CHANCE)) return;
  const { clock, network } = simulation;
  const ms = prng.pick([0.3, 0.7, 1, 2]) * plan.ttlMs * prng.next();
  clock.at(clock.now() + 3 * network.weather.delayMsMax * prng.next(), () => {
    recorder.fault("stop a client in a call", process.name);
    process.stop(ms);
  });
}

const STOP_CHANCE = 0.2;

async function extend(lease: Lease, ttlMs: number | undefined): Promise<void> {
  try {
    await lease.extend(ttlMs);
  } catch (error) {
    if (!(error instanceof LeaseLostError || error instanceof QuorumUnreachableError)) throw error;
  }
}

/** Takes its time to arrive, like every write. */
function write(
  op: Operation,
  lease: Lease,
  { process }: Client,
  { simulation, recorder, resource }: Site,
): void {
  const { clock, network } = simulation;
  const { fence, keys } = lease;
  clock.at(process.localNow + network.delayMs(), () => {
    for (const key of keys) {
      const isStored = resource.write(key, fence);
      recorder.add({ at: clock.now(), type: "write", client: process.name, op, key, fence, isStored });
    }
  });
}

function isExpected(error: unknown, site: Site, signal?: AbortSignal): boolean {
  return (
    error instanceof AcquireTimeoutError ||
    error instanceof QuorumUnreachableError ||
    error instanceof LockerClosedError ||
    // Met for the first time while one name leads to another's server.
    (error instanceof ConfigError && site.plan.faults.has("lead to a twin")) ||
    (signal?.aborted === true && error === signal.reason)
  );
}

function codeOf(error: unknown): string {
  if (error instanceof OptionRangeError) return error.message;
  return error instanceof Error && "code" in error ? String(error.code) : "ABORTED";
}
