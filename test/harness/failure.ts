/** What a promise is expected to reject with; that it resolves is the failure of the test. */
import type { NodeReport } from "../../src/index.ts";

export function failure(promise: Promise<unknown>): Promise<Error & { nodes?: readonly NodeReport[] }> {
  return promise.then(
    () => Promise.reject(new Error("expected a rejection")),
    (error: unknown) => error as Error,
  );
}
