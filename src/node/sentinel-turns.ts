/**
 * Which Sentinel is asked first, dial by dial. A client of ioredis's kind lives for one session here, and a new one knows nothing of what the
 * last one learnt: it would begin with the same Sentinel every time, which may be cut off and name a master that is none any more.
 */
export interface SentinelAddress {
  readonly host?: string;
  readonly port?: number;
}

/** Where ioredis and iovalkey keep what Sentinels told of each other; in another shape there is nothing to learn. */
interface Inside {
  readonly connector?: { readonly sentinelIterator?: { readonly sentinels?: readonly SentinelAddress[] } };
}

export class SentinelTurns {
  #dials = 0;
  #latest: Inside = {};

  /** Those that were given and those that they told of, another one first each time; undefined where there are none. */
  next(given: readonly SentinelAddress[] | null | undefined): SentinelAddress[] | undefined {
    if (given === undefined || given === null || given.length === 0) return undefined;
    const isNew = ({ host, port }: SentinelAddress): boolean =>
      !given.some((each) => each.host === host && each.port === port);
    const told = this.#latest.connector?.sentinelIterator?.sentinels ?? [];
    const all = [...given, ...told.filter(isNew)];
    const first = this.#dials++ % all.length;
    return [...all.slice(first), ...all.slice(0, first)];
  }

  /** The client that is dialled with them. */
  ask(client: object): void {
    this.#latest = client;
  }
}
