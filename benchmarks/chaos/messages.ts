/** What the comparison and its workers say to each other. Types only; times are CLOCK_MONOTONIC in ms. */

export interface AcquireAnswer {
  readonly isHeld: boolean;
  readonly began: number;
  readonly at: number;
  readonly error: string | undefined;
}

export interface ClaimNews {
  readonly at: number;
  readonly isHeld: boolean;
  /** `told`: its library said that it is lost. */
  readonly why: "acquired" | "released" | "told" | "its time was over";
}
