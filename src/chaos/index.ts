/** Chaos for locks: real servers that are really killed, stopped, emptied and partitioned, and a report of what became of the locks. */
export type { Condition, History, HistoryEvent } from "../history/history.ts";
export type { Property, Violation } from "../history/checkers.ts";
export type * from "./scenario.ts";
export type * from "./result.ts";
