/** Back-pressure: so many at once, the others in the order in which they came, and nobody for longer than it may. */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { Slots } from "../../../src/grant/slots.ts";
import { testGrantor, testNodes } from "../support/test-nodes.ts";

test("a slot that is given back goes to the first that waits", async () => {
  const slots = new Slots(new VirtualClock(), 2);
  slots.take();
  slots.take();
  expect(slots.isFree).toBe(false);
  const served: string[] = [];
  const waits = ["first", "second"].map(async (name) => (await slots.wait(1_000)) && served.push(name));
  slots.give();
  await waits[0];
  expect(served).toEqual(["first"]);
  slots.give();
  await waits[1];
  expect(served).toEqual(["first", "second"]);
  slots.give();
  expect(slots.isFree).toBe(true);
});

test("who has waited too long gets none, and takes none from the others", async () => {
  const clock = new VirtualClock();
  const slots = new Slots(clock, 1);
  slots.take();
  const [hasty, patient] = [slots.wait(10), slots.wait(100)];
  await clock.advance(50);
  expect(await hasty).toBe(false);
  slots.give();
  expect(await patient).toBe(true);
  expect(slots.isFree).toBe(false);
});

test("what must not wait makes the others wait longer", async () => {
  const slots = new Slots(new VirtualClock(), 1);
  slots.take();
  slots.take();
  let isServed = false;
  const wait = slots.wait(1_000).then((served) => (isServed = served));
  slots.give();
  await Promise.resolve();
  expect(isServed).toBe(false);
  slots.give();
  await wait;
  expect(isServed).toBe(true);
});

test("a burst of attempts is asked in portions, all are granted, and every slot comes back", async () => {
  const clock = new VirtualClock();
  const nodes = testNodes(3, clock);
  const grantor = testGrantor(nodes, clock);
  const attempts = Array.from({ length: 3_000 }, (_, index) =>
    grantor.attempt({ keys: [`k${index}`], owner: "o", ttlMs: 10_000, minValidityMs: 0, gated: false }),
  );
  expect(nodes.map(({ asked }) => asked.length)).toEqual([1_024, 1_024, 1_024]);
  await clock.advance(100);
  for (const outcome of await Promise.all(attempts)) expect(outcome.kind).toBe("granted");
  const again = grantor.attempt({ keys: ["k"], owner: "o", ttlMs: 10_000, minValidityMs: 0, gated: false });
  await clock.advance(10);
  expect((await again).kind).toBe("granted");
});

test("where all nodes hang, those that wait for a slot are denied too, with the reason", async () => {
  const clock = new VirtualClock();
  const nodes = testNodes(3, clock);
  for (const node of nodes) node.isMute = true;
  const grantor = testGrantor(nodes, clock);
  const attempts = Array.from({ length: 3_000 }, (_, index) =>
    grantor.attempt({ keys: [`k${index}`], owner: "o", ttlMs: 10_000, minValidityMs: 0, gated: false }),
  );
  await clock.advance(600); // Two node timeouts: one for a slot, one for the nodes.
  const outcomes = await Promise.all(attempts);
  const reasons = outcomes.map((outcome) => outcome.reports()[0]?.reason);
  expect(outcomes.every((outcome) => outcome.kind === "denied" && outcome.why === "unreachable")).toBe(true);
  expect(new Set(reasons)).toEqual(new Set(["timeout", "backlog"]));
});
