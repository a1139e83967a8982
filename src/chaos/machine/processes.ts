/**
 * Clients in processes of their own, told what to do by messages: what one of them does to its clock, its event loop or itself must
 * not touch the others. A client ends when its parent does.
 */
import { type ChildProcess, fork } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { fileURLToPath } from "node:url";

import { diesWithUs, hasEnded, killWhenWeExit } from "./mortality.ts";

/** A script beside this one, as it can be run: sources are run from build/, which mirrors the tree. */
export function builtScript(path: string, from: string): string {
  const file = fileURLToPath(new URL(path, from));
  const js = file.replace(/\.ts$/, ".js");
  return from.endsWith(".ts") ? js.replace(/\/src\/(?!.*\/src\/)/, "/build/src/") : js;
}

interface Question {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

interface News {
  readonly event: string;
  readonly value: unknown;
}

type Methods = Record<string, (...args: unknown[]) => unknown>;

interface Caller {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export interface ClientProcess {
  readonly pid: number | undefined;
  /** Rejects with what the method threw, or when the process ends first. */
  call(method: string, ...args: unknown[]): Promise<unknown>;
  /** What the other side emits. */
  on(event: string, listener: (value: unknown) => void): void;
  pause(): void;
  resume(): void;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** `script`: a built JavaScript file that calls `serveClient`. `env` is added to this process's own. */
export function spawnClient(
  script: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): ClientProcess {
  const [execPath, execArgv] = diesWithUs(process.execPath, ["--enable-source-maps"]);
  const child = fork(script, [...args], { env: { ...process.env, ...env }, execPath, execArgv });
  killWhenWeExit(child);
  const open = new Map<number, Caller>();
  const events = new EventEmitter();
  child.on("message", (message) => hear(message as Answer | News, open, events));
  const end = (how: unknown): void => {
    for (const { reject } of open.values()) reject(new Error(`the client process ended (${String(how)})`));
    open.clear();
  };
  child.on("error", end);
  child.on("exit", (code, signal) => end(signal ?? code));
  let questions = 0;
  return {
    pid: child.pid,
    call: (method, ...callArgs) => ask(child, open, { id: questions++, method, args: callArgs }),
    on: (event, listener) => void events.on(`client:${event}`, listener),
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    kill: () => kill(child),
  };
}

function ask(child: ChildProcess, open: Map<number, Caller>, question: Question): Promise<unknown> {
  return new Promise((resolve, reject) => {
    // The exit rejects what is open at that moment; the channel may be closed only a little later.
    if (hasEnded(child) || !child.connected) {
      reject(new Error(`the client process has ended, ${question.method} cannot be called`));
      return;
    }
    open.set(question.id, { resolve, reject });
    // A failure to send is a process that has just ended: the exit event rejects what is open.
    child.send(question, () => {});
  });
}

function hear(message: Answer | News, open: Map<number, Caller>, events: EventEmitter): void {
  if ("event" in message) {
    // Prefixed, because an event named "error" that nobody listens to would be thrown.
    events.emit(`client:${message.event}`, message.value);
    return;
  }
  const caller = open.get(message.id);
  open.delete(message.id);
  if (message.error === undefined) caller?.resolve(message.value);
  else caller?.reject(new Error(message.error));
}

async function kill(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

/**
 * The other side: answers its parent's calls until the parent is gone. Returns `emit`, which tells the parent something it did not
 * ask for.
 */
export function serveClient(methods: Methods): (event: string, value?: unknown) => void {
  process.on("disconnect", () => process.exit());
  process.on("message", (message) => void answer(methods, message as Question));
  return (event, value) => {
    const news: News = { event, value };
    process.send?.(news);
  };
}

async function answer(methods: Methods, { id, method, args }: Question): Promise<void> {
  let reply: Answer;
  try {
    const work = methods[method];
    if (work === undefined) throw new Error(`this client has no method ${method}`);
    reply = { id, value: await work(...args) };
  } catch (error) {
    reply = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(reply);
}
