/** redlock's errors and statistics, made of what each node said. */
import { HoldfastError, LeaseLostError, type NodeReport } from "../errors.ts";
import type { RedisClient } from "../node/connection.ts";

/** An ioredis client, as far as this facade uses it. */
export type RedlockClient = RedisClient & {
  quit?(): Promise<unknown>;
  once?(event: string, heard: () => void): unknown;
};

export interface ExecutionStats {
  readonly membershipSize: number;
  readonly quorumSize: number;
  readonly votesFor: Set<RedlockClient>;
  readonly votesAgainst: Map<RedlockClient, Error>;
}

export interface ExecutionResult {
  readonly attempts: readonly Promise<ExecutionStats>[];
}

/** Somebody else holds one of the resources on this node. */
export class ResourceLockedError extends HoldfastError {
  override readonly name = "ResourceLockedError";
  readonly code = "RESOURCE_LOCKED" as const;
}

/** An operation did not get a quorum. `cause` is this library's own error, with what each node said. */
export class ExecutionError extends HoldfastError {
  override readonly name = "ExecutionError";
  readonly code = "EXECUTION_FAILED" as const;
  readonly attempts: readonly Promise<ExecutionStats>[];

  constructor(message: string, attempts: readonly Promise<ExecutionStats>[], options?: ErrorOptions) {
    super(message, options);
    this.attempts = attempts;
  }
}

const NO_QUORUM = "The operation was unable to achieve a quorum during its retry window.";

/** Outcomes become what redlock's users catch; wrong arguments stay what they are. */
export function executionErrorOf(
  error: unknown,
  keys: readonly string[],
  clients: readonly RedlockClient[],
  tries = 1,
): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const code = "code" in error ? error.code : undefined;
  if (!EXPECTED.has(code)) return error;
  const nodes = "nodes" in error ? (error.nodes as readonly NodeReport[]) : [];
  const headline = error instanceof LeaseLostError ? error.message : `${NO_QUORUM}\n${error.message}`;
  return new ExecutionError(headline, attemptsOf(tries, nodes, keys, clients), { cause: error });
}

const EXPECTED: ReadonlySet<unknown> = new Set([
  "ACQUIRE_TIMEOUT",
  "QUORUM_UNREACHABLE",
  "QUEUE_FULL",
  "LEASE_LOST",
  "LOCKER_CLOSED",
]);

/**
 * One entry for each try, as redlock has them. Who stands in line asks more seldom than redlock does and is told instead: every entry has what was
 * known in the end.
 */
function attemptsOf(
  tries: number,
  nodes: readonly NodeReport[],
  keys: readonly string[],
  clients: readonly RedlockClient[],
): readonly Promise<ExecutionStats>[] {
  return Array.from({ length: tries }, () => Promise.resolve(statsOf(nodes, keys, clients)));
}

/** Reports are in the order of the nodes, which is that of the clients. */
export function statsOf(
  nodes: readonly NodeReport[],
  keys: readonly string[],
  clients: readonly RedlockClient[],
): ExecutionStats {
  const votesFor = new Set<RedlockClient>();
  const votesAgainst = new Map<RedlockClient, Error>();
  nodes.forEach((report, index) => {
    const client = clients[index];
    if (client === undefined || report.verdict === "unanswered") return;
    if (report.verdict === "granted") votesFor.add(client);
    else votesAgainst.set(client, voteError(report, keys));
  });
  const quorumSize = Math.floor(clients.length / 2) + 1;
  return { membershipSize: clients.length, quorumSize, votesFor, votesAgainst };
}

/** In the words of redlock and ioredis, by which their users know them; what the node said is the cause. */
function voteError({ node, reason, detail }: NodeReport, keys: readonly string[]): Error {
  const cause = new Error(`${node}: ${detail}`);
  if (reason === "unreachable") return new Error("Connection is closed.", { cause });
  if (reason !== "held") return cause;
  const message = `The operation was applied to: 0 of the ${keys.length} requested resources.`;
  return new ResourceLockedError(message, { cause });
}
