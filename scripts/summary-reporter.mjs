// A vitest reporter that ends the run with one line of counts, for whoever reads only the last line, and before it
// names what this machine could not run: names of tests say why.

import process from "node:process";

/** @import { Reporter, TestModule } from "vitest/node" */

/** @implements {Reporter} */
export default class SummaryReporter {
  #startedAt = 0;

  onTestRunStart() {
    this.#startedAt = Date.now();
  }

  /**
   * @param {ReadonlyArray<TestModule>} modules
   * @param {ReadonlyArray<unknown>} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    const reasons = new Set();
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        counts[test.result().state] += 1;
        const reason = test.result().state === "skipped" ? reasonOf(test.fullName) : undefined;
        if (reason !== undefined) reasons.add(reason);
      }
    }
    const broken = modules.filter((module) => module.errors().length > 0).length;

    const parts = [`${counts.passed} passed`, `${counts.failed} failed`, `${counts.skipped} skipped`];
    if (counts.pending > 0) parts.push(`${counts.pending} not run`);
    if (broken > 0) parts.push(`${plural(broken, "file")} could not be loaded`);
    if (unhandledErrors.length > 0) parts.push(plural(unhandledErrors.length, "unhandled error"));
    const seconds = ((Date.now() - this.#startedAt) / 1000).toFixed(1);
    const line = `tests: ${parts.join(", ")} (${plural(modules.length, "file")}, ${seconds} s)`;

    // The default reporter may still be writing; in watch mode the process does not end, and needs no last line.
    process.once("exit", () => console.log([...reasons, line].join("\n")));
  }
}

/**
 * @param {string} name as in "servers in containers (not run: no engine) > a kill"
 * @returns {string | undefined} the part that says what was not run, and why
 */
function reasonOf(name) {
  return name.split(" > ").find((part) => /not run:/.test(part));
}

/**
 * @param {number} count
 * @param {string} noun
 */
function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
