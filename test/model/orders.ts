/**
 * Which proposals clients may choose, so that the check rests on nobody's clock: only their order matters to the rules, and attempts are
 * alike but for their proposals. So it is enough to look at every way in which proposals can be smaller, equal and larger.
 */

/** For three attempts: 1 1 1, 1 1 2, 1 2 2, 1 2 3. */
export function proposalOrders(attempts: number): number[][] {
  let orders = [[1]];
  for (let length = 1; length < attempts; length++) orders = orders.flatMap(continuations);
  return orders;
}

function continuations(order: number[]): number[][] {
  const last = order.at(-1) ?? 0;
  return [
    [...order, last],
    [...order, last + 1],
  ];
}
