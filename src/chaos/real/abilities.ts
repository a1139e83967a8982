/** What this machine can do to real servers, and why not. */
import { type Ability, needsOf } from "../faults.ts";
import type { Scenario } from "../scenario.ts";
import { clockShimUnavailable } from "../servers/node-clock.ts";

/** Why this scenario cannot be run here, in words; undefined where it can. */
export function obstacleTo(scenario: Scenario): string | undefined {
  const reasons = [...needsOf(scenario)].flatMap((ability) => obstacles(ability) ?? []);
  return reasons.length === 0 ? undefined : reasons.join("; ");
}

function obstacles(ability: Ability): string | undefined {
  switch (ability) {
    case "set clocks of servers":
    case "set clocks of clients":
      return clockShimUnavailable();
    case "lose packets":
      return "losing packets needs network namespaces";
    default:
      return undefined;
  }
}
