/** CLOCK_MONOTONIC in ms: the same clock in every process of a machine, whatever their wall clocks say. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
