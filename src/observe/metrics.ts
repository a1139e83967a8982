/**
 * What is measured, once for all exporters: the metrics, and what each event of the library adds to them. Events are all it knows: what it
 * says of a lock is what the lock said itself.
 */
import type { HoldfastEvent } from "../events.ts";
import type { NodeReport } from "../errors.ts";

type Metric = {
  readonly help: string;
  readonly labels: readonly string[];
} & (
  | { readonly type: "counter" | "gauge" }
  /** `buckets`: upper bounds, in seconds. */
  | { readonly type: "histogram"; readonly buckets: readonly number[] }
);

export type MetricName =
  | "acquire_attempts_total"
  | "acquire_duration_seconds"
  | "clock_jumps_total"
  | "clock_rate"
  | "extension_duration_seconds"
  | "extensions_total"
  | "hold_duration_seconds"
  | "leases"
  | "loss_margin_seconds"
  | "losses_total"
  | "node_clock_skew_seconds"
  | "node_latency_seconds"
  | "node_state"
  | "node_votes_total"
  | "release_margin_seconds";

/** From a node around the corner to a wait of minutes. */
const DURATIONS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
];

/** Names as Prometheus has them; OpenTelemetry's are the same with dots. */
export const METRICS: Readonly<Record<MetricName, Metric>> = {
  acquire_duration_seconds: {
    type: "histogram",
    help: "From the call of acquire to its outcome, waiting included",
    labels: ["outcome"],
    buckets: DURATIONS,
  },
  acquire_attempts_total: {
    type: "counter",
    help: "Attempts made at the nodes to acquire",
    labels: ["outcome"],
  },
  leases: { type: "gauge", help: "Leases held now by the lockers that are observed", labels: [] },
  hold_duration_seconds: {
    type: "histogram",
    help: "From the lease to its release",
    labels: ["outcome"],
    buckets: DURATIONS,
  },
  release_margin_seconds: {
    type: "histogram",
    help: "Validity left when the release began; 0 where it had ended",
    labels: [],
    buckets: DURATIONS,
  },
  extensions_total: { type: "counter", help: "Extensions by what they came to", labels: ["outcome"] },
  extension_duration_seconds: {
    type: "histogram",
    help: "How long extensions took that succeeded",
    labels: [],
    buckets: DURATIONS,
  },
  losses_total: { type: "counter", help: "Leases lost before their release", labels: ["cause"] },
  loss_margin_seconds: {
    type: "histogram",
    help: "Validity left when a loss was signalled; 0 where it had already ended",
    labels: ["cause"],
    buckets: DURATIONS,
  },
  node_votes_total: {
    type: "counter",
    help: "What nodes said to the last attempt of an acquire, and to extensions that failed",
    labels: ["node", "verdict", "reason"],
  },
  node_latency_seconds: {
    type: "histogram",
    help: "From a question to a node to its answer",
    labels: ["node"],
    buckets: DURATIONS,
  },
  node_state: {
    type: "gauge",
    help: "1 for the state a node is in: connecting, unreachable, excluded, unadmitted, quarantined or admitted",
    labels: ["node", "state"],
  },
  node_clock_skew_seconds: {
    type: "gauge",
    help: "How far a node's clock is ahead of the median of the nodes",
    labels: ["node"],
  },
  clock_jumps_total: {
    type: "counter",
    help: "Forward jumps of this machine's clocks: suspends, and steps of the wall clock",
    labels: [],
  },
  clock_rate: {
    type: "gauge",
    help: "How fast the nodes' clocks run by this client's clock, where that is more than 1 % faster",
    labels: [],
  },
};

export interface Measure {
  readonly metric: MetricName;
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

const OUTCOMES: Readonly<Record<string, string>> = {
  ACQUIRE_TIMEOUT: "timeout",
  QUORUM_UNREACHABLE: "unreachable",
  QUEUE_FULL: "queue_full",
  LOCKER_CLOSED: "closed",
  CONTENDED: "contended",
  ABORTED: "aborted",
};

/** Turns events into measures. Remembers what gauges need: the state of every node, and which leases are held. */
export class Measurer {
  readonly #states = new Map<string, string>();
  readonly #held = new Set<string>();

  measure(event: HoldfastEvent): readonly Measure[] {
    switch (event.type) {
      case "acquired":
        this.#held.add(nameOf(event));
        return [...acquisition("acquired", event), this.#leases()];
      case "mixed-options":
        return [];
      case "acquire-failed":
        return acquisition(OUTCOMES[event.code] ?? "error", event);
      case "extended":
        return [
          measureOf("extensions_total", 1, { outcome: "renewed" }),
          measureOf("extension_duration_seconds", event.durationMs / 1_000),
        ];
      case "extension-failed":
        return [measureOf("extensions_total", 1, { outcome: event.outcome }), ...votes(event.nodes)];
      case "lost":
        this.#held.delete(nameOf(event));
        return [
          measureOf("losses_total", 1, { cause: event.cause }),
          measureOf("loss_margin_seconds", event.marginMs / 1_000, { cause: event.cause }),
          this.#leases(),
        ];
      case "released":
        this.#held.delete(nameOf(event));
        return [
          measureOf("hold_duration_seconds", event.heldMs / 1_000, { outcome: event.outcome }),
          measureOf("release_margin_seconds", event.remainingMs / 1_000),
          this.#leases(),
        ];
      case "node":
        return this.#nodeState(event.node, event.state);
      case "node-clock":
        return [measureOf("node_clock_skew_seconds", event.skewMs / 1_000, { node: event.node })];
      case "clock-jump":
        return [measureOf("clock_jumps_total", 1)];
      case "clock-rate":
        return [measureOf("clock_rate", event.rate)];
      case "clock-dropped":
        return [];
    }
  }

  #leases(): Measure {
    return measureOf("leases", this.#held.size);
  }

  #nodeState(node: string, state: string): Measure[] {
    const before = this.#states.get(node);
    this.#states.set(node, state);
    const left =
      before === undefined || before === state ? [] : [measureOf("node_state", 0, { node, state: before })];
    return [...left, measureOf("node_state", 1, { node, state })];
  }
}

/** Of a lease: keys and fence together are its own. */
export function nameOf({
  keys,
  fence,
}: {
  readonly keys: readonly string[];
  readonly fence: number;
}): string {
  return `${fence} ${keys.join(" ")}`;
}

function acquisition(
  outcome: string,
  { waitedMs, attempts, nodes }: { waitedMs: number; attempts: number; nodes: readonly NodeReport[] },
): Measure[] {
  return [
    measureOf("acquire_duration_seconds", waitedMs / 1_000, { outcome }),
    measureOf("acquire_attempts_total", attempts, { outcome }),
    ...votes(nodes),
  ];
}

function votes(nodes: readonly NodeReport[]): Measure[] {
  return nodes.flatMap(({ node, verdict, reason, latencyMs }) => [
    measureOf("node_votes_total", 1, { node, verdict, reason }),
    ...(latencyMs === undefined ? [] : [measureOf("node_latency_seconds", latencyMs / 1_000, { node })]),
  ]);
}

function measureOf(
  metric: MetricName,
  value: number,
  labels: Readonly<Record<string, string>> = {},
): Measure {
  return { metric, value, labels };
}
