/** redlock's errors and statistics, made of what each node said. */
import { HoldfastError, LeaseLostError, type NodeReport } from "../errors.ts";
import type { ReleaseReport, Said } from "../grantor.ts";
import type { RedisClient } from "../node/connection.ts";
import type { Inspection } from "../node/inspection.ts";

/** An ioredis client, as far as this facade uses it. */
export type RedlockClient = RedisClient & {
  readonly status?: string;
  quit?(): Promise<unknown>;
  on?(event: string, heard: () => void): unknown;
};

export interface ExecutionStats {
  readonly membershipSize: number;
  readonly quorumSize: number;
  readonly votesFor: Set<RedlockClient>;
  readonly votesAgainst: Map<RedlockClient, Error>;
}

export interface ExecutionResult {
  readonly attempts: readonly Promise<ExecutionStats>[];
  /** When it was asked for, by the wall clock, in ms since the epoch. */
  readonly start: number;
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
  /** One entry for each try; none where nothing was tried. */
  readonly attempts: readonly Promise<ExecutionStats>[];

  constructor(message: string, attempts: readonly Promise<ExecutionStats>[], options?: ErrorOptions) {
    super(message, options);
    this.attempts = attempts;
  }
}

const NO_QUORUM = "The operation was unable to achieve a quorum during its retry window.";

/** Whether it is what redlock's users catch as an `ExecutionError`. Wrong arguments are not. */
export function isOutcome(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && OUTCOMES.has(error.code);
}

const OUTCOMES: ReadonlySet<unknown> = new Set([
  "ACQUIRE_TIMEOUT",
  "QUORUM_UNREACHABLE",
  "QUEUE_FULL",
  "LEASE_LOST",
  "LOCKER_CLOSED",
]);

/** `attempts`: what each try came to. */
export function executionErrorOf(error: Error, attempts: readonly ExecutionStats[]): ExecutionError {
  const headline = error instanceof LeaseLostError ? error.message : `${NO_QUORUM}\n${error.message}`;
  const settled = attempts.map((stats) => Promise.resolve(stats));
  return new ExecutionError(headline, settled, { cause: error });
}

/** What the nodes said, of which an error tells; none where they were not asked. */
export function reportsIn(error: Error): readonly NodeReport[] {
  return "nodes" in error ? (error.nodes as readonly NodeReport[]) : [];
}

/** Once every node has answered, as redlock promises it. */
export async function statsOnceSaid(
  said: Said,
  keys: readonly string[],
  clients: readonly RedlockClient[],
): Promise<ExecutionStats> {
  await said.complete();
  return statsOf(said.reports(), keys, clients);
}

/** Reports are in the order of the nodes, which is that of the clients. */
export function statsOf(
  nodes: readonly NodeReport[],
  keys: readonly string[],
  clients: readonly RedlockClient[],
): ExecutionStats {
  const stats = noVotes(clients);
  nodes.forEach((report, index) => {
    const client = clients[index];
    if (client === undefined || report.verdict === "unanswered") return;
    if (report.verdict === "granted") stats.votesFor.add(client);
    else stats.votesAgainst.set(client, voteError(report, keys));
  });
  return stats;
}

/** What the nodes say when they are only looked at; one inspection for each key. A node where all keys are free says nothing against it. */
export function statsSeen(
  inspections: readonly Inspection[],
  clients: readonly RedlockClient[],
): ExecutionStats {
  const stats = noVotes(clients);
  const keys = inspections.map(({ key }) => key);
  clients.forEach((client, index) => {
    const seen = inspections.map(({ nodes }) => nodes[index]);
    const held = seen.find((each) => each?.holder !== undefined);
    const silent = seen.find((each) => each?.answered === false);
    if (held !== undefined)
      stats.votesAgainst.set(client, lockedError(`${held.node}: held by ${held.holder}`, keys));
    else if (silent !== undefined)
      stats.votesAgainst.set(client, new Error(`${silent.node}: ${silent.detail}`));
  });
  return stats;
}

/** Nobody was asked, since nobody is connected any more. */
export function statsOfEnded(clients: readonly RedlockClient[]): ExecutionStats {
  const stats = noVotes(clients);
  for (const client of clients) stats.votesAgainst.set(client, new Error(CONNECTION_CLOSED));
  return stats;
}

/** A release. `names`: of the nodes, in the order of the clients. Where it was confirmed, nodes that had not answered have not voted. */
export function statsOfRelease(
  { outcome, uncertain }: ReleaseReport,
  names: readonly string[],
  keys: readonly string[],
  clients: readonly RedlockClient[],
): ExecutionStats {
  const stats = noVotes(clients);
  clients.forEach((client, index) => {
    const name = names[index] ?? "";
    if (outcome === "expired") stats.votesAgainst.set(client, lockedError(`${name}: it had expired`, keys));
    else if (!uncertain.includes(name)) stats.votesFor.add(client);
    else if (outcome === "uncertain")
      stats.votesAgainst.set(client, new Error(`${name}: did not confirm the release`));
  });
  return stats;
}

function noVotes(clients: readonly RedlockClient[]): ExecutionStats {
  const quorumSize = Math.floor(clients.length / 2) + 1;
  return { membershipSize: clients.length, quorumSize, votesFor: new Set(), votesAgainst: new Map() };
}

/** ioredis's words for a request on a connection that is none. */
const CONNECTION_CLOSED = "Connection is closed.";

/** In the words of redlock and ioredis, by which their users know them; what the node said is the cause. */
function voteError({ node, reason, detail }: NodeReport, keys: readonly string[]): Error {
  const said = `${node}: ${detail}`;
  if (reason === "held" || reason === "missing") return lockedError(said, keys);
  if (reason === "unreachable") return new Error(CONNECTION_CLOSED, { cause: new Error(said) });
  return new Error(said);
}

function lockedError(said: string, keys: readonly string[]): ResourceLockedError {
  const message = `The operation was applied to: 0 of the ${keys.length} requested resources.`;
  return new ResourceLockedError(message, { cause: new Error(said) });
}
