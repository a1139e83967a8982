/** `holdfast init`: declares a fleet new. */
import { setTimeout as sleep } from "node:timers/promises";

import type { FleetNodeState, Locker } from "../index.ts";
import type { Command } from "./command.ts";
import { EXIT, UsageError } from "./exit.ts";
import { NODE_FLAGS, parsed, withLocker } from "./flags.ts";
import { table } from "./terminal.ts";

/** Quarantines end now by the nodes' clocks; in a moment by what this client knows of them. */
const MOMENTS_MAX = 40;
const MOMENT_MS = 5;

async function settledStates(locker: Locker, resetFences: boolean): Promise<readonly FleetNodeState[]> {
  let states = await locker.init({ resetFences });
  for (let i = 0; i < MOMENTS_MAX && states.some(({ state }) => state === "quarantined"); i++) {
    await sleep(MOMENT_MS);
    states = locker.nodes();
  }
  return states;
}

const HELP = `usage: holdfast init [--yes] [--reset-fences] [--json] [--nodes ...]

Declares that no lock is outstanding on these nodes, which ends their quarantine. Once, when a fleet is set up; or when you know that no
client has held a lock for the longest ttl. While locks are held it lets a second holder in.

  --yes            does not ask
  --reset-fences   also brings fences back that lie in the future of the nodes' clocks: after clocks were ahead and were set right. Fences
                   that are handed out later are smaller than those: a resource that has seen one of them refuses them

exit codes: 0 all nodes may vote, ${EXIT.failed} some may not, ${EXIT.unreachable} no quorum may`;

export const initCommand: Command = {
  name: "init",
  summary: "declare a new fleet, so that its nodes may vote at once",
  help: HELP,
  run: async (args, out) => {
    const { values, positionals } = parsed(args, {
      ...NODE_FLAGS,
      yes: { type: "boolean", default: false },
      "reset-fences": { type: "boolean", default: false },
    });
    if (positionals.length > 0) throw new UsageError(`unexpected ${JSON.stringify(positionals[0])}`);
    return withLocker(values, async (locker) => {
      const isMeant = values.yes || (await out.ask("Is it certain that nobody holds a lock on these nodes?"));
      if (isMeant === undefined) throw new UsageError("nobody can be asked here; say --yes");
      if (!isMeant) return EXIT.failed;
      const nodes = await settledStates(locker, values["reset-fences"]);
      const rows = nodes.map(({ node, state, detail }) => [
        node,
        state === "admitted" ? out.paint.good(state) : out.paint.bad(state),
        out.paint.dim(detail),
      ]);
      out.line(values.json ? JSON.stringify({ nodes }) : table(rows));
      const admitted = nodes.filter(({ state }) => state === "admitted").length;
      if (admitted === nodes.length) return EXIT.ok;
      return 2 * admitted > nodes.length ? EXIT.failed : EXIT.unreachable;
    });
  },
};
