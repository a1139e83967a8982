/** Exit codes, and what errors become on a command line. */

import { UsageError } from "../usage.ts";

export { UsageError };

/** Where BSD's sysexits.h has a number for it, that one: 69 unavailable, 75 try again later. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 69,
  lost: 74,
  held: 75,
  interrupted: 130,
} as const;

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  switch ((error as { code?: unknown } | undefined)?.code) {
    case "CONFIG_INVALID":
    case "OPTION_RANGE":
      return EXIT.usage;
    case "QUORUM_UNREACHABLE":
      return EXIT.unreachable;
    case "ACQUIRE_TIMEOUT":
      return EXIT.held;
    case "LEASE_LOST":
      return EXIT.lost;
    default:
      return EXIT.failed;
  }
}
