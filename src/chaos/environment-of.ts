/** Where a run took place, for whoever compares two of them. */
import { spawnSync } from "node:child_process";
import { cpus, release, type } from "node:os";

import { findRedisServer } from "./servers/redis-binary.ts";

export function environmentOf(): Record<string, string> {
  const processors = cpus();
  return {
    node: process.version,
    redis: redisVersion(),
    system: `${type()} ${release()}`,
    processors: `${processors.length} × ${processors[0]?.model ?? "unknown"}`,
  };
}

function redisVersion(): string {
  try {
    const { stdout } = spawnSync(findRedisServer(), ["--version"], { encoding: "utf8" });
    return /v=(\S+)/.exec(stdout)?.[1] ?? "unknown";
  } catch {
    return "none";
  }
}
