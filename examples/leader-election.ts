/** One leader at a time. Each candidate waits for the lock, leads while it has it, and stands again when it has lost it. */
import { createLocker, loadConfig } from "holdfast";

async function stand(
  name: string,
  lead: (term: { fence: number; signal: AbortSignal }) => Promise<void>,
  end: AbortSignal,
) {
  await using locker = createLocker({ ...loadConfig(), owner: name });
  while (!end.aborted) {
    try {
      await locker.using("leader", { waitMs: Infinity, signal: end }, ({ fence, signal }) =>
        lead({ fence, signal }),
      );
    } catch (error) {
      if (!end.aborted) console.log(`${name}: ${String((error as Error).message).split("\n")[0]}`);
    }
  }
}

const end = new AbortController();
const terms: { name: string; fence: number }[] = [];
const candidates = ["anna", "ben", "cleo"].map((name) =>
  stand(
    name,
    async ({ fence }) => {
      terms.push({ name, fence });
      await new Promise((resolve) => setTimeout(resolve, 50)); // Until it steps down; a real one leads until signal aborts.
      if (terms.length === 6) end.abort();
    },
    end.signal,
  ),
);
await Promise.all(candidates);
const isOrdered = terms.every(({ fence }, index) => fence > (terms[index - 1]?.fence ?? 0));
console.log(
  `${new Set(terms.map(({ name }) => name)).size} leaders in ${terms.length} terms, fences ${isOrdered ? "grow" : "do not grow"}`,
);
