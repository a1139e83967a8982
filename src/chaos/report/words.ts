/** Figures as people read them. */
import type { Outcome } from "../scenario.ts";

/** `–` where there was nothing to measure. */
export function ms(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const digits = Math.abs(value) < 10 && value !== 0 ? 1 : 0;
  return value.toFixed(digits);
}

export function seconds(valueMs: number): string {
  return Number.isFinite(valueMs) ? (valueMs / 1_000).toFixed(valueMs < 10_000 ? 2 : 1) : "–";
}

export function outcomeInWords(outcome: Outcome): string {
  switch (outcome.is) {
    case "kept":
      return `c${outcome.client} keeps its lease`;
    case "told in time":
      return `c${outcome.client} is told of its loss before the validity ends`;
    case "leases":
      return leasesInWords(outcome);
    case "nothing granted":
      return `nothing is granted for ${outcome.forMs} ms after step ${outcome.afterStep}`;
    case "refused with":
      return `somebody is refused with ${outcome.code}`;
    case "everybody had a turn":
      return "every contender has its turn";
    case "no lost update":
      return "no unfenced update is lost";
    case "late writes refused":
      return `at least ${outcome.atLeast} late writes come, and are refused`;
  }
}

function leasesInWords({ client, atLeast, atMost, afterStep }: Outcome & { is: "leases" }): string {
  const who = client === undefined ? "all clients together have" : `c${client} has`;
  const bounds = [
    ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
  ];
  const since = afterStep === undefined ? "" : ` after step ${afterStep}`;
  return `${who} ${bounds.join(" and ")} leases${since}`;
}
