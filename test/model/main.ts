/** `npm run model`: the full scope, state counts, and the traces of what is refuted. Ends with 1 if anything is not as claimed. */
import process from "node:process";

import { type Exploration, explore } from "./explore.ts";
import { FenceProtocol } from "./fence-protocol.ts";
import { proposalOrders } from "./orders.ts";
import { refuted } from "./refuted.ts";
import { productionNode } from "./specimen-nodes.ts";

/** Four attempts on three nodes, and as many on five as a minute allows. */
const SCOPES = [
  { nodes: 3, attempts: 4 },
  { nodes: 5, attempts: 3 },
] as const;

const held = SCOPES.map(({ nodes, attempts }) => checkScope(nodes, attempts));
const found = refuted.map(({ name, property, model }) => refute(name, property, explore(model, property)));
process.exitCode = [...held, ...found].every(Boolean) ? 0 : 1;

function checkScope(nodes: number, attempts: number): boolean {
  console.log(`\nThe fence rule over NodeState: ${nodes} nodes, ${attempts} attempts in any overlap`);
  const results = proposalOrders(attempts).map((proposals) => {
    const started = performance.now();
    const result = explore(new FenceProtocol({ nodes, proposals, node: productionNode }));
    report(`proposals ${proposals.join(" ")}`, result, performance.now() - started);
    return result;
  });
  const total = {
    states: sum(results.map(({ states }) => states)),
    transitions: sum(results.map(({ transitions }) => transitions)),
    counterexample: results.find(({ counterexample }) => counterexample !== undefined)?.counterexample,
  };
  report("total", total);
  if (total.counterexample !== undefined) console.log(total.counterexample.trace.join("\n"));
  return total.counterexample === undefined;
}

function report(what: string, { states, transitions, counterexample }: Exploration, ms?: number): void {
  const verdict = counterexample ? `VIOLATES ${counterexample.property}` : "S2, S3 and S9 hold";
  const time = ms === undefined ? "" : `, ${(ms / 1_000).toFixed(1)} s`;
  console.log(
    `  ${what.padEnd(18)} ${count(states)} states ${count(transitions)} transitions  ${verdict}${time}`,
  );
}

function refute(name: string, property: string, { states, counterexample }: Exploration): boolean {
  if (counterexample === undefined) {
    console.log(`\n${name}: NOT refuted in ${states} states, although it breaks ${property}`);
    return false;
  }
  console.log(`\n${name}: breaks ${property}, found after ${states} states`);
  for (const line of counterexample.trace) console.log(`  ${line}`);
  return true;
}

function count(number: number): string {
  return number.toLocaleString("en").padStart(13);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
