/**
 * `holdfast/opentelemetry`: what the library tells of itself as spans and metrics of OpenTelemetry's API. Spans are made of events, after
 * the fact: an acquire has its caller's span as parent, and what happens to a lease is below the span of its hold.
 */
import {
  type Attributes,
  context,
  type MeterProvider,
  metrics,
  type Span,
  SpanStatusCode,
  trace,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";

import { wallMs } from "../clock/machine-clocks.ts";
import type { HoldfastEvent, Observer } from "../events.ts";
import { type Measure, Measurer, METRICS, type MetricName, nameOf } from "./metrics.ts";

export interface OpenTelemetryOptions {
  /** Default: the global ones. */
  readonly tracerProvider?: TracerProvider | undefined;
  readonly meterProvider?: MeterProvider | undefined;
}

/** An observer that makes spans and metrics: give it to one locker or to all of a process. */
export function openTelemetryObserver({
  tracerProvider = trace.getTracerProvider(),
  meterProvider = metrics.getMeterProvider(),
}: OpenTelemetryOptions = {}): Observer {
  const meter = meterProvider.getMeter("holdfast");
  const names = Object.keys(METRICS) as MetricName[];
  const record = new Map(names.map((name) => [name, recorderOf(name, meter)]));
  const measurer = new Measurer();
  const spans = new Spans(tracerProvider.getTracer("holdfast"));
  return (event) => {
    for (const measure of measurer.measure(event)) record.get(measure.metric)?.(measure);
    spans.hear(event);
  };
}

type Recorder = (measure: Measure) => void;

/** `holdfast_node_votes_total` is `holdfast.node.votes` here, by OpenTelemetry's customs; units are told apart. */
function recorderOf(metric: MetricName, meter: ReturnType<MeterProvider["getMeter"]>): Recorder {
  const { help: description, ...kind } = METRICS[metric];
  const name = `holdfast.${metric.replace(/_(seconds|total)$/, "").replaceAll("_", ".")}`;
  const options = metric.endsWith("_seconds") ? { description, unit: "s" } : { description };
  switch (kind.type) {
    case "counter": {
      const counter = meter.createCounter(name, options);
      return ({ value, labels }) => counter.add(value, labels);
    }
    case "gauge": {
      const gauge = meter.createGauge(name, options);
      return ({ value, labels }) => gauge.record(value, labels);
    }
    case "histogram": {
      const advice = { explicitBucketBoundaries: [...kind.buckets] };
      const histogram = meter.createHistogram(name, { ...options, advice });
      return ({ value, labels }) => histogram.record(value, labels);
    }
  }
}

/** Of leases that were never released, by the processes that lost them, the oldest are ended. */
const HOLDS_MAX = 100_000;

class Spans {
  readonly #tracer: Tracer;
  readonly #holds = new Map<string, Span>();

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  hear(event: HoldfastEvent): void {
    switch (event.type) {
      case "acquired":
        this.#passed("holdfast acquire", event.waitedMs, {
          ...leaseAttributes(event),
          "holdfast.attempts": event.attempts,
        });
        return this.#begin(event);
      case "acquire-failed": {
        const attributes = {
          "holdfast.keys": [...event.keys],
          "holdfast.attempts": event.attempts,
          "holdfast.code": event.code,
        };
        return this.#passed(
          "holdfast acquire",
          event.waitedMs,
          attributes,
          CONTENTION.has(event.code) ? undefined : event.code,
        );
      }
      case "extended":
        return this.#below(event, "holdfast extend", event.durationMs, {});
      case "extension-failed":
        return this.#below(event, "holdfast extend", 0, { "holdfast.outcome": event.outcome }, event.outcome);
      case "lost":
        return this.#lose(event);
      case "released":
        return this.#end(event);
      default:
        return undefined;
    }
  }

  #begin(event: HoldfastEvent & { type: "acquired" }): void {
    const [oldest] = this.#holds;
    if (this.#holds.size >= HOLDS_MAX && oldest !== undefined) {
      oldest[1].end();
      this.#holds.delete(oldest[0]);
    }
    this.#holds.set(
      nameOf(event),
      this.#tracer.startSpan("holdfast hold", { attributes: leaseAttributes(event) }),
    );
  }

  #lose(event: HoldfastEvent & { type: "lost" }): void {
    const hold = this.#holds.get(nameOf(event));
    hold?.addEvent("lost", { "holdfast.cause": event.cause, "holdfast.margin_ms": event.marginMs });
    hold?.setStatus({ code: SpanStatusCode.ERROR, message: `lost: ${event.cause}` });
  }

  #end(event: HoldfastEvent & { type: "released" }): void {
    const name = nameOf(event);
    const hold = this.#holds.get(name);
    this.#below(event, "holdfast release", event.durationMs, { "holdfast.outcome": event.outcome });
    hold?.setAttributes({ "holdfast.outcome": event.outcome, "holdfast.margin_ms": event.remainingMs });
    hold?.end();
    this.#holds.delete(name);
  }

  #below(
    lease: { readonly keys: readonly string[]; readonly fence: number },
    name: string,
    tookMs: number,
    attributes: Attributes,
    error?: string,
  ): void {
    const hold = this.#holds.get(nameOf(lease));
    const parent = hold === undefined ? context.active() : trace.setSpan(context.active(), hold);
    context.with(parent, () => this.#passed(name, tookMs, attributes, error));
  }

  /** A span of what has just ended. */
  #passed(name: string, tookMs: number, attributes: Attributes, error?: string): void {
    const endTime = wallMs();
    const span = this.#tracer.startSpan(name, { startTime: endTime - tookMs, attributes });
    if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
    span.end(endTime);
  }
}

/** Outcomes, and no errors. */
const CONTENTION: ReadonlySet<string> = new Set(["CONTENDED", "ABORTED"]);

function leaseAttributes(event: HoldfastEvent & { type: "acquired" }): Attributes {
  return { "holdfast.keys": [...event.keys], "holdfast.holder": event.holder, "holdfast.fence": event.fence };
}
