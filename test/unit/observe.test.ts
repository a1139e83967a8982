/** The dashboard and the alerts speak of metrics that there are, with labels that they have; and the docs of all of them. */
import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { Measurer, METRICS } from "../../src/observe/metrics.ts";

const NAMES = Object.keys(METRICS);

function read(name: string): string {
  return readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8");
}

test.each(["grafana-dashboard.json", "prometheus-alerts.yml"])(
  "%s names nothing that is not there",
  (name) => {
    const text = read(name);
    const named = [...new Set([...text.matchAll(/holdfast_(\w+)/g)].map(([, metric = ""]) => metric))];
    expect(named.length).toBeGreaterThan(5);
    for (const metric of named) expect(NAMES).toContain(metric.replace(/_(bucket|count|sum)$/, ""));
  },
);

test("the dashboard shows every metric, and the docs describe it", () => {
  const [dashboard, docs] = [read("grafana-dashboard.json"), read("observability.md")];
  for (const name of NAMES) {
    expect(dashboard, name).toContain(`holdfast_${name}`);
    expect(docs, name).toContain(`\`holdfast_${name}\``);
  }
});

test("every alert has its paragraph", () => {
  const docs = read("observability.md");
  const alerts = [...read("prometheus-alerts.yml").matchAll(/alert: (\w+)/g)].map(([, alert = ""]) => alert);
  expect(alerts.length).toBeGreaterThan(5);
  for (const alert of alerts) expect(docs).toContain(`**${alert}**`);
});

test("a lease that is lost and then released is counted out once", () => {
  const measurer = new Measurer();
  const lease = { keys: ["a"], fence: 7 };
  const leases = () => [
    measurer.measure({
      type: "acquired",
      ...lease,
      holder: "o#1",
      attempts: 1,
      waitedMs: 1,
      remainingMs: 9,
      nodes: [],
    }),
    measurer.measure({ type: "lost", ...lease, cause: "gone", marginMs: 0 }),
    measurer.measure({
      type: "released",
      ...lease,
      outcome: "expired",
      heldMs: 5,
      durationMs: 1,
      remainingMs: 0,
    }),
  ];
  const values = leases().map((all) => all.find(({ metric }) => metric === "leases")?.value);
  expect(values).toEqual([1, 0, 0]);
});

test("a node is in one state at a time", () => {
  const measurer = new Measurer();
  const node = (state: "connecting" | "admitted") =>
    measurer
      .measure({ type: "node", node: "n1", state, detail: "" })
      .map(({ value, labels }) => [labels["state"], value]);
  expect(node("connecting")).toEqual([["connecting", 1]]);
  expect(node("admitted")).toEqual([
    ["connecting", 0],
    ["admitted", 1],
  ]);
  expect(node("admitted")).toEqual([["admitted", 1]]);
});
