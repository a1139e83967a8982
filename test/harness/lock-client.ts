/**
 * A process with one locker and at most one lease, told by its parent what to do: for faults that hit a whole process, such as a
 * wrong wall clock, a stop or a kill. Options arrive as JSON in the first argument.
 */
import { createLocker, type Lease, LeaseLostError, type LockerOptions } from "../../src/index.ts";
import { serveClient } from "../../src/chaos/machine/processes.ts";

export interface LeaseState {
  readonly isHeld: boolean;
  readonly remainingMs: number;
  /** What the signal aborted with, and what was left of the validity then. */
  readonly loss: { readonly cause: string; readonly marginMs: number } | undefined;
}

const options = JSON.parse(process.argv[2] ?? "{}") as LockerOptions;
let jumpsMs = 0;
let lease: Lease | undefined;
let loss: LeaseState["loss"];

const locker = createLocker({
  ...options,
  observer: (event) => {
    if (event.type === "clock-jump") jumpsMs += event.jumpMs;
  },
});

serveClient({
  ready: () => locker.ready(),

  async acquire(key: unknown, terms: unknown): Promise<number> {
    const taken = await locker.acquire(String(key), { ...(terms as object) });
    lease = taken;
    loss = undefined;
    taken.signal.addEventListener("abort", () => {
      const reason: unknown = taken.signal.reason;
      if (reason instanceof LeaseLostError) loss = { cause: reason.lossCause, marginMs: taken.remainingMs() };
    });
    return taken.fence;
  },

  state: (): LeaseState => ({
    isHeld: lease?.isHeld() ?? false,
    remainingMs: lease?.remainingMs() ?? 0,
    loss,
  }),

  jumpsMs: () => jumpsMs,
  wallMs: () => Date.now(),
  extend: () => lease?.extend(),
  release: async () => (await lease?.release())?.outcome,
  close: () => locker.close({ withinMs: 0 }),
});
