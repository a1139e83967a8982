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

export interface Contended {
  readonly pairs: number;
  readonly failed: number;
  readonly tookMs: number;
  /** From the call to the lock, in ms. */
  readonly waits: readonly number[];
}

/** So many contenders for one key, each again and again, with a hold of no time; whoever the library gives up tries again. */
export async function contend({ pair }: Pairs, contenders: number, ms: number): Promise<Contended> {
  const waits: number[] = [];
  let failed = 0;
  const began = performance.now();
  const end = began + ms;
  const work = async (): Promise<void> => {
    while (performance.now() < end) {
      const asked = performance.now();
      await pair("contended").then(
        () => waits.push(performance.now() - asked),
        () => failed++,
      );
    }
  };
  await Promise.all(Array.from({ length: contenders }, work));
  return { pairs: waits.length, failed, tookMs: performance.now() - began, waits };
}
