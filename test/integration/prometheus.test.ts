/** The metrics as a real Prometheus server sees them. Not run where there is none (Debian: `apt-get install prometheus`). */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";

import { onPath } from "../../src/chaos/machine/on-path.ts";
import { freePort } from "../../src/chaos/machine/ports.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { createLocker } from "../../src/index.ts";
import { prometheusObserver } from "../../src/observe/prometheus.ts";

const ALERTS = fileURLToPath(new URL("../../docs/prometheus-alerts.yml", import.meta.url));
const isThere = onPath("prometheus") !== undefined && onPath("promtool") !== undefined;

describe.skipIf(!isThere)(
  `a Prometheus server${isThere ? "" : " (not run: prometheus and promtool are not installed here)"}`,
  () => {
    test("takes the alert rules", async () => {
      const { stdout } = await promisify(execFile)("promtool", ["check", "rules", ALERTS]);
      expect(stdout).toMatch(/SUCCESS: \d+ rules found/);
    });

    test("scrapes the metrics, answers queries on them, and evaluates every alert", async () => {
      const register = new Registry();
      await using locker = createLocker({ mode: "memory", observer: prometheusObserver({ register }) });
      for (let i = 0; i < 3; i++) await locker.using("report", () => {});
      const endpoint = createServer((_, response) => {
        void register
          .metrics()
          .then((text) => response.setHeader("content-type", register.contentType).end(text));
      }).listen(0, "127.0.0.1");
      await once(endpoint, "listening");
      const folder = mkdtempSync(join(tmpdir(), "holdfast-prometheus-"));
      const [port, target] = [await freePort(), (endpoint.address() as AddressInfo).port];
      writeFileSync(
        join(folder, "prometheus.yml"),
        `global: {scrape_interval: 200ms, evaluation_interval: 200ms}
rule_files: [${JSON.stringify(ALERTS)}]
scrape_configs: [{job_name: locks, static_configs: [{targets: ["127.0.0.1:${target}"]}]}]
`,
      );
      const server = spawn(
        "prometheus",
        [
          `--config.file=${join(folder, "prometheus.yml")}`,
          `--storage.tsdb.path=${join(folder, "data")}`,
          `--web.listen-address=127.0.0.1:${port}`,
        ],
        { stdio: "ignore" },
      );
      try {
        const ask = async (path: string): Promise<unknown> => {
          const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`).catch(() => undefined);
          return response?.ok === true ? ((await response.json()) as { data: unknown }).data : undefined;
        };
        const query = 'sum(holdfast_acquire_duration_seconds_count{outcome="acquired",job="locks"})';
        const value = async (): Promise<string | undefined> => {
          const data = (await ask(`query?query=${encodeURIComponent(query)}`)) as
            { result: { value: [number, string] }[] } | undefined;
          return data?.result[0]?.value[1];
        };
        await waitFor(async () => (await value()) === "3", {
          what: "the metrics are scraped",
          timeoutMs: 30_000,
        });
        type Rules = { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
        const rules = async () =>
          ((await ask("rules")) as Rules | undefined)?.groups.flatMap((group) => group.rules) ?? [];
        await waitFor(async () => (await rules()).every(({ health }) => health !== "unknown"), {
          what: "the alerts are evaluated",
          timeoutMs: 30_000,
        });
        const written = readFileSync(ALERTS, "utf8").match(/alert: /g)?.length;
        const evaluated = await rules();
        expect(evaluated).toHaveLength(written ?? 0);
        for (const { name, health, lastError } of evaluated)
          expect(health, `${name}: ${lastError}`).toBe("ok");
      } finally {
        server.kill("SIGKILL");
        await once(server, "exit");
        endpoint.close();
        rmSync(folder, { recursive: true });
      }
    });
  },
);
