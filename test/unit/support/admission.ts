/** A server that says who it is, and its admission, for tests that are about something else. */
import type { AdmitRequest, ServerFacts } from "../../../src/node/node-state.ts";

/** `incarnation`: `run_id:master_replid`. */
export function serverOf(incarnation: string, more: Partial<ServerFacts> = {}): ServerFacts {
  const [runId = "", replicationId = ""] = incarnation.split(":");
  return { runId, replicationId, wasReplica: false, history: "0", evictedKeys: 0, ...more };
}

export function admissionOf(incarnation: string, more: Partial<AdmitRequest> = {}): AdmitRequest {
  return {
    incarnation,
    tauUs: 0,
    declared: undefined,
    notBeforeUs: 0,
    youngSinceUs: 0,
    staleAfterMs: 0,
    allowEviction: false,
    resetsFloor: false,
    options: "",
    ...more,
  };
}
