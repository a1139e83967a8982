/**
 * Bugs to be found: each is a small change of the sources that somebody could make, by mistake or to make things simpler, and that breaks
 * a rule the library's promises rest on. What the Lua says is not changed here: a test compares it with node-state.ts, request by request.
 */
export interface Mutant {
  readonly name: string;
  /** The rule of docs/algorithm.md it breaks. */
  readonly rule: string;
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

const STATE = "src/node/node-state.ts";
const GRANTOR = "src/grant/grantor.ts";
const CLAIM = "src/grant/claim.ts";
const LEASE = "src/lease/lease.ts";
const FLEET = "src/node/fleet.ts";
const VALIDITY = "src/clock/validity.ts";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no validity check",
    rule: "C4",
    file: GRANTOR,
    find: "claim.validUntil - clock.now() >= minValidityMs",
    replace: "true",
  },
  {
    name: "the clock is read only before the replies",
    rule: "C4",
    file: GRANTOR,
    find: "claim.validUntil - clock.now() >= minValidityMs",
    replace: "claim.validUntil - t0 >= minValidityMs",
  },
  {
    name: "validity counts from the replies",
    rule: "C1",
    file: GRANTOR,
    find: "claim.found(ballot, t0, ttlMs);",
    replace: "claim.found(ballot, clock.now(), ttlMs);",
  },
  {
    name: "the wall clock is the clock",
    rule: "L6",
    file: "src/clock/system-clock.ts",
    find: "    return monotonicMs + this.#ahead;",
    replace: "    return wallMs;",
  },
  {
    name: "jumps of the clocks are not seen",
    rule: "L6",
    file: "src/clock/system-clock.ts",
    find: "      this.#ahead += jump;",
    replace: "      this.#ahead += 0;",
  },
  {
    name: "delete without compare",
    rule: "R1",
    file: STATE,
    find: "if (living(this.#locks.get(key), nowUs)?.value === holder) this.#locks.delete(key); // R1",
    replace: "this.#locks.delete(key);",
  },
  {
    name: "a retry uses its holder again, and partial votes stay",
    rule: "C1",
    file: GRANTOR,
    find: "`${owner}#${entropy.unique()}`",
    replace: "`${owner}#same`",
  },
  {
    name: "an extension counts nodes on which it put the lock back",
    rule: "E2",
    file: CLAIM,
    find: "counts: (index) => known[index] === true,",
    replace: "counts: () => true,",
  },
  {
    name: "no quarantine",
    rule: "G3",
    file: VALIDITY,
    find: "return Math.ceil(maxTtlMs * (1 + rules.driftFactor)) + 2 * rules.clockWindowMs;",
    replace: "return 0 * maxTtlMs * rules.driftFactor;",
  },
  {
    name: "half a quarantine",
    rule: "G3",
    file: VALIDITY,
    find: "return Math.ceil(maxTtlMs * (1 + rules.driftFactor)) + 2 * rules.clockWindowMs;",
    replace: "return Math.ceil((maxTtlMs / 2) * (1 + rules.driftFactor));",
  },
  {
    name: "a quarantined node votes",
    rule: "N2",
    file: STATE,
    find: "if (nowUs < marker.untilUs) return",
    replace: "if (nowUs < 0) return",
  },
  {
    name: "the memory of a node is not compared",
    rule: "N1",
    file: STATE,
    find: "if (marker?.incarnation !== terms.incarnation || terms.incarnation !== this.incarnation)",
    replace: "if (marker === undefined)",
  },
  {
    name: "any ttl is granted",
    rule: "N3",
    file: STATE,
    find: "if (ttlMs > marker.maxTtlMs) return",
    replace: "if (ttlMs < 0) return",
  },
  {
    name: "no floor",
    rule: "A2",
    file: STATE,
    find: "const floor = Math.max(old?.floor ?? 0, nowUs + terms.leadMs * 1_000);",
    replace: "const floor = 0;",
  },
  {
    name: "a floor without the lead",
    rule: "A2",
    file: STATE,
    find: "const floor = Math.max(old?.floor ?? 0, nowUs + terms.leadMs * 1_000);",
    replace: "const floor = Math.max(old?.floor ?? 0, nowUs - 2 * terms.leadMs * 1_000);",
  },
  {
    name: "who holds a lock already is granted it with any token",
    rule: "N5",
    file: STATE,
    find: "return isDuplicate ? undefined :",
    replace: "return isDuplicate || mine > 0 ? undefined :",
  },
  {
    name: "a held lock is granted",
    rule: "N6",
    file: STATE,
    find: '    if (lock !== undefined)\n      return { reason: "held"',
    replace: '    if (lock !== undefined && key < 0)\n      return { reason: "held"',
  },
  {
    name: "an old token is granted",
    rule: "N7",
    file: STATE,
    find: "if (proposal <= fence) return",
    replace: "if (proposal < 0) return",
  },
  {
    name: "an equal token is granted",
    rule: "N7",
    file: STATE,
    find: "if (proposal <= fence) return",
    replace: "if (proposal < fence) return",
  },
  {
    name: "no clock window for an acquire",
    rule: "N8",
    file: STATE,
    find: "if (isOutside(tauUs, nowUs, terms.clockWindowMs) || proposal > nowUs + terms.leadMs * 1_000)",
    replace: "if (proposal > nowUs + terms.leadMs * 1_000)",
  },
  {
    name: "no bound on how far a token may be ahead",
    rule: "N8",
    file: STATE,
    find: " || proposal > nowUs + terms.leadMs * 1_000)\n",
    replace: ")\n",
  },
  {
    name: "no fence is kept",
    rule: "N9",
    file: STATE,
    find: "      this.#setFence(each, proposal, terms, nowUs); // N9\n",
    replace: "",
  },
  {
    name: "no tombstone",
    rule: "R2",
    file: STATE,
    find: "if (this.#fence(key, nowUs) < tombstone) this.#setFence",
    replace: "if (tombstone < 0) this.#setFence",
  },
  {
    name: "a tombstone as far ahead as the client says",
    rule: "R2",
    file: STATE,
    find: "const tombstone = Math.min(proposal, nowUs + terms.leadMs * 1_000);",
    replace: "const tombstone = proposal;",
  },
  {
    name: "a bounded tombstone is taken for a whole one",
    rule: "R2",
    file: "src/node/debts.ts",
    find: 'return vote.kind !== "faulted" && !isTombstoneBounded(proposal, vote.nowUs, this.#leadMs);',
    replace: 'return vote.kind !== "faulted" && proposal > 0;',
  },
  {
    name: "an extension gives a lock to whoever asks",
    rule: "E1",
    file: STATE,
    find: 'if (key >= 0) return { reason: "missing"',
    replace: 'if (key > request.keys.length) return { reason: "missing"',
  },
  {
    name: "an admission whatever the clocks say",
    rule: "G3",
    file: FLEET,
    find: "if (clockWindowMs > 0 && this.#nodeTime.agreeing(index, clockWindowMs) < quorum) {",
    replace: "if (clockWindowMs < 0 && this.#nodeTime.agreeing(index, clockWindowMs) < quorum) {",
  },
  {
    name: "the largest ttl of others is not asked for",
    rule: "G3",
    file: FLEET,
    find: "let maxTtlMs = Math.max(this.#terms.maxTtlMs, ...this.#knownMaxTtls());",
    replace: "let maxTtlMs = Math.min(this.#terms.maxTtlMs, ...this.#knownMaxTtls(), 100);",
  },
  {
    name: "half of the nodes are a quorum",
    rule: "C3",
    file: "src/quorum/tally.ts",
    find: "return Math.floor(nodes / 2) + 1;",
    replace: "return Math.max(1, Math.ceil(nodes / 2));",
  },
  {
    name: "with an even number of nodes a tie is not lost",
    rule: "C3",
    file: "src/quorum/tally.ts",
    find: "failed > nodes - quorum",
    replace: "failed >= quorum",
  },
  {
    name: "a failed attempt leaves its votes",
    rule: "C5",
    file: GRANTOR,
    find: "    claim.undo();\n",
    replace: "",
  },
  {
    name: "silent nodes are not told of a release",
    rule: "C5",
    file: "src/grant/standings.ts",
    find: 'if (standing !== "free") indices.push(index);',
    replace: 'if (standing === "holds") indices.push(index);',
  },
  {
    name: "a release that was not answered is forgotten",
    rule: "L5",
    file: "src/node/debts.ts",
    find: "if (!this.#isDone(vote, request)) this.#owe({ request, until });",
    replace: "if (!this.#isDone(vote, request) && until < 0) this.#owe({ request, until });",
  },
  {
    name: "a release does not wait for the extension under way",
    rule: "L5",
    file: LEASE,
    find: "    await this.#extending;\n    const report",
    replace: "    const report",
  },
  {
    name: "a renewal counts even when the old validity was over",
    rule: "L3",
    file: CLAIM,
    find: 'if (clock.now() >= this.#validUntil) return { kind: "lost", cause: "expired", reports };',
    replace: "",
  },
  {
    name: "an extension counts from its answer",
    rule: "L3",
    file: CLAIM,
    find: "Math.max(this.#validUntil, t0 + validityMs(fullTtlMs, rules))",
    replace: "Math.max(this.#validUntil, clock.now() + validityMs(fullTtlMs, rules))",
  },
  {
    name: "an extension under way brings a lost lease back",
    rule: "L3",
    file: LEASE,
    find: 'const until = this.#state.kind === "lost" ? this.#state.until : this.#validUntil();',
    replace: "const until = this.#validUntil();",
  },
  {
    name: "the loss is signalled when it is over",
    rule: "L2",
    file: LEASE,
    find: "this.#validUntil() - guard, ()",
    replace: "this.#validUntil() + guard, ()",
  },
  {
    name: "no margin for clocks",
    rule: "C4",
    file: VALIDITY,
    find: "return 4 * clockWindowMs + 2 * (clockWindowMs / 4);",
    replace: "return 0 * clockWindowMs;",
  },
  {
    name: "no drift",
    rule: "C4",
    file: VALIDITY,
    find: "return ttlMs - Math.ceil(rules.driftFactor * ttlMs) - EXPIRY_GRID_MS - marginMs(rules.clockWindowMs);",
    replace: "return ttlMs - marginMs(rules.clockWindowMs);",
  },
  {
    name: "proposals stay where a jump of the clock has put them",
    rule: "C2",
    file: "src/grant/proposals.ts",
    find: "    if (this.#tick >= most) this.#tick = 0;\n",
    replace: "",
  },
  {
    name: "the release does not name the largest proposal",
    rule: "L4",
    file: CLAIM,
    find: "this.#largestProposal = Math.max(this.#largestProposal, proposal);",
    replace: "",
  },
  {
    name: "a request is answered with the vote of another one",
    rule: "outbox",
    file: "src/node/outbox.ts",
    find: "replies[index]?.(vote)",
    replace: "replies[replies.length - 1 - index]?.(vote)",
  },
];
