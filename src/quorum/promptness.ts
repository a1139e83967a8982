/**
 * Which nodes answer as soon as they usually do (rules C3, C7). A node that was waited for in vain counts as late until it answers again,
 * whatever it answers: a server that hangs is neither waited for twice nor met at. Only hints: no vote is counted or dropped for them.
 */
import { patienceMs } from "./tally.ts";

export class Promptness {
  readonly #isLate: boolean[];
  readonly #usualMs: (index: number) => number | undefined;
  /** What a quorum took in the last attempt that was contested; before the first one nobody is hurried. */
  #tookMs = Infinity;

  /** `usualMs`: how long a round trip to this node takes, for all that is known. */
  constructor(nodes: number, usualMs: (index: number) => number | undefined) {
    this.#isLate = Array<boolean>(nodes).fill(false);
    this.#usualMs = usualMs;
  }

  isLate(index: number): boolean {
    return this.#isLate[index] === true;
  }

  /** It has answered. */
  heard(index: number): void {
    this.#isLate[index] = false;
  }

  /** It was waited for in vain. */
  missed(index: number): void {
    this.#isLate[index] = true;
  }

  took(tookMs: number): void {
    this.#tookMs = tookMs;
  }

  /** How long to wait for node `index`, from when it was asked; `tookMs`: what a quorum took. Nobody waits twice for one that hangs. */
  patienceMs(index: number, tookMs: number = this.#tookMs): number {
    return this.isLate(index) ? 0 : patienceMs(tookMs, this.#usualMs(index) ?? 0);
  }
}
