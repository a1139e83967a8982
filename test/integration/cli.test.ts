/** The command line as a user meets it: real processes, real nodes, real signals. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { createLocker } from "../../src/index.ts";
import { startFleet } from "../harness/fleet.ts";
import { somebodyWaits } from "../harness/waiters.ts";

const MAIN = fileURLToPath(new URL("../../build/src/cli/main.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

class Cli {
  readonly child: ChildProcess;
  readonly #closed: Promise<unknown[]>;
  out = "";
  err = "";

  constructor(args: readonly string[], env: Record<string, string>) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#closed = once(this.child, "close");
    this.child.stdout?.on("data", (bytes: Buffer) => (this.out += bytes.toString()));
    this.child.stderr?.on("data", (bytes: Buffer) => (this.err += bytes.toString()));
  }

  async end(): Promise<Ended> {
    const [code] = (await this.#closed) as [number | null];
    return { code, out: this.out, err: this.err };
  }
}

let cluster: Cluster;
const running: Cli[] = [];
const folder = mkdtempSync(join(tmpdir(), "holdfast-cli-"));

beforeAll(async () => {
  cluster = await startFleet(3);
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await cluster.stop();
});
afterEach(() => {
  for (const cli of running.splice(0)) cli.child.kill("SIGKILL");
});

function start(...args: string[]): Cli {
  const cli = new Cli(args, { HOLDFAST_NODES: cluster.urls.join(",") });
  running.push(cli);
  return cli;
}

function holdfast(...args: string[]): Promise<Ended> {
  return start(...args).end();
}

async function elsewhere(env: Record<string, string>, ...args: string[]): Promise<Ended> {
  const cli = new Cli(args, env);
  running.push(cli);
  return cli.end();
}

/** Without nodes that answer. */
const NOWHERE = { HOLDFAST_NODES: "redis://127.0.0.1:1,redis://127.0.0.1:2,redis://127.0.0.1:3" };

describe("holdfast", () => {
  test("--help reads like a manual, with all commands and exit codes; every command has more", async () => {
    const { code, out } = await holdfast("--help");
    expect(code).toBe(0);
    const commands = ["run", "inspect", "watch", "release", "init", "doctor", "bench", "chaos", "sim"];
    for (const command of commands) {
      expect(out).toMatch(new RegExp(`^  ${command} +\\S`, "m"));
      const help = await holdfast(command, "--help");
      expect(help.code, command).toBe(0);
      expect(help.out.length, command).toBeGreaterThan(200);
    }
    for (const exitCode of [0, 1, 2, 69, 74, 75, 130])
      expect(out).toMatch(new RegExp(`^  ${exitCode} `, "m"));
  }, 30_000);

  test("wrong arguments: exit code 2, and what is wrong", async () => {
    const cases: [string[], RegExp][] = [
      [[], /./],
      [["frobnicate"], /no command "frobnicate"/],
      [["inspect"], /which key/],
      [["inspect", "a", "b"], /one key at a time/],
      [["inspect", "a", "--nodes", "http://x"], /nodes must be URLs/],
      [["inspect", "a", "--colour"], /Unknown option '--colour'/],
      [["inspect", "a", "--ttl", "5"], /--ttl must be a duration such as 500ms, 30s or 5m, got "5"/],
      [["inspect", "a", "--ttl", "1ms"], /ttlMs must be an integer from 500/],
      [["run", "--key", "a"], /which command/],
      [["run", "--", "ls"], /which key/],
      [["release", "a"], /--force/],
      [["release", "a:fence", "--force", "--yes"], /not be holdfast:node nor end in :fence/],
      [["inspect", "holdfast:waiting"], /nor be holdfast:waiting .* got "holdfast:waiting"/],
      [["run", "--key", "a", "--key", "holdfast:node", "--", "true"], /got "holdfast:node"/],
      [["watch", "holdfast:key:{x}"], /got "holdfast:key:\{x\}"/],
      [["bench", "--at", "0"], /--at must be numbers/],
      [["sim", "--seeds", "x"], /--seeds must be a positive integer/],
    ];
    for (const [args, expected] of cases) {
      const { code, out, err } = await holdfast(...args);
      expect(code, args.join(" ")).toBe(2);
      expect(err + out, args.join(" ")).toMatch(expected);
    }
    const { code, err } = await elsewhere({}, "inspect", "a");
    expect([code, err]).toEqual([2, expect.stringContaining("which nodes?")]);
  }, 60_000);

  test("nodes come from flags, the environment or a config file; a password is never shown", async () => {
    const file = join(folder, "holdfast.json");
    writeFileSync(file, JSON.stringify({ mode: "quorum", nodes: cluster.urls, ttlMs: 5_000 }));
    expect((await elsewhere({}, "inspect", "a", "--config", file)).code).toBe(0);
    expect((await elsewhere({ HOLDFAST_CONFIG: file }, "inspect", "a")).code).toBe(0);
    expect((await elsewhere(NOWHERE, "inspect", "a", "--nodes", cluster.urls.join(","))).code).toBe(0);
    for (const command of [["inspect", "a"], ["doctor"]]) {
      const { out, err } = await elsewhere({ HOLDFAST_NODES: "redis://:sesame@127.0.0.1:1" }, ...command);
      expect(out + err).not.toContain("sesame");
    }
  }, 30_000);
});

describe("holdfast run", () => {
  test("gives key, fence and holder to the command, passes on its output and exit code, and releases", async () => {
    const show =
      "process.stdout.write([process.env.HOLDFAST_KEY, process.env.HOLDFAST_FENCE, process.env.HOLDFAST_HOLDER].join(' ')); process.exit(7)";
    const { code, out, err } = await holdfast("run", "--key", "job", "--", process.execPath, "-e", show);
    expect(code).toBe(7);
    const [key, fence, holder] = out.split(" ");
    expect([key, Number.isSafeInteger(Number(fence))]).toEqual(["job", true]);
    expect(holder).toContain("#");
    expect(err).toContain(`holds job with fence ${fence}`);
    const { out: after } = await holdfast("inspect", "job", "--json");
    expect(JSON.parse(after)).toMatchObject({ key: "job", holder: null, fence: Number(fence) });
  });

  test("a held lock: exit code 75 and who has it; with --wait its turn comes", async () => {
    const first = start("run", "--key", "wait", "--", "sleep", "30");
    await waitFor(() => first.err.includes("holds wait"), { what: "the first has it" });
    const refused = await holdfast("run", "--key", "wait", "--", "echo", "never");
    expect([refused.code, refused.out]).toEqual([75, ""]);
    expect(refused.err).toMatch(/held by .*#/);
    const second = holdfast("run", "--key", "wait", "--wait", "20s", "--quiet", "--", "echo", "turn");
    await somebodyWaits(cluster);
    first.child.kill("SIGTERM");
    expect(await second).toEqual({ code: 0, out: "turn\n", err: "" });
  }, 30_000);

  test("no quorum: exit code 69, which node and why", async () => {
    const { code, err } = await elsewhere(NOWHERE, "run", "--key", "a", "--", "echo", "never");
    expect(code).toBe(69);
    expect(err).toMatch(/127\.0\.0\.1:1 .*ECONNREFUSED/);
  });

  test("a command that does not exist: 127, and the lock is free again", async () => {
    const { code, err } = await holdfast("run", "--key", "none", "--", "no-such-command-here");
    expect([code, err]).toEqual([127, expect.stringContaining("cannot be run")]);
    expect(JSON.parse((await holdfast("inspect", "none", "--json")).out)).toMatchObject({ holder: null });
  });

  test("signals go to the command, whose end by one is told as 128 + n", async () => {
    const script =
      "process.on('SIGHUP', () => { console.log('heard'); }); setInterval(() => {}, 100); console.log('up')";
    const cli = start("run", "--key", "signals", "--quiet", "--", process.execPath, "-e", script);
    await waitFor(() => cli.out.includes("up"), { what: "it runs" });
    cli.child.kill("SIGHUP");
    await waitFor(() => cli.out.includes("heard"), { what: "it was told" });
    cli.child.kill("SIGTERM");
    expect((await cli.end()).code).toBe(128 + 15);
    expect(JSON.parse((await holdfast("inspect", "signals", "--json")).out)).toMatchObject({ holder: null });
  }, 30_000);

  test("Ctrl-C while it waits: it gives up, and leaves nothing", async () => {
    const first = start("run", "--key", "patience", "--", "sleep", "30");
    await waitFor(() => first.err.includes("holds patience"), { what: "the first has it" });
    const second = start("run", "--key", "patience", "--wait", "60s", "--", "echo", "never");
    await somebodyWaits(cluster);
    second.child.kill("SIGINT");
    expect(await second.end()).toMatchObject({ code: 130, out: "" });
    first.child.kill("SIGTERM");
    expect((await first.end()).code).toBe(128 + 15);
  }, 30_000);

  test("the lock is lost: SIGTERM before its validity ends, SIGKILL after the grace, its children too; exit code 74", async () => {
    const mine = await startFleet(3);
    try {
      const mark = join(folder, "grandchild");
      // Neither it nor what it started heeds SIGTERM.
      const script = `trap "" TERM; (trap "" TERM; while true; do date > ${mark}; sleep 0.05; done) & echo up; while true; do sleep 0.05; done`;
      const nodes = mine.urls.join(",");
      const args = ["--ttl", "2s", "--grace", "300ms", "--", "sh", "-c", script];
      const cli = new Cli(["run", "--key", "lost", "--nodes", nodes, ...args], {});
      running.push(cli);
      await waitFor(() => cli.out.includes("up") && existsSync(mark), { what: "it runs" });
      const began = performance.now();
      for (const node of mine.nodes.slice(0, 2)) await node.kill();
      const { code, err } = await cli.end();
      expect(code).toBe(74);
      expect(performance.now() - began).toBeLessThan(4_000);
      expect(err).toContain("not extended in time");
      const last = readFileSync(mark, "utf8");
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      expect(readFileSync(mark, "utf8")).toBe(last);
    } finally {
      await mine.stop();
    }
  }, 30_000);
});

describe("holdfast inspect, watch, release", () => {
  test("inspect: node by node, for people and for programs", async () => {
    await using locker = createLocker({ mode: "quorum", nodes: cluster.urls });
    await locker.ready();
    const lease = await locker.acquire("seen", { owner: "billing-7" });
    const { code, out } = await holdfast("inspect", "seen");
    expect(code).toBe(0);
    expect(out).toContain(`held by ${lease.holder} for`);
    for (const node of cluster.nodes) expect(out).toContain(`127.0.0.1:${node.port}`);
    // No terminal, no colours.
    expect(out).not.toContain("\u001b[");
    const seen = JSON.parse((await holdfast("inspect", "seen", "--json")).out) as { nodes: unknown[] };
    expect(seen).toMatchObject({ holder: lease.holder, fence: lease.fence });
    expect(seen.nodes).toHaveLength(3);
  });

  test("inspect: too few nodes answer: unknown, exit code 69", async () => {
    const { code, out } = await elsewhere(NOWHERE, "inspect", "a");
    expect([code, out]).toEqual([69, expect.stringContaining("unknown: too few nodes answered")]);
  });

  test("watch: a line at every change, until it is interrupted", async () => {
    await using locker = createLocker({ mode: "quorum", nodes: cluster.urls });
    await locker.ready();
    const cli = start("watch", "watched", "--every", "20ms");
    const plain = start("watch", "watched", "--every", "20ms", "--json");
    await waitFor(() => cli.out.includes("free") && plain.out !== "", { what: "it is free at first" });
    const lease = await locker.acquire("watched");
    const bothSay = (word: string, json: string) => cli.out.includes(word) && plain.out.includes(json);
    await waitFor(() => bothSay(`held by ${lease.holder}`, lease.holder), { what: "it was taken" });
    await lease.release();
    // Whole lines, and the key's holder: that of a node that was slower than the others may be null while it is held.
    const lines = () =>
      plain.out
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as { holder: string | null });
    const isFreeAgain = () => lines().at(-1)?.holder === null && cli.out.includes("released");
    await waitFor(isFreeAgain, { what: "it was given back" });
    for (const each of [cli, plain]) each.child.kill("SIGINT");
    expect((await cli.end()).code).toBe(130);
    await plain.end();
    expect(lines().map(({ holder }) => holder)).toEqual([null, lease.holder, null]);
  }, 30_000);

  test("release --force --yes: the lock is free, its holder is told, and the next fence is larger", async () => {
    await using locker = createLocker({ mode: "quorum", nodes: cluster.urls, ttlMs: 1_500 });
    await locker.ready();
    const lease = await locker.acquire("stuck", { autoExtend: true });
    const unasked = await holdfast("release", "stuck", "--force");
    expect([unasked.code, unasked.err]).toEqual([2, expect.stringContaining("say --yes")]);
    const { code, out } = await holdfast("release", "stuck", "--force", "--yes", "--json");
    expect([code, JSON.parse(out)]).toEqual([0, { key: "stuck", outcome: "released", holder: lease.holder }]);
    await waitFor(() => lease.signal.aborted, { what: "its holder is told" });
    expect((await locker.acquire("stuck")).fence).toBeGreaterThan(lease.fence);
    expect((await holdfast("release", "nobodys", "--force", "--yes")).out).toContain("free already");
  });

  test("release of a lock of another library", async () => {
    for (const node of cluster.nodes) await node.cli("SET", "foreign", "1b5a97", "PX", 60_000);
    expect((await holdfast("release", "foreign", "--force", "--yes")).code).toBe(0);
    for (const node of cluster.nodes) expect(await node.cli("GET", "foreign")).toBeNull();
  });
});

describe("holdfast init and doctor", () => {
  test("init ends the quarantine of a new fleet, when it is meant", async () => {
    const fresh = await startCluster(3);
    try {
      const nodes = ["--nodes", fresh.urls.join(",")];
      expect((await elsewhere({}, "init", ...nodes)).code).toBe(2);
      const { code, out } = await elsewhere({}, "init", "--yes", ...nodes);
      expect([code, out.match(/admitted/g)?.length]).toEqual([0, 3]);
      expect((await elsewhere({}, "run", "--key", "a", ...nodes, "--", "true")).code).toBe(0);
    } finally {
      await fresh.stop();
    }
  }, 30_000);

  test("doctor: a verdict for every check, and what to do", async () => {
    const patients = await startCluster(3);
    const [evicting, replica, dead] = patients.nodes;
    try {
      await evicting?.cli("CONFIG", "SET", "maxmemory", "100mb");
      await evicting?.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
      await replica?.cli("REPLICAOF", "127.0.0.1", "1");
      const nodes = ["--nodes", patients.urls.join(",")];
      const ill = await elsewhere({}, "doctor", ...nodes);
      expect(ill.code).toBe(1);
      expect(ill.out).toMatch(/FAIL +eviction +allkeys-lru/);
      expect(ill.out).toMatch(/FAIL +role +slave/);
      expect(ill.out).toContain("maxmemory-policy noeviction");
      const { out } = await elsewhere({}, "doctor", ...nodes, patients.urls[0] ?? "", "--json").catch(
        () => ill,
      );
      expect(out).toBe("");
      const plain = await elsewhere({}, "doctor", ...nodes, "--json");
      const { shards } = JSON.parse(plain.out) as {
        shards: { findings: { check: string; verdict: string }[] }[];
      };
      expect(
        shards[0]?.findings
          .filter(({ verdict }) => verdict === "bad")
          .map(({ check }) => check)
          .sort(),
      ).toEqual(["eviction", "role"]);
      await dead?.kill();
      await replica?.kill();
      const gone = await elsewhere({}, "doctor", ...nodes);
      expect([gone.code, gone.out]).toEqual([69, expect.stringContaining("ECONNREFUSED")]);
    } finally {
      await patients.stop();
    }
  }, 30_000);

  test("doctor: healthy nodes are well", async () => {
    const { code, out } = await holdfast("doctor");
    expect([code, out]).toEqual([0, expect.stringContaining("0 faults")]);
  });

  test("doctor: the same server under two names", async () => {
    const [url = ""] = cluster.urls;
    const { code, out } = await elsewhere(
      {},
      "doctor",
      "--nodes",
      `${url},${url.replace("127.0.0.1", "localhost")}`,
    );
    expect([code, out]).toEqual([1, expect.stringContaining("are the same server")]);
  });
});

test("holdfast bench and sim", async () => {
  const { code, out } = await holdfast("bench", "--at", "1,5", "--for", "200ms", "--json");
  const { runs } = JSON.parse(out) as { runs: { atOnce: number; perSecond: number; failed: number }[] };
  expect([code, runs.map(({ atOnce }) => atOnce)]).toEqual([0, [1, 5]]);
  for (const { perSecond, failed } of runs) expect([perSecond > 0, failed]).toEqual([true, 0]);
  const many = await elsewhere({}, "sim", "--seeds", "4", "--from", "1");
  expect([many.code, many.out]).toEqual([0, expect.stringContaining("No property was violated.")]);
  const one = await elsewhere({}, "sim", "--seed", "1");
  expect([one.code, one.out]).toEqual([0, expect.stringContaining("sha256 of the history")]);
}, 60_000);
