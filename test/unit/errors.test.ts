/** One class for all errors of this library, whichever copy, version or realm made them, and a code on each. */
import { runInNewContext } from "node:vm";

import { expect, test, vi } from "vitest";

import {
  AcquireTimeoutError,
  ConfigError,
  createLocker,
  HoldfastError,
  isHoldfastError,
  LeaseLostError,
  LockerClosedError,
  OptionRangeError,
  QueueFullError,
  QuorumUnreachableError,
} from "../../src/index.ts";
import { ExecutionError, ResourceLockedError } from "../../src/redlock/index.ts";
import { failure } from "../harness/failure.ts";

const ERRORS: readonly (Error & { readonly code: string })[] = [
  new AcquireTimeoutError(["k"], [], 1, 1),
  new QueueFullError(1),
  new QuorumUnreachableError("k could not be acquired", 2, []),
  new LeaseLostError({ keys: ["k"], fence: 1 }, "gone"),
  new ConfigError("nodes must be given"),
  new OptionRangeError("ttlMs", "be more", 1),
  new LockerClosedError(),
  new ExecutionError("no quorum", []),
  new ResourceLockedError("held"),
];

test.each(ERRORS.map((error) => [error.name, error] as const))("%s is one, with a code", (_, error) => {
  expect(error).toBeInstanceOf(HoldfastError);
  expect(error).toBeInstanceOf(Error);
  expect(isHoldfastError(error)).toBe(true);
  expect(error.code).toMatch(/^[A-Z]+(_[A-Z]+)+$/);
});

test("codes are told apart, and so are the classes below", () => {
  expect(new Set(ERRORS.map(({ code }) => code)).size).toBe(ERRORS.length);
  const [timeout, queueFull, , , , range] = ERRORS;
  expect(timeout).toBeInstanceOf(AcquireTimeoutError);
  expect(queueFull).not.toBeInstanceOf(AcquireTimeoutError);
  expect(range).toBeInstanceOf(RangeError);
  expect(ERRORS[2]).toBeInstanceOf(AggregateError);
  class Mine extends ConfigError {}
  expect(new Mine("x")).toBeInstanceOf(Mine);
  expect(ERRORS[4]).not.toBeInstanceOf(Mine);
});

test.each([
  ["an error of the language", new RangeError("x")],
  ["an error with such a code", Object.assign(new Error("x"), { code: "ACQUIRE_TIMEOUT" })],
  ["nothing", undefined],
  ["null", null],
  ["text", "ACQUIRE_TIMEOUT"],
  ["a function", () => {}],
])("%s is none", (_, value) => {
  expect(isHoldfastError(value)).toBe(false);
  expect(value instanceof HoldfastError).toBe(false);
});

test("those of another copy of the package are", async () => {
  vi.resetModules();
  const other = await import("../../src/errors.ts");
  const foreign = new other.OptionRangeError("ttlMs", "be more", 1);
  expect(foreign).not.toBeInstanceOf(OptionRangeError);
  expect(foreign).toBeInstanceOf(HoldfastError);
  expect(isHoldfastError(foreign)).toBe(true);
  expect(ERRORS[0]).toBeInstanceOf(other.HoldfastError);
});

test("those of another realm are", () => {
  const foreign: unknown = runInNewContext(
    `class E extends Error {}; Object.defineProperty(E.prototype, Symbol.for("holdfast.error"), { value: true }); new E()`,
  );
  expect(foreign).not.toBeInstanceOf(Error);
  expect(foreign).toBeInstanceOf(HoldfastError);
  expect(isHoldfastError(foreign)).toBe(true);
});

test("a code tells which error it is, to the compiler too", async () => {
  await using locker = createLocker({ mode: "memory" });
  await using _lease = await locker.acquire("k");
  const error: unknown = await failure(locker.acquire("k", { waitMs: 0 }));
  if (!isHoldfastError(error) || error.code !== "ACQUIRE_TIMEOUT") throw error;
  expect(error.nodes).toHaveLength(1);
});
