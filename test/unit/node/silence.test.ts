/** When a connection is given up because nothing is answered any more, and when it only looks so. */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { SilenceWatch } from "../../../src/node/connection.ts";

const SILENCE_MS = 1_000;

function setUp() {
  const clock = new VirtualClock();
  const gaveUp: string[] = [];
  const watch = new SilenceWatch(clock, SILENCE_MS, (detail) => gaveUp.push(detail));
  return { clock, gaveUp, watch };
}

test("nothing was answered: given up, once", async () => {
  const { clock, gaveUp, watch } = setUp();
  watch.asked();
  watch.asked();
  await clock.advance(SILENCE_MS + 2);
  expect(gaveUp).toEqual([`no answer to anything for ${SILENCE_MS} ms`]);
});

test("an answer to anything is a sign of life", async () => {
  const { clock, gaveUp, watch } = setUp();
  watch.asked();
  watch.asked();
  await clock.advance(SILENCE_MS / 2);
  watch.answered();
  await clock.advance(1.4 * SILENCE_MS);
  expect(gaveUp).toEqual([]);
  await clock.advance(0.2 * SILENCE_MS);
  expect(gaveUp).toHaveLength(1);
});

test("who stood still reads first what it was answered meanwhile", async () => {
  const { clock, gaveUp, watch } = setUp();
  watch.asked();
  // The timer is first in the event loop's turn, the socket second.
  clock.at(SILENCE_MS + 0.5, () => watch.answered());
  await clock.advance(3 * SILENCE_MS);
  expect(gaveUp).toEqual([]);
});

test("a new connection begins anew", async () => {
  const { clock, gaveUp, watch } = setUp();
  watch.asked();
  await clock.advance(SILENCE_MS / 2);
  watch.rest();
  await clock.advance(3 * SILENCE_MS);
  expect(gaveUp).toEqual([]);
});
