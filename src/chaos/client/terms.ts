/** What a client process is told when it starts. Types only. */
import type { QuorumOptions, SingleOptions } from "../../options/options.ts";
import type { Work } from "../scenario.ts";

export interface ClientTerms {
  readonly name: string;
  /** From 1. */
  readonly number: number;
  /** From 1: how often it was started. */
  readonly life: number;
  readonly seed: string;
  readonly key: string;
  readonly locker: QuorumOptions | SingleOptions;
  /** By the addresses this client knows them by. */
  readonly nodeNames: Readonly<Record<string, string>>;
  readonly quorum: number;
  /** URL of the resource. */
  readonly resource: string;
  readonly work: Work;
}

/** What became of a node, as a client sees it. */
export interface NodeSighting {
  readonly node: string;
  readonly state: string;
}
