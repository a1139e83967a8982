/** `holdfast/prometheus`: what the library tells of itself as metrics of prom-client. */
import { Counter, Gauge, Histogram, register as defaultRegister, type Registry } from "prom-client";

import type { Observer } from "../events.ts";
import { type Measure, Measurer, METRICS, type MetricName } from "./metrics.ts";

export interface PrometheusOptions {
  /** Where the metrics are registered; default prom-client's own. */
  readonly register?: Registry | undefined;
  /** Put before every name. Default `holdfast_`. */
  readonly prefix?: string | undefined;
}

/**
 * An observer that keeps metrics: give it to one locker or to all of a process. Throws what prom-client throws where a name is taken, so
 * make one for a register.
 */
export function prometheusObserver({
  register = defaultRegister,
  prefix = "holdfast_",
}: PrometheusOptions = {}): Observer {
  const names = Object.keys(METRICS) as MetricName[];
  const record = new Map(names.map((name) => [name, recorderOf(name, prefix + name, register)]));
  const measurer = new Measurer();
  return (event) => {
    for (const measure of measurer.measure(event)) record.get(measure.metric)?.(measure);
  };
}

type Recorder = (measure: Measure) => void;

function recorderOf(metric: MetricName, name: string, register: Registry): Recorder {
  const { help, labels, ...kind } = METRICS[metric];
  const common = { name, help, labelNames: [...labels], registers: [register] };
  switch (kind.type) {
    case "counter": {
      const counter = new Counter(common);
      return ({ labels: given, value }) => counter.inc(given, value);
    }
    case "gauge": {
      const gauge = new Gauge(common);
      return ({ labels: given, value }) => gauge.set(given, value);
    }
    case "histogram": {
      const histogram = new Histogram({ ...common, buckets: [...kind.buckets] });
      return ({ labels: given, value }) => histogram.observe(given, value);
    }
  }
}
