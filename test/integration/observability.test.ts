/** Metrics and spans of real locks on real nodes, by the real packages. */
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { waitFor } from "../../src/chaos/machine/wait-for.ts";
import { createLocker, type Observer } from "../../src/index.ts";
import { METRICS } from "../../src/observe/metrics.ts";
import { openTelemetryObserver } from "../../src/observe/opentelemetry.ts";
import { prometheusObserver } from "../../src/observe/prometheus.ts";
import { failure } from "../harness/failure.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(3);
});
afterAll(() => cluster.stop());

/** A little of everything: two leases, one lost, a contender, an extension, a node that dies. */
async function everything(observer: Observer): Promise<void> {
  await using locker = createLocker({
    mode: "quorum",
    nodes: cluster.urls,
    ttlMs: 1_000,
    observer,
    clockWindowMs: 50,
  });
  await using other = createLocker({ mode: "quorum", nodes: cluster.urls, ttlMs: 1_000, clockWindowMs: 50 });
  await locker.init();
  await Promise.all([locker.ready(), other.ready()]);
  const lease = await locker.acquire("a");
  await lease.extend();
  await lease.release();
  const theirs = await other.acquire("a");
  expect(await locker.tryAcquire("a")).toBeUndefined();
  await failure(locker.acquire("a", { waitMs: 50 }));
  await theirs.release();
  const lost = await locker.acquire("a", { autoExtend: true });
  for (const node of cluster.nodes) await node.cli("DEL", "a");
  await waitFor(() => lost.signal.aborted, { what: "the loss is told" });
  await lost.release();
  await cluster.nodes[0]?.kill();
  await waitFor(() => locker.nodes()[0]?.state === "unreachable", { what: "the node is missed" });
  await cluster.nodes[0]?.restartEmpty();
}

test("prometheus: every metric, with the values of what happened", async () => {
  const register = new Registry();
  await everything(prometheusObserver({ register }));
  const text = await register.metrics();
  for (const name of Object.keys(METRICS)) expect(text).toContain(`# TYPE holdfast_${name} `);
  const value = (line: string): number | undefined => {
    const found = text.split("\n").find((each) => each.startsWith(`holdfast_${line} `));
    return found === undefined ? undefined : Number(found.slice(found.lastIndexOf(" ")));
  };
  expect(value('acquire_duration_seconds_count{outcome="acquired"}')).toBe(2);
  expect(value('acquire_duration_seconds_count{outcome="contended"}')).toBe(1);
  expect(value('acquire_duration_seconds_count{outcome="timeout"}')).toBe(1);
  expect(value('extensions_total{outcome="renewed"}')).toBeGreaterThanOrEqual(1);
  expect(value('losses_total{cause="gone"}')).toBe(1);
  expect(value('hold_duration_seconds_count{outcome="released"}')).toBe(2);
  expect(value("release_margin_seconds_count")).toBe(2);
  expect(value("leases")).toBe(0);
  const [first] = cluster.nodes;
  const node = `127.0.0.1:${first?.port}`;
  expect(value(`node_votes_total{node="${node}",verdict="refused",reason="held"}`)).toBeGreaterThanOrEqual(1);
  expect(value(`node_latency_seconds_count{node="${node}"}`)).toBeGreaterThanOrEqual(1);
  expect(value(`node_state{node="${node}",state="admitted"}`)).toBe(0);
  expect(value(`node_clock_skew_seconds{node="${node}"}`)).toBeLessThan(0.05);
});

test("opentelemetry: spans below the caller's, holds with what happened to them, and the same metrics", async () => {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({
    exporter: metricExporter,
    exportIntervalMillis: 3_600_000,
  });
  const meterProvider = new MeterProvider({ readers: [reader] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const caller = tracerProvider.getTracer("test").startSpan("request");
  await context.with(trace.setSpan(context.active(), caller), () =>
    everything(openTelemetryObserver({ tracerProvider, meterProvider })),
  );
  caller.end();
  const spans = exporter.getFinishedSpans();
  const named = (name: string) => spans.filter((span) => span.name === name);
  expect(named("holdfast acquire")).toHaveLength(4);
  for (const span of named("holdfast acquire")) {
    expect(span.parentSpanContext?.spanId).toBe(caller.spanContext().spanId);
    expect(span.duration[0] * 1e9 + span.duration[1]).toBeGreaterThan(0);
  }
  const holds = named("holdfast hold");
  expect(holds).toHaveLength(2);
  expect(holds[1]?.status).toMatchObject({ message: "lost: gone" });
  expect(holds[1]?.events.map(({ name }) => name)).toContain("lost");
  const below = [...named("holdfast extend"), ...named("holdfast release")];
  expect(below.length).toBeGreaterThanOrEqual(3);
  const holdIds = holds.map((span) => span.spanContext().spanId);
  for (const span of below) expect(holdIds).toContain(span.parentSpanContext?.spanId);
  await reader.forceFlush();
  const metrics = metricExporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
  const names = metrics.map(({ descriptor }) => descriptor.name);
  for (const name of [
    "holdfast.acquire.duration",
    "holdfast.leases",
    "holdfast.losses",
    "holdfast.node.votes",
    "holdfast.node.state",
  ])
    expect(names).toContain(name);
  await meterProvider.shutdown();
  context.disable();
});

test("an observer that throws harms no lock", async () => {
  await using locker = createLocker({
    mode: "memory",
    observer: () => {
      throw new Error("no disk space");
    },
  });
  await locker.using("a", (lease) => expect(lease.isHeld()).toBe(true));
});
