/** `holdfast release`: takes a lock away from whoever holds it. */
import type { Command } from "./command.ts";
import { EXIT, UsageError } from "./exit.ts";
import { NODE_FLAGS, oneKey, parsed, span, withLocker } from "./flags.ts";
import { isKnown } from "./inspect.ts";

const HELP = `usage: holdfast release KEY --force [--yes] [--json] [--nodes ...]

Deletes the lock on all nodes, whoever holds it, and wakes whoever waits for it. The holder notices at its next extension at the latest,
and may have written meanwhile: for a holder that is surely dead, and whose ttl you do not want to wait for.

  --force   says that you mean it
  --yes     does not ask

exit codes: 0 released, or it was free; ${EXIT.failed} not done, ${EXIT.unreachable} too few nodes answered`;

export const releaseCommand: Command = {
  name: "release",
  summary: "take a lock away from whoever holds it",
  help: HELP,
  run: async (args, out) => {
    const { values, positionals } = parsed(args, {
      ...NODE_FLAGS,
      force: { type: "boolean", default: false },
      yes: { type: "boolean", default: false },
    });
    const key = oneKey(positionals);
    if (!values.force)
      throw new UsageError("this takes the lock from whoever holds it; say --force if you mean it");
    const tell = (outcome: string, holder: string | undefined) =>
      out.line(values.json ? JSON.stringify({ key, outcome, holder: holder ?? null }) : `${key}: ${outcome}`);
    return withLocker(values, async (locker, { ttlMs = 10_000 }) => {
      const { holder, remainingMs, fence, ...seen } = await locker.inspect(key);
      if (!isKnown({ holder, remainingMs, fence, ...seen })) {
        tell("unknown: too few nodes answered", undefined);
        return EXIT.unreachable;
      }
      if (holder === undefined) {
        tell("free already", undefined);
        return EXIT.ok;
      }
      const question = `Take ${key} from ${holder}, which has it for ${span(remainingMs)} more?`;
      const isMeant = values.yes || (await out.ask(question));
      if (isMeant === undefined) throw new UsageError("nobody can be asked here; say --yes");
      if (!isMeant) {
        tell("left as it is", holder);
        return EXIT.failed;
      }
      // By the rules: it is adopted, and then released, so that nothing that is still under way brings it back.
      const lease = await locker.adopt(
        { keys: [key], holder, fence, proposal: fence, ttlMs },
        { minValidityMs: 0 },
      );
      const { outcome } = await lease.release();
      tell(outcome, holder);
      return outcome === "released" ? EXIT.ok : EXIT.failed;
    });
  },
};
