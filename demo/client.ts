/**
 * A client process of the demo: one locker, told by its parent what to do. It knows the public interface of the library and
 * nothing else.
 */
import {
  AcquireTimeoutError,
  createLocker,
  type Lease,
  LeaseLostError,
  QuorumUnreachableError,
} from "../src/index.ts";
import { serveClient } from "../src/chaos/machine/processes.ts";
import { write } from "./resource.ts";
import type { Attempt, HolderNews, NodeLine, Terms } from "./messages.ts";

const terms = JSON.parse(process.argv[2] ?? "{}") as Terms;
let extensions = 0;
let lease: Lease | undefined;
let loss: HolderNews["loss"];

const locker = createLocker({
  mode: "quorum",
  nodes: terms.nodes,
  ttlMs: terms.ttlMs,
  maxTtlMs: terms.maxTtlMs,
  owner: terms.owner,
  observer: (event) => {
    if (event.type === "extended") extensions++;
  },
});

serveClient({
  ready: () => locker.ready(),

  async acquire(waitMs: unknown): Promise<Attempt> {
    const began = performance.now();
    try {
      lease = await locker.acquire(terms.key, { waitMs: Number(waitMs), autoExtend: true });
      lease.signal.addEventListener("abort", () => noteLoss(lease));
      return {
        fence: lease.fence,
        holder: lease.holder,
        remainingMs: lease.remainingMs(),
        tookMs: performance.now() - began,
      };
    } catch (error) {
      if (!(error instanceof AcquireTimeoutError || error instanceof QuorumUnreachableError)) throw error;
      return { code: error.code, nodes: error.nodes, tookMs: performance.now() - began };
    }
  },

  news: (): HolderNews => ({
    isHeld: lease?.isHeld() ?? false,
    remainingMs: lease?.remainingMs() ?? 0,
    extensions,
    loss,
  }),

  nodes: (): NodeLine[] => locker.nodes().map(({ node, state }) => ({ node, state })),

  /** Writes with the fence of its lease, held or not: what a holder does that was paused and does not know. */
  write: (value: unknown) => write(terms.resource, lease?.fence ?? 0, String(value)),

  release: async () => (await lease?.release())?.outcome,

  close: () => locker.close({ withinMs: 0 }),
});

/** The moment the signal aborts: how much of the validity is left is what counts. */
function noteLoss(lost: Lease | undefined): void {
  const reason: unknown = lost?.signal.reason;
  if (lost === undefined || !(reason instanceof LeaseLostError)) return;
  loss = { cause: reason.lossCause, marginMs: lost.remainingMs(), at: Date.now() };
}
