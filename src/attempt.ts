/** What one try comes to, in the words of those who ask whose a lock is: ours, somebody's, or not known. Three answers, and none is another. */
import type { NodeReport, QuorumUnreachableError } from "./errors.ts";
import type { Denial } from "./grantor.ts";
import type { Lease } from "./lease/lease.ts";

/** What one try came to. */
export type Attempt =
  | { readonly outcome: "acquired"; readonly owner: string; readonly lease: Lease }
  | {
      /** Somebody else has it, or contenders share its nodes among them: then there is no owner. */
      readonly outcome: "held";
      readonly owner: string | undefined;
      readonly holder: string | undefined;
      readonly remainingMs: number;
    }
  /** Too few nodes could vote, or they voted too late: nothing is known of the key. */
  | { readonly outcome: "unknown"; readonly error: QuorumUnreachableError };

/** Whether a try failed because of others, and not because the nodes could not answer, or not in time. */
export function isOthers({ why }: Denial): boolean {
  return why !== "unreachable" && why !== "slow";
}

/** Who has it on most of the nodes that say so. Foreign values have no owner; they are shown as they are. */
export function holderIn(
  nodes: readonly NodeReport[],
): Pick<Attempt & { outcome: "held" }, "owner" | "holder" | "remainingMs"> {
  const held = nodes.filter(({ holder }) => holder !== undefined);
  const count = (holder: string | undefined) => held.filter((each) => each.holder === holder).length;
  const [first, second] = [...new Set(held.map(({ holder }) => holder))].sort((a, b) => count(b) - count(a));
  const holder = second !== undefined && count(first) === count(second) ? undefined : first;
  const remaining = held.filter((each) => each.holder === holder).map(({ remainingMs = 0 }) => remainingMs);
  return { owner: holder && ownerOf(holder), holder, remainingMs: Math.max(0, ...remaining) };
}

/** Of `<owner>#<unique>`; other libraries' values are all owner. */
export function ownerOf(holder: string): string {
  const end = holder.lastIndexOf("#");
  return end > 0 ? holder.slice(0, end) : holder;
}
