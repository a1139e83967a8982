/**
 * `holdfast run`: a command that runs only while the lock is held. It is ended when the lock is lost: SIGTERM at the signal, which comes
 * before the validity ends, and SIGKILL after a grace.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";

import type { Lease } from "../index.ts";
import type { Command } from "./command.ts";
import { messageOf } from "../errors.ts";
import { EXIT, UsageError } from "./exit.ts";
import { duration, NODE_FLAGS, parsed, span, withLocker } from "./flags.ts";
import type { Terminal } from "./terminal.ts";

const HELP = `usage: holdfast run --key KEY [options] -- COMMAND [ARGS]

Takes the lock, runs the command, gives the lock back. The lock is extended for as long as the command runs. When it is lost all the
same, because too few nodes can be reached or somebody deleted it, the command gets SIGTERM, before the lock's validity ends, and SIGKILL
after the grace.

  --key KEY       what to lock; several: --key A --key B, all or nothing
  --wait 30s      how long to wait while others hold it (default 0: not at all)
  --grace 5s      from SIGTERM to SIGKILL (default 5s)
  --max 10m       the command may run for so long at most
  --owner NAME    the readable part of the lock's value (default: host and process id)
  --quiet         no remarks on stderr
  and --nodes, --mode, --ttl, --config (see holdfast --help)

The command finds in its environment
  HOLDFAST_KEY      the key, or the first of several
  HOLDFAST_FENCE    the fencing token: send it with every write, to a store that rejects smaller ones
  HOLDFAST_HOLDER   the value that stands in the key on the nodes

Signals (SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, and SIGINT unless the terminal sends it to both) are passed on to the command. Where
there is no terminal the command gets a process group of its own, all of which is ended with it.

exit codes: the command's own; 128 + n where signal n ended it; ${EXIT.held} the lock is held by others; ${EXIT.unreachable} too few nodes; ${EXIT.lost} the
lock was lost and the command ended; 127 there is no such command

  holdfast run --key report:nightly --wait 30s -- ./make-report --month 11`;

export const runCommand: Command = {
  name: "run",
  summary: "run a command under a lock, and end it when the lock is lost",
  help: HELP,
  run,
};

async function run(args: readonly string[], out: Terminal): Promise<number> {
  const end = args.indexOf("--");
  const { values, positionals } = parsed(end < 0 ? args : args.slice(0, end), {
    ...NODE_FLAGS,
    key: { type: "string", multiple: true },
    wait: { type: "string", default: "0" },
    grace: { type: "string", default: "5s" },
    max: { type: "string" },
    owner: { type: "string" },
    quiet: { type: "boolean", default: false },
  });
  const [program, ...programArgs] = end < 0 ? [] : args.slice(end + 1);
  if (values.key === undefined) throw new UsageError("which key? Give --key");
  if (positionals.length > 0) throw new UsageError(`unexpected ${JSON.stringify(positionals[0])} before --`);
  if (program === undefined) throw new UsageError("which command? Give it after --");
  const graceMs = duration("--grace", values.grace);
  const waitMs = duration("--wait", values.wait);
  const maxHoldMs = values.max === undefined ? undefined : duration("--max", values.max);
  const remark = (text: string) => (values.quiet ? undefined : out.error(`holdfast: ${text}`));

  return withLocker(values, async (locker) => {
    const interrupted = new AbortController();
    const signals = new Signals((signal) => interrupted.abort(signal));
    try {
      const options = {
        waitMs,
        owner: values.owner,
        autoExtend: true,
        maxHoldMs,
        signal: interrupted.signal,
      };
      const keys = values.key ?? [];
      await using lease = await locker.acquire(keys, options);
      interrupted.signal.throwIfAborted();
      return await new Job(lease, graceMs, remark, signals).run(program, programArgs);
    } catch (error) {
      if (interrupted.signal.aborted) return codeOfSignal(interrupted.signal.reason as NodeJS.Signals);
      throw error;
    } finally {
      signals.stop();
    }
  });
}

const FORWARDED: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGINT"];

/** What this process is sent, to whoever it is for at the moment. */
class Signals {
  heard: (signal: NodeJS.Signals) => void;
  readonly #listener = (signal: NodeJS.Signals): void => this.heard(signal);

  constructor(heard: (signal: NodeJS.Signals) => void) {
    this.heard = heard;
    for (const signal of FORWARDED) process.on(signal, this.#listener);
  }

  stop(): void {
    for (const signal of FORWARDED) process.off(signal, this.#listener);
  }
}

/** The command while the lock is held. */
class Job {
  readonly #lease: Lease;
  readonly #graceMs: number;
  readonly #remark: (text: string) => void;
  readonly #signals: Signals;
  /** A group of its own can be ended whole; a terminal's signals and input would not reach it. */
  readonly #hasOwnGroup: boolean = process.stdin.isTTY !== true;

  constructor(lease: Lease, graceMs: number, remark: (text: string) => void, signals: Signals) {
    this.#lease = lease;
    this.#graceMs = graceMs;
    this.#remark = remark;
    this.#signals = signals;
  }

  async run(program: string, args: readonly string[]): Promise<number> {
    const { key, keys, fence, holder, signal } = this.#lease;
    this.#remark(`holds ${keys.join(", ")} with fence ${fence}`);
    const child = spawn(program, args, {
      stdio: "inherit",
      detached: this.#hasOwnGroup,
      env: { ...process.env, HOLDFAST_KEY: key, HOLDFAST_FENCE: String(fence), HOLDFAST_HOLDER: holder },
    });
    this.#signals.heard = (sent) => {
      if (sent !== "SIGINT" || this.#hasOwnGroup) this.#send(child, sent);
    };
    let kill: NodeJS.Timeout | undefined;
    const end = (): void => {
      this.#remark(
        `${messageOf(signal.reason)}\nholdfast: ending ${program}, which has ${span(this.#graceMs)}`,
      );
      this.#send(child, "SIGTERM");
      kill = setTimeout(() => this.#send(child, "SIGKILL"), this.#graceMs);
    };
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    const code = await this.#exitOf(child, program);
    clearTimeout(kill);
    signal.removeEventListener("abort", end);
    // What it left in its group must not go on without the lock.
    if (signal.aborted && this.#hasOwnGroup) this.#send(child, "SIGKILL");
    return signal.aborted ? EXIT.lost : code;
  }

  #exitOf(child: ChildProcess, program: string): Promise<number> {
    return new Promise((resolve) => {
      child.once("error", (error: NodeJS.ErrnoException) => {
        this.#remark(`${program} cannot be run: ${error.code ?? error.message}`);
        resolve(error.code === "ENOENT" ? 127 : 126);
      });
      child.once("exit", (code, signal) => resolve(signal === null ? (code ?? 1) : codeOfSignal(signal)));
    });
  }

  #send(child: ChildProcess, signal: NodeJS.Signals): void {
    try {
      if (child.pid !== undefined) process.kill(this.#hasOwnGroup ? -child.pid : child.pid, signal);
    } catch {
      // It has ended.
    }
  }
}

function codeOfSignal(signal: NodeJS.Signals): number {
  return 128 + (constants.signals[signal] ?? 0);
}
