/** Retry strategies as users write them: what they give, and that what is no strategy is refused by name. */
import { describe, expect, test } from "vitest";

import { ConfigError, OptionRangeError } from "../../../src/errors.ts";
import { exponentialRetry, fixedRetry, type RetryFunction, retrying } from "../../../src/wait/retry.ts";

/** The delays for the first tries, with chance always the same. */
function delays(retry: RetryFunction, tries: number, chance = 0.5): (number | undefined)[] {
  return Array.from({ length: tries }, (_, index) => retry({ failures: index + 1, why: "held", chance }));
}

describe("fixedRetry", () => {
  test("waits the same time, with as much jitter as asked for", () => {
    expect(delays(fixedRetry(50), 3)).toEqual([50, 50, 50]);
    expect(delays(fixedRetry(50, 20), 1, 0)).toEqual([30]);
    expect(delays(fixedRetry(50, 20), 1, 1)).toEqual([70]);
  });

  test.each([[-1], [Number.NaN], ["50"]])("refuses a delay of %s", (delay) => {
    expect(() => fixedRetry(delay as number)).toThrow(OptionRangeError);
  });

  test("refuses more jitter than delay", () => {
    expect(() => fixedRetry(10, 11)).toThrow("jitterMs must be a number from 0 to 10, got 11");
  });
});

describe("exponentialRetry", () => {
  test("doubles up to its largest delay", () => {
    expect(delays(exponentialRetry({ initialMs: 10, maxMs: 50, jitter: "none" }), 5)).toEqual([
      10, 20, 40, 50, 50,
    ]);
  });

  test("waits a random part of it, all of it or at least half", () => {
    expect(delays(exponentialRetry({ initialMs: 10 }), 1, 0)).toEqual([0]);
    expect(delays(exponentialRetry({ initialMs: 10, jitter: "equal" }), 1, 0)).toEqual([5]);
    expect(delays(exponentialRetry({ initialMs: 10, jitter: "equal" }), 1, 1)).toEqual([10]);
  });

  test("refuses what makes no sense", () => {
    expect(() => exponentialRetry({ factor: 0.5 })).toThrow("factor must be a number of at least 1");
    expect(() => exponentialRetry({ initialMs: 100, maxMs: 10 })).toThrow("maxMs");
    expect(() => exponentialRetry({ jitter: "some" as "full" })).toThrow(ConfigError);
  });
});

describe("a strategy of the user's own", () => {
  test("is a function", () => {
    const retry = retrying(({ failures }: { failures: number }) => (failures < 3 ? 7 : undefined))();
    expect(delays(retry, 3)).toEqual([7, 7, undefined]);
  });

  test("is a list, begun anew for every acquire", () => {
    const begin = retrying([1, 2]);
    expect(delays(begin(), 3)).toEqual([1, 2, undefined]);
    expect(delays(begin(), 1)).toEqual([1]);
  });

  test("is anything that can be iterated again, but not an iterator that runs once", () => {
    const squares = {
      *[Symbol.iterator]() {
        for (let i = 1; ; i++) yield i * i;
      },
    };
    expect(delays(retrying(squares)(), 3)).toEqual([1, 4, 9]);
    expect(() => retrying(squares[Symbol.iterator]())).toThrow("an iterator that runs once");
  });

  test("is said in redlock's words: so many tries after the first, -1 for ever", () => {
    const retry = retrying({ retryCount: 2, retryDelay: 200, retryJitter: 100 });
    expect(delays(retry(), 3, 0)).toEqual([100, 100, undefined]);
    expect(delays(retry(), 1, 1)).toEqual([300]);
    expect(delays(retrying({ retryCount: -1, retryDelay: 1, retryJitter: 5 })(), 50, 0).at(-1)).toBe(0);
  });

  test.each([
    [7, "retry must be a function"],
    [{ retries: 3 }, 'retry has no "retries"'],
    [{ retryCount: 1.5 }, "retryCount must be an integer of at least -1, got 1.5"],
    [{ retryDelay: -1 }, "retryDelay must be a number of at least 0, got -1"],
  ])("is none: %j", (strategy, message) => {
    expect(() => retrying(strategy)).toThrow(message);
  });
});
