/**
 * Chance, as a parameter: jitter and unique names come from here and from nowhere else, so that a simulation can seed both.
 */
import { v4 as uuid } from "uuid";

export interface Entropy {
  /** Uniform in [0, 1). */
  random(): number;
  /** A name nobody else ever makes; goes into every holder value (rule C1: fresh for every attempt). */
  unique(): string;
}

export const systemEntropy: Entropy = { random: () => Math.random(), unique: () => uuid() };
