/** `holdfast inspect`: who holds a key, node by node. */
import type { Inspection, Locker } from "../index.ts";
import type { Command } from "./command.ts";
import { EXIT } from "./exit.ts";
import { NODE_FLAGS, oneKey, parsed, span, withLocker } from "./flags.ts";
import { table, type Terminal } from "./terminal.ts";

const HELP = `usage: holdfast inspect KEY [--json] [--nodes ...]

Asks every node who holds the key, for how long, and what the largest fencing token is that it has accepted. Changes nothing.

exit codes: 0 the answer is known (held or free), ${EXIT.unreachable} too few nodes answered`;

export const inspectCommand: Command = {
  name: "inspect",
  summary: "who holds a key, node by node",
  help: HELP,
  run: async (args, out) => {
    const { values, positionals } = parsed(args, NODE_FLAGS);
    const key = oneKey(positionals);
    const look = async (locker: Locker) => {
      const seen = await locker.inspect(key);
      out.line(values.json ? JSON.stringify(plain(seen)) : described(seen, out));
      return isKnown(seen) ? EXIT.ok : EXIT.unreachable;
    };
    return withLocker(values, look, { readOnly: true });
  },
};

/** A quorum of nodes has answered. */
export function isKnown({ nodes }: Inspection): boolean {
  return 2 * nodes.filter(({ answered }) => answered).length > nodes.length;
}

/** For programs: what is not known is null, not absent. */
export function plain(seen: Inspection): object {
  return {
    ...seen,
    holder: seen.holder ?? null,
    nodes: seen.nodes.map((node) => ({ ...node, holder: node.holder ?? null })),
  };
}

export function described(seen: Inspection, { paint }: Terminal): string {
  const { key, holder, remainingMs, fence, nodes } = seen;
  const free = isKnown(seen) ? paint.good("free") : paint.bad("unknown: too few nodes answered");
  const state = holder === undefined ? free : `held by ${paint.strong(holder)} for ${span(remainingMs)} more`;
  const rows = nodes.map((node) => [
    `  ${node.node}`,
    node.state === "admitted" ? paint.good(node.state) : paint.bad(node.state),
    node.answered ? (node.holder ?? "-") : paint.bad("no answer"),
    node.holder === undefined ? "" : span(node.remainingMs),
    node.fence === 0 ? "" : String(node.fence),
    node.state === "admitted" ? "" : paint.dim(node.detail),
  ]);
  const head = ["  node", "state", "holder", "for", "fence", ""].map((text) => paint.dim(text));
  return `${key}  ${state}${fence === 0 ? "" : `, fence ${fence}`}\n${table([head, ...rows])}`;
}
