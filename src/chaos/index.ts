/** Chaos for locks: real servers that are really killed, stopped, emptied and partitioned, and a report of what became of the locks. */

// Running
export { runScenarios, type RunOptions } from "./run-scenarios.ts";
export { SCENARIOS } from "./scenarios/index.ts";
export { drawScenario } from "./random.ts";

// Reports
export { renderReport, type ReportAbout } from "./report/report.ts";
export { renderTable } from "./report/table.ts";
export { chaosCommand } from "./command.ts";
export type { CommandOutput } from "../usage.ts";

// Scenarios and results
export type * from "./scenario.ts";
export type * from "./result.ts";
export type { Condition, History, HistoryEvent } from "../history/history.ts";
export type { Property, Violation } from "../history/checkers.ts";
