/** What a contestant does while it is measured. */

export interface Pairs {
  /** Takes the lock and gives it back. */
  readonly pair: (key: string) => Promise<void>;
}

export interface Worked {
  readonly pairs: number;
  readonly tookMs: number;
  /** Of this process. */
  readonly cpuUs: number;
}

/** One pair after the other: ms of each. */
export async function pairTimes({ pair }: Pairs, keys: string, pairs: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < pairs; i++) {
    const began = performance.now();
    await pair(`${keys}:${i}`);
    times.push(performance.now() - began);
  }
  return times;
}

/** So many at once, each with a key of its own, for so long. */
export async function load({ pair }: Pairs, atOnce: number, ms: number): Promise<Worked> {
  let pairs = 0;
  const [cpu, began] = [process.cpuUsage(), performance.now()];
  const end = began + ms;
  const work = async (index: number): Promise<void> => {
    while (performance.now() < end) {
      // What a library gives up under load is time lost to it, and no error of the benchmark's.
      await pair(`load:${index}`).then(
        () => pairs++,
        () => {},
      );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, index) => work(index)));
  const { user, system } = process.cpuUsage(cpu);
  return { pairs, tookMs: performance.now() - began, cpuUs: user + system };
}
