/** Which server the harness starts: the one named by HOLDFAST_REDIS_SERVER, or the first on PATH of redis-server and valkey-server. */
import { onPath } from "../machine/on-path.ts";

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
