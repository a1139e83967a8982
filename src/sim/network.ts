/**
 * The network between simulated processes and servers: what is sent on one connection arrives in the order in which it was sent, as
 * with TCP, after a time that chance decides; between two connections there is no order. A cut path keeps what is under way until it
 * heals, which is how a kernel delivers an old request long after its sender has given up.
 */
import type { VirtualClock } from "../clock/virtual-clock.ts";
import type { Prng } from "./prng.ts";

/** How long messages take, one way, in ms. */
export interface Weather {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** The chance of a message to be held up by up to `stormMs` more. */
  readonly stormChance: number;
  readonly stormMs: number;
}

export const CALM: Weather = { delayMsMin: 0.1, delayMsMax: 0.5, stormChance: 0, stormMs: 0 };

/** One direction between two places. */
export class Path {
  readonly #clock: VirtualClock;
  #isCut = false;
  #held: (() => void)[] = [];

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  cut(): void {
    this.#isCut = true;
  }

  heal(): void {
    this.#isCut = false;
    const held = this.#held;
    this.#held = [];
    for (const arrive of held) this.#clock.at(this.#clock.now(), () => this.pass(arrive));
  }

  /** A message has come to the end of the path, or to the place where it is cut. */
  pass(arrive: () => void): void {
    if (this.#isCut) this.#held.push(arrive);
    else arrive();
  }
}

/** One direction of one connection. */
export class Stream {
  readonly #network: Network;
  readonly #path: Path;
  readonly #ends: readonly string[];
  #lastArrival = 0;

  constructor(network: Network, path: Path, ends: readonly string[]) {
    this.#network = network;
    this.#path = path;
    this.#ends = ends;
  }

  send(sentAt: number, arrive: () => void): void {
    this.#lastArrival = Math.max(this.#lastArrival, sentAt + this.#network.delayMs(this.#ends));
    this.#network.clock.at(this.#lastArrival, () => this.#path.pass(arrive));
  }
}

export class Network {
  readonly clock: VirtualClock;
  weather: Weather = CALM;
  /** By place: how much longer every message to it and from it takes, one way, in ms. */
  readonly distanceMs: Map<string, number> = new Map();
  readonly #prng: Prng;
  readonly #paths = new Map<string, Path>();

  constructor(clock: VirtualClock, prng: Prng) {
    this.clock = clock;
    this.#prng = prng;
  }

  path(from: string, to: string): Path {
    const name = `${from} > ${to}`;
    const known = this.#paths.get(name);
    if (known !== undefined) return known;
    const path = new Path(this.clock);
    this.#paths.set(name, path);
    return path;
  }

  stream(from: string, to: string): Stream {
    return new Stream(this, this.path(from, to), [from, to]);
  }

  /** Nothing passes between the two any more, either way, until `heal`. */
  cut(one: string, other: string): void {
    this.path(one, other).cut();
    this.path(other, one).cut();
  }

  heal(one: string, other: string): void {
    this.path(one, other).heal();
    this.path(other, one).heal();
  }

  healAll(): void {
    for (const path of this.#paths.values()) path.heal();
  }

  delayMs(ends: readonly string[] = []): number {
    const { delayMsMin, delayMsMax, stormChance, stormMs } = this.weather;
    const chance = this.#prng.next();
    // Cubed: most are near the minimum, as on a real network.
    const distance = ends.reduce((sum, end) => sum + (this.distanceMs.get(end) ?? 0), 0);
    const usual = distance + delayMsMin + (delayMsMax - delayMsMin) * chance * chance * chance;
    return stormChance > 0 && this.#prng.chance(stormChance) ? usual + this.#prng.between(0, stormMs) : usual;
  }
}
