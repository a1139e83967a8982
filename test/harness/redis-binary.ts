/** Which server the harness starts: the one named by HOLDFAST_REDIS_SERVER, or the first on PATH of redis-server and valkey-server. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export function findRedisServer(): string {
  const named = process.env["HOLDFAST_REDIS_SERVER"];
  if (named !== undefined && named !== "") return named;
  const found = onPath("redis-server") ?? onPath("valkey-server");
  if (found === undefined) {
    throw new Error(
      "no redis-server or valkey-server found: run `npm run setup`, install one (apt install redis-server, brew install redis), or name it in HOLDFAST_REDIS_SERVER",
    );
  }
  return found;
}

export function onPath(program: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
