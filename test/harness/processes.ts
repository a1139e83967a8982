/**
 * Clients in processes of their own, told what to do by messages: what one of them does to its clock, its event loop or itself must
 * not touch the others. A client ends when its parent does.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";

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

export interface ClientProcess {
  readonly pid: number | undefined;
  call(method: string, ...args: unknown[]): Promise<unknown>;
  pause(): void;
  resume(): void;
  kill(): Promise<void>;
}

/** `script`: a built JavaScript file that calls `serveClient`. `env` is added to this process's own. */
export function spawnClient(
  script: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): ClientProcess {
  const child = fork(script, [...args], {
    env: { ...process.env, ...env },
    execArgv: ["--enable-source-maps"],
  });
  const open = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let questions = 0;
  child.on("message", (message) => {
    const { id, value, error } = message as Answer;
    const asked = open.get(id);
    open.delete(id);
    if (error === undefined) asked?.resolve(value);
    else asked?.reject(new Error(error));
  });
  child.on("exit", (code, signal) => {
    for (const { reject } of open.values()) reject(new Error(`the client process ended (${signal ?? code})`));
    open.clear();
  });
  return {
    pid: child.pid,
    call: (method, ...callArgs) =>
      new Promise((resolve, reject) => {
        const id = questions++;
        open.set(id, { resolve, reject });
        const question: Question = { id, method, args: callArgs };
        if (child.connected) child.send(question);
        else reject(new Error(`the client process has ended, ${method} cannot be called`));
      }),
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    kill: () => kill(child),
  };
}

/** The other side: answers its parent's calls until the parent is gone. */
export function serveClient(methods: Record<string, (...args: unknown[]) => unknown>): void {
  process.on("disconnect", () => process.exit());
  process.on("message", (message) => void answer(methods, message as Question));
}

async function answer(
  methods: Record<string, (...args: unknown[]) => unknown>,
  { id, method, args }: Question,
): Promise<void> {
  let reply: Answer;
  try {
    reply = { id, value: await methods[method]?.(...args) };
  } catch (error) {
    reply = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(reply);
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}
