/** Waiting for a condition instead of for a time: a test says what it waits for, and fails with these words when it does not come. */

export interface Patience {
  /** In words, for the error. */
  readonly what: string;
  /** Default 10 000. */
  readonly timeoutMs?: number;
}

const POLL_MS = 5;

export async function waitFor(
  isIt: () => boolean | Promise<boolean>,
  { what, timeoutMs = 10_000 }: Patience,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await isIt())) {
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(POLL_MS);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What the work comes to, or undefined where it takes longer. Leaves no timer behind. */
export async function within<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
