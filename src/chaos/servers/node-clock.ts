/**
 * Wrong wall clocks: a server's or a client's time can be stepped, frozen, set, sped up and slowed down while it runs, and no other
 * process notices. A preloaded library (clockshim.c, compiled on first use) answers instead of the system; see there.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { onPath } from "../machine/on-path.ts";

const NANOS_PER_MS = 1_000_000n;
const REAL_RATE = 1_000_000_000n;
const SEQUENCE_BYTES = 8;
const REST_BYTES = 24;

/** The handle on one process's wall clock. Other processes may share its control file. */
export class NodeClock {
  readonly controlFile: string;
  readonly #file: number;
  #sequence = 0n;
  #baseReal = 0n;
  #baseFake = 0n;
  #rate = REAL_RATE;

  constructor(controlFile: string) {
    this.controlFile = controlFile;
    this.#file = openSync(controlFile, "w");
    this.#write();
  }

  /** Forward or, negative, back; from there it goes on at its rate. */
  step(ms: number): void {
    this.#baseFake += BigInt(Math.round(ms * 1e6));
    this.#write();
  }

  /** From now on 1 is right, 2 is twice as fast, 0 stands still. */
  rate(factor: number): void {
    this.#rebase();
    this.#rate = BigInt(Math.round(factor * 1e9));
    this.#write();
  }

  freeze(): void {
    this.rate(0);
  }

  /** Since the epoch. Exact while it is frozen, otherwise it has moved on by the time somebody looks. */
  setMicros(micros: bigint): void {
    this.#rebase();
    this.#baseFake = micros * 1_000n;
    this.#write();
  }

  /** Stands still at this time, exactly. */
  freezeAt(micros: number | bigint): void {
    this.#rate = 0n;
    this.setMicros(BigInt(micros));
  }

  /** The real time again. */
  reset(): void {
    this.#baseReal = this.#baseFake = 0n;
    this.#rate = REAL_RATE;
    this.#write();
  }

  close(): void {
    closeSync(this.#file);
  }

  #rebase(): void {
    const now = BigInt(Date.now()) * NANOS_PER_MS;
    this.#baseFake += ((now - this.#baseReal) * this.#rate) / REAL_RATE;
    this.#baseReal = now;
  }

  #write(): void {
    const rest = Buffer.alloc(REST_BYTES);
    [this.#baseReal, this.#baseFake, this.#rate].forEach((value, index) =>
      rest.writeBigInt64LE(value, 8 * index),
    );
    this.#writeSequence();
    writeSync(this.#file, rest, 0, REST_BYTES, SEQUENCE_BYTES);
    this.#writeSequence();
  }

  /** Odd while the rest is being written: a reader then tries again. */
  #writeSequence(): void {
    const sequence = Buffer.alloc(SEQUENCE_BYTES);
    sequence.writeBigInt64LE(++this.#sequence);
    writeSync(this.#file, sequence, 0, SEQUENCE_BYTES, 0);
  }
}

/** The environment that gives a process, and its children, the clock of this control file. */
export function clockShimEnv(controlFile: string): Record<string, string> {
  return { LD_PRELOAD: compiledShim(), HOLDFAST_CLOCK_FILE: controlFile };
}

/** In words why clocks cannot be faked here, for tests that would then be skipped; undefined when they can. */
export function clockShimUnavailable(): string | undefined {
  try {
    compiledShim();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

let compiled: string | undefined;

function compiledShim(): string {
  return (compiled ??= compile());
}

/** Once per source and machine: under a name of its own first, because several test workers may be at it. */
function compile(): string {
  if (process.platform !== "linux") throw new Error("faking clocks needs Linux");
  const source = sourceFile();
  const hash = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16);
  const target = join(tmpdir(), `holdfast-clockshim-${process.getuid?.()}-${process.arch}-${hash}.so`);
  if (existsSync(target)) return target;
  const compiler = onPath("gcc") ?? onPath("cc");
  if (compiler === undefined) throw new Error("faking clocks needs a C compiler: gcc or cc on PATH");
  const unfinished = `${target}.${process.pid}`;
  const { status, stderr } = spawnSync(compiler, ["-O2", "-shared", "-fPIC", "-o", unfinished, source], {
    encoding: "utf8",
  });
  if (status !== 0) {
    rmSync(unfinished, { force: true });
    throw new Error(`the clock shim does not compile: ${stderr.trim()}`);
  }
  renameSync(unfinished, target);
  return target;
}

/** The compiler of the tools copies no C: from build/, the source is where it was written. */
function sourceFile(): string {
  const places = ["clockshim.c", "../../../../src/chaos/servers/clockshim.c"];
  const files = places.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = files.find((file) => existsSync(file));
  if (found === undefined) throw new Error(`clockshim.c is at none of ${files.join(", ")}`);
  return found;
}
