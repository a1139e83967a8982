/** The demo's output: one line an event, with the time it was measured at, and one verdict a claim. */

const GREEN = 32;
const RED = 31;
const DIM = 2;

export class Timeline {
  readonly #start = performance.now();
  readonly #isColoured = process.stdout.isTTY;
  #failed = 0;
  #claims = 0;

  /** Who did what. */
  say(who: string, what: string): void {
    const seconds = ((performance.now() - this.#start) / 1_000).toFixed(3);
    console.log(`${this.#paint(DIM, `${seconds.padStart(7)} s`)}  ${who.padEnd(10)} ${what}`);
  }

  /** More of the line before. */
  detail(text: string): void {
    console.log(this.#paint(DIM, `${" ".repeat(22)}${text}`));
  }

  /** One thing the demo is to show; the exit code depends on it. */
  claim(isTrue: boolean, what: string): void {
    this.#claims++;
    if (!isTrue) this.#failed++;
    console.log(
      `${" ".repeat(11)}${isTrue ? this.#paint(GREEN, "✓ held  ") : this.#paint(RED, "✗ BROKEN")}  ${what}\n`,
    );
  }

  /** True if every claim held. */
  finish(): boolean {
    const verdict = this.#failed === 0 ? "every one held" : `${this.#failed} did not hold`;
    console.log(`${this.#claims} claims, ${this.#paint(this.#failed === 0 ? GREEN : RED, verdict)}.`);
    return this.#failed === 0;
  }

  #paint(colour: number, text: string): string {
    return this.#isColoured ? `\u001b[${colour}m${text}\u001b[0m` : text;
  }
}
