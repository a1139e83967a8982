/** The standard suite: every row of the catalogue that servers, networks, clocks and clients can be made to show. */
import type { Scenario } from "../scenario.ts";
import { CLIENT_SCENARIOS } from "./clients.ts";
import { CLOCK_SCENARIOS } from "./clocks.ts";
import { COMBINED_SCENARIOS } from "./combinations.ts";
import { NETWORK_SCENARIOS } from "./network.ts";
import { NODE_SCENARIOS } from "./nodes.ts";
import { WAITING_SCENARIOS } from "./waiting.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...NODE_SCENARIOS,
  ...NETWORK_SCENARIOS,
  ...CLOCK_SCENARIOS,
  ...CLIENT_SCENARIOS,
  ...WAITING_SCENARIOS,
  ...COMBINED_SCENARIOS,
];
