/** Moments that many scenarios wait for. */
import type { Step } from "../scenario.ts";

type Moment = Pick<Step, "once">;

/** Client 1 has the lock; maybe on no more nodes than it needs, where others have asked at the same time. */
export const HELD: Moment = { once: { client: 1, has: "acquired" } };

/** It has it on every node that is there: what its first extension found missing was put back (rule L4). */
export const SETTLED: Moment = { once: { client: 1, has: "extended", times: 2 } };
