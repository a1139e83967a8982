/** What can be done to real servers from here, and why not. */
import { type Ability, needsOf } from "../faults.ts";
import type { Scenario } from "../scenario.ts";
import { namespacesUnavailable } from "../servers/namespaces.ts";
import { clockShimUnavailable } from "../servers/node-clock.ts";

/** Why this scenario cannot be run here, in words; undefined where it can. `given`: how many nodes there are that are not ours. */
export function obstacleTo(scenario: Scenario, given?: number): string | undefined {
  const reasons = [...needsOf(scenario)].flatMap(
    (ability) => (given === undefined ? undefined : obstacleOfOthers(ability)) ?? obstacleHere(ability) ?? [],
  );
  if (given !== undefined) reasons.push(...obstaclesOfPlan(scenario, given));
  return reasons.length === 0 ? undefined : reasons.join("; ");
}

function obstacleHere(ability: Ability): string | undefined {
  switch (ability) {
    case "set clocks of servers":
    case "set clocks of clients":
      return clockShimUnavailable();
    case "lose packets":
      return namespacesUnavailable();
    default:
      return undefined;
  }
}

/** Nothing is done to nodes that are not ours. */
function obstacleOfOthers(ability: Ability): string | undefined {
  const isAboutServers =
    ability.endsWith("servers") || ability === "change data folders" || ability === "lose packets";
  return isAboutServers ? `it needs to ${ability}, and these are not ours` : undefined;
}

function obstaclesOfPlan({ cluster = {}, locker }: Scenario, given: number): string[] {
  const wanted = cluster.nodes ?? 3;
  return [
    ...(wanted === given ? [] : [`it needs ${wanted} nodes, and ${given} were given`]),
    ...(locker?.restartGuard === "trust" ? ["it trusts restarts, and these nodes may be in use"] : []),
  ];
}
