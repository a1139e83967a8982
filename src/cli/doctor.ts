/** `holdfast doctor`: whether these nodes can carry locks, and what to do where they cannot. Reads only. */
import type { Command } from "./command.ts";
import { diagnose, type Finding, type Verdict } from "./diagnosis.ts";
import { examine } from "./examination.ts";
import { EXIT, UsageError } from "./exit.ts";
import { lockerOptions, NODE_FLAGS, parsed } from "./flags.ts";
import { table, type Terminal } from "./terminal.ts";

const HELP = `usage: holdfast doctor [--json] [--nodes ...]

Asks every node who and how it is, and judges: reachable, a master, independent of the others, never evicting, what a restart would lose,
how far its clock is from the others', how much memory it has left, whether it was admitted. Each finding comes with what to do.

exit codes: 0 all well, or only warnings; ${EXIT.failed} something is wrong; ${EXIT.unreachable} no quorum of nodes can be reached`;

export const doctorCommand: Command = {
  name: "doctor",
  summary: "whether these nodes can carry locks, and what to do where not",
  help: HELP,
  run: async (args, out) => {
    const { values, positionals } = parsed(args, NODE_FLAGS);
    if (positionals.length > 0) throw new UsageError(`unexpected ${JSON.stringify(positionals[0])}`);
    const options = lockerOptions(values);
    if (options.mode === "memory") throw new UsageError("memory mode has no nodes");
    const shards = options.shards === undefined ? { "": options.nodes } : options.shards;
    const window = options.clockWindowMs ?? (options.mode === "quorum" ? 100 : 0);
    const diagnoses = await Promise.all(
      Object.entries(shards).map(async ([shard, nodes]) => {
        const patients = await Promise.all(nodes.map(examine));
        return {
          shard,
          ...diagnose(patients, { clockWindowMs: window, allowEviction: options.allowEviction === true }),
        };
      }),
    );
    if (values.json) out.line(JSON.stringify({ shards: diagnoses }, undefined, 2));
    else for (const { shard, findings } of diagnoses) print(shard, findings, out);
    if (diagnoses.some(({ hasQuorum }) => !hasQuorum)) return EXIT.unreachable;
    const isIll = diagnoses.some(({ findings }) => findings.some(({ verdict }) => verdict === "bad"));
    return isIll ? EXIT.failed : EXIT.ok;
  },
};

const MARKS: Readonly<Record<Verdict, string>> = { good: "ok", warning: "warn", bad: "FAIL" };

function print(shard: string, findings: readonly Finding[], { line, paint }: Terminal): void {
  if (shard !== "") line(paint.strong(`shard ${shard}`));
  const subjects = [...new Set(findings.map(({ node }) => node))];
  for (const subject of subjects) {
    line(paint.strong(subject));
    const own = findings.filter(({ node }) => node === subject);
    line(table(own.map(({ verdict, check, detail }) => [`  ${paintedMark(verdict, paint)}`, check, detail])));
    for (const { check, advice } of own)
      if (advice !== undefined) line(paint.dim(`       ${check}: ${advice}`));
  }
  const bad = findings.filter(({ verdict }) => verdict === "bad").length;
  const warnings = findings.filter(({ verdict }) => verdict === "warning").length;
  const all = `${bad} ${bad === 1 ? "fault" : "faults"}, ${warnings} ${warnings === 1 ? "warning" : "warnings"}`;
  line(`\n${bad > 0 ? paint.bad(all) : paint.good(all)}`);
}

function paintedMark(verdict: Verdict, paint: Terminal["paint"]): string {
  const mark = MARKS[verdict];
  return verdict === "good" ? paint.good(mark) : verdict === "bad" ? paint.bad(mark) : paint.strong(mark);
}
