/** What the processes of the demo say to each other. Types only. */
import type { NodeReport } from "../src/index.ts";

export interface Terms {
  readonly nodes: readonly string[];
  readonly key: string;
  readonly owner: string;
  readonly ttlMs: number;
  readonly maxTtlMs: number;
  /** URL of the resource that checks fences. */
  readonly resource: string;
}

export type Attempt =
  | { readonly fence: number; readonly holder: string; readonly remainingMs: number; readonly tookMs: number }
  | { readonly code: string; readonly nodes: readonly NodeReport[]; readonly tookMs: number };

export interface HolderNews {
  readonly isHeld: boolean;
  readonly remainingMs: number;
  readonly extensions: number;
  /** Set when its signal has aborted; `marginMs` is the validity that was left then. */
  readonly loss: { readonly cause: string; readonly marginMs: number; readonly at: number } | undefined;
}

export interface NodeLine {
  readonly node: string;
  readonly state: string;
}
