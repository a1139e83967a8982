/** A client's clock that runs slower than the nodes' follows them (L6), as far as a quorum proves it, and never by more than a bounded factor. */
import { expect, test } from "vitest";

import { NodeTime } from "../../../src/clock/node-time.ts";
import { type Paced, RateWatch } from "../../../src/clock/rate-watch.ts";

/** A client among nodes: true time passes, its own clock and theirs run at their rates, and replies take a while. */
class World implements Paced {
  pace = 1;
  trueMs = 0;
  rate = 1;
  readonly rates: number[];
  readonly told: number[] = [];
  readonly nodeTime: NodeTime;
  readonly #nodesMs: number[];
  #monotonicMs = 1_000;
  #ahead = 0;

  constructor(nodes: number) {
    this.rates = Array.from({ length: nodes }, () => 1);
    this.#nodesMs = Array.from({ length: nodes }, (_, index) => 1.8e12 + 3 * index);
    const quorum = Math.floor(nodes / 2) + 1;
    this.nodeTime = new NodeTime(nodes, new RateWatch(nodes, quorum, this, (rate) => this.told.push(rate)));
  }

  get now(): number {
    return this.#monotonicMs * this.pace + this.#ahead;
  }

  follow(pace: number, lostMs: number): void {
    this.#ahead += this.#monotonicMs * (this.pace - pace) + lostMs;
    this.pace = pace;
  }

  pass(ms: number): void {
    this.trueMs += ms;
    this.#monotonicMs += ms * this.rate;
    this.rates.forEach((rate, index) => (this.#nodesMs[index] = (this.#nodesMs[index] ?? 0) + ms * rate));
  }

  step(index: number, ms: number): void {
    this.#nodesMs[index] = (this.#nodesMs[index] ?? 0) + ms;
  }

  /** One question to one node, which takes `roundTripMs`. */
  ask(index: number, roundTripMs = 1): void {
    const askedAt = this.now;
    this.pass(roundTripMs / 2);
    const nodeUs = Math.floor((this.#nodesMs[index] ?? 0) * 1_000);
    this.pass(roundTripMs / 2);
    this.nodeTime.observe(index, nodeUs, askedAt, this.now);
  }

  /** For `ms`, all nodes are asked every `everyMs`. */
  live(ms: number, everyMs: number, roundTripMs = 1): void {
    for (const end = this.trueMs + ms; this.trueMs < end;) {
      this.rates.forEach((_, index) => this.ask(index, roundTripMs));
      this.pass(everyMs);
    }
  }

  /** How much of the true time since then its clock has missed. */
  missedMs(since: { readonly trueMs: number; readonly now: number }): number {
    return this.trueMs - since.trueMs - (this.now - since.now);
  }
}

/** chrony at its default limit. */
const SLEWED = 1 - 0.083333;

test.each([
  ["often", 200],
  ["at check-ups alone", 5_000],
])("a slewed client of three nodes that are heard %s follows them", (_, everyMs) => {
  const world = new World(3);
  world.rate = SLEWED;
  const start = { trueMs: world.trueMs, now: world.now };
  world.live(6_000, everyMs);
  expect(world.pace).toBeCloseTo(1 / SLEWED, 2);
  expect(world.told).toEqual([world.pace]);
  world.live(20_000, everyMs);
  expect(world.missedMs(start)).toBeLessThan(0.011 * 26_000);
  expect(world.missedMs(start)).toBeGreaterThan(-0.011 * 26_000);
});

test("a single node is followed, too", () => {
  const world = new World(1);
  world.rates[0] = 1.1;
  world.live(3_000, 100);
  expect(world.pace).toBeCloseTo(1.1, 2);
});

test("a far network takes a longer baseline, and is seen through", () => {
  const world = new World(3);
  world.rate = SLEWED;
  world.live(15_000, 200, 40);
  expect(world.pace).toBeGreaterThan(1.08);
  expect(world.pace).toBeLessThanOrEqual(1 / SLEWED + 0.001);
});

test("when it is over, it is over, and told", () => {
  const world = new World(3);
  world.rate = SLEWED;
  world.live(10_000, 500);
  world.rate = 1;
  world.live(10_000, 500);
  expect(world.pace).toBe(1);
  expect(world.told.at(-1)).toBe(1);
  const start = { trueMs: world.trueMs, now: world.now };
  world.live(10_000, 500);
  expect(world.missedMs(start)).toBeCloseTo(0, 3);
});

test.each([0.99, 0.995, 1.005, 1.05])(
  "a client whose clock runs at %d of the nodes' is left alone",
  (rate) => {
    const world = new World(3);
    world.rate = rate + (rate === 0.99 ? 0.0002 : 0);
    world.live(30_000, 300);
    expect([world.pace, world.told]).toEqual([1, []]);
  },
);

test("a jittery network is no clock", () => {
  const world = new World(3);
  for (let turn = 0; turn < 400; turn++) world.live(100, 60, [0.2, 45, 3, 240][turn % 4]);
  expect([world.pace, world.told]).toEqual([1, []]);
});

test("a minority with wild clocks changes nothing", () => {
  const world = new World(5);
  world.rates[0] = 3;
  world.rates[1] = 1.2;
  world.live(30_000, 300);
  expect([world.pace, world.told]).toEqual([1, []]);
});

test("a step of most nodes costs a bounded part of the time, and is over with the next replies", () => {
  const world = new World(3);
  world.live(5_000, 500);
  const start = { trueMs: world.trueMs, now: world.now };
  for (const index of [0, 1, 2]) world.step(index, 3_600_000);
  world.live(1_100, 500);
  expect(world.pace).toBe(1.25);
  world.live(4_000, 500);
  expect(world.pace).toBe(1);
  expect(world.missedMs(start)).toBeGreaterThan(-0.25 * 3_500);
});

test("nothing is faster than a quarter, whatever the nodes say", () => {
  const world = new World(3);
  world.rates.fill(2);
  const start = { trueMs: world.trueMs, now: world.now };
  world.live(60_000, 500);
  expect(world.pace).toBe(1.25);
  expect(world.missedMs(start)).toBeGreaterThanOrEqual(-0.25 * 61_000);
});

test("the nodes' time is known all the same when the clock is put forward", () => {
  const world = new World(3);
  world.rate = SLEWED;
  world.live(5_500, 5_000);
  world.ask(0);
  world.ask(1); // By now two of three have proved it.
  expect(world.pace).toBeGreaterThan(1.08);
  const estimate = world.nodeTime.estimateUs(world.now) ?? 0;
  expect(Math.abs(estimate / 1_000 - (1.8e12 + world.trueMs))).toBeLessThan(20);
});
