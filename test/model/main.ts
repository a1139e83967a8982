/** `npm run model`: the whole scope, every order of the proposals, with the number of states. */
import { counterModel } from "./counter-protocol.ts";
import { explore } from "./explore.ts";
import { fenceModel, weakOrders } from "./fence-protocol.ts";

const began = performance.now();
const orders = weakOrders(4);
let states = 0;
let transitions = 0;
for (const order of orders) {
  const result = explore(
    fenceModel(order, [
      [0, 1],
      [2, 3],
    ]),
  );
  states += result.states;
  transitions += result.transitions;
  if (result.counterexample.length > 0) {
    console.log(`VIOLATED with proposals ${order.join(" ")}:\n  ${result.counterexample.join("\n  ")}`);
    process.exitCode = 1;
  }
}
console.log(
  `The fence rule: 2 clients with 2 attempts each, 3 nodes, ${orders.length} orders of their proposals.`,
);
console.log(
  `${states} states, ${transitions} transitions in ${((performance.now() - began) / 1_000).toFixed(1)} s.`,
);

const counter = explore(counterModel([2, 1, 0], 2));
console.log(
  `\nThe counter with write-back, from counts 2, 1 and 0, is refuted after ${counter.states} states:`,
);
for (const step of counter.counterexample) console.log(`  ${step}`);
if (counter.counterexample.length === 0) process.exitCode = 1;
