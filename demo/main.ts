/**
 * The main job on real servers: a quorum lock that outlives dead nodes, tells its holder in time when it cannot, and leaves behind a
 * fence that stops late writes. Five redis-server processes, two client processes, real kills. Exits with 0 only if every claim held.
 */
import { fileURLToPath } from "node:url";

import { createLocker } from "../src/index.ts";
import { type Cluster, startCluster } from "../src/chaos/servers/cluster.ts";
import { type ClientProcess, spawnClient } from "../src/chaos/machine/processes.ts";
import { waitFor } from "../src/chaos/machine/wait-for.ts";
import type { Attempt, HolderNews, NodeLine, Terms } from "./messages.ts";
import { type FencedResource, startResource } from "./resource.ts";
import { Timeline } from "./timeline.ts";

const KEY = "invoice:42";
const TTL_MS = 3_000;
/** Longer than the ttl, so that the empty node is still in quarantine when the holder's validity ends. */
const MAX_TTL_MS = 5_000;

interface Stage {
  readonly line: Timeline;
  readonly cluster: Cluster;
  readonly resource: FencedResource;
  readonly holder: ClientProcess;
  readonly contender: ClientProcess;
}

const isFine = await main();
process.exitCode = isFine ? 0 : 1;

async function main(): Promise<boolean> {
  const line = new Timeline();
  const cluster = await startCluster(5);
  const resource = await startResource();
  const clients: ClientProcess[] = [];
  try {
    line.say(
      "nodes",
      `five redis-servers on ports ${cluster.nodes.map(({ port }) => port).join(", ")}, without persistence`,
    );
    await declareNewFleet(cluster, line);
    const [holder, contender] = ["holder", "contender"].map((owner) =>
      startClient(owner, cluster, resource),
    ) as [ClientProcess, ClientProcess];
    clients.push(holder, contender);
    await Promise.all(clients.map((client) => client.call("ready")));
    const stage: Stage = { line, cluster, resource, holder, contender };
    const fence = await acquires(stage);
    await survivesTwoDeadNodes(stage);
    await refusesContender(stage);
    await countsNoEmptyNode(stage);
    await warnsInTime(stage);
    await goesToTheNext(stage, fence);
    await stopsLateWrites(stage);
    await Promise.all(clients.map((client) => client.call("close")));
  } finally {
    await Promise.all(clients.map((client) => client.kill()));
    await resource.close();
    await cluster.stop();
  }
  return line.finish();
}

async function declareNewFleet({ urls }: Cluster, line: Timeline): Promise<void> {
  await using locker = createLocker({ mode: "quorum", nodes: urls, ttlMs: TTL_MS, maxTtlMs: MAX_TTL_MS });
  await locker.init();
  line.say("operator", "declares that no lock is outstanding on these new nodes (init)\n");
}

function startClient(owner: string, { urls }: Cluster, resource: FencedResource): ClientProcess {
  const terms: Terms = {
    nodes: urls,
    key: KEY,
    owner,
    ttlMs: TTL_MS,
    maxTtlMs: MAX_TTL_MS,
    resource: resource.url,
  };
  return spawnClient(fileURLToPath(new URL("./client.js", import.meta.url)), [JSON.stringify(terms)]);
}

async function acquires({ line, holder }: Stage): Promise<number> {
  const attempt = (await holder.call("acquire", 1_000)) as Attempt;
  if (!("fence" in attempt))
    throw new Error(`the holder was refused on healthy nodes: ${JSON.stringify(attempt)}`);
  line.say(
    "holder",
    `acquires "${KEY}" in ${attempt.tookMs.toFixed(1)} ms: fence ${attempt.fence}, ${ms(attempt.remainingMs)} valid`,
  );
  line.claim(
    attempt.remainingMs > TTL_MS / 2,
    "a lock on five nodes, with more than half of its ttl as validity",
  );
  return attempt.fence;
}

async function survivesTwoDeadNodes({ line, cluster, holder }: Stage): Promise<void> {
  const before = (await holder.call("news")) as HolderNews;
  await Promise.all([cluster.nodes[0]?.kill(), cluster.nodes[1]?.kill()]);
  line.say("chaos", "kills nodes 1 and 2 (SIGKILL)");
  const news = await waitForNews(
    holder,
    ({ extensions }) => extensions >= before.extensions + 2,
    "two extensions with two nodes dead",
  );
  line.say(
    "holder",
    `was extended ${news.extensions - before.extensions} times since, ${ms(news.remainingMs)} valid`,
  );
  line.claim(
    news.isHeld && news.loss === undefined,
    "the lease goes on with two of five nodes dead, and so do its extensions",
  );
}

async function refusesContender({ line, contender }: Stage): Promise<void> {
  const attempt = (await contender.call("acquire", 300)) as Attempt;
  tellAttempt(line, attempt);
  const isNamed =
    "nodes" in attempt && attempt.nodes.some(({ holder }) => holder?.startsWith("holder#") === true);
  line.claim(isNamed, "a contender in another process is refused, and told by whom, node by node");
}

async function countsNoEmptyNode({ line, cluster, holder, contender }: Stage): Promise<void> {
  await cluster.nodes[0]?.restartEmpty();
  line.say("chaos", "node 1 comes back, with nothing in its memory");
  await waitFor(async () => ((await contender.call("nodes")) as NodeLine[])[0]?.state === "quarantined", {
    what: "the contender sees node 1 in quarantine",
  });
  const attempt = (await contender.call("acquire", 300)) as Attempt;
  tellAttempt(line, attempt);
  const empty = "nodes" in attempt ? attempt.nodes[0] : undefined;
  const news = (await holder.call("news")) as HolderNews;
  line.claim(
    empty?.reason === "quarantined" && news.isHeld,
    "the empty node has no vote while locks that it forgot may still be held",
  );
}

async function warnsInTime({ line, cluster, holder }: Stage): Promise<void> {
  await cluster.nodes[2]?.kill();
  line.say("chaos", "kills node 3: two nodes are left that know the lock, and three must");
  const { loss } = await waitForNews(holder, (news) => news.loss !== undefined, "the holder's signal aborts");
  line.say(
    "holder",
    `its signal aborts (${loss?.cause}), ${ms(loss?.marginMs ?? 0)} before its validity ends`,
  );
  line.claim((loss?.marginMs ?? 0) > 0, "the holder is told before its lock can be anybody else's");
}

async function goesToTheNext({ line, cluster, contender }: Stage, oldFence: number): Promise<void> {
  await Promise.all([cluster.nodes[1]?.restartEmpty(), cluster.nodes[2]?.restartEmpty()]);
  line.say("chaos", "nodes 2 and 3 come back, empty too");
  const attempt = (await contender.call("acquire", 20_000)) as Attempt;
  tellAttempt(line, attempt);
  const fence = "fence" in attempt ? attempt.fence : 0;
  line.claim(
    fence > oldFence,
    `when a quarantine ends the contender has the lock, with a larger fence (+${((fence - oldFence) / 1e6).toFixed(3)} s)`,
  );
}

async function stopsLateWrites({ line, resource, holder, contender }: Stage): Promise<void> {
  const fresh = (await contender.call("write", "written by the contender")) as {
    status: number;
    text: string;
  };
  line.say("contender", `writes with its fence: ${fresh.status} ${fresh.text}`);
  const late = (await holder.call("write", "written too late")) as { status: number; text: string };
  line.say("holder", `was asleep, and writes with its own: ${late.status} ${late.text}`);
  const isKept = resource.value() === "written by the contender";
  line.claim(
    fresh.status === 200 && late.status === 409 && isKept,
    "the resource rejects the old holder's write by its fence",
  );
  await contender.call("release");
}

function tellAttempt(line: Timeline, attempt: Attempt): void {
  if ("fence" in attempt) {
    line.say(
      "contender",
      `acquires after ${ms(attempt.tookMs)}: fence ${attempt.fence}, ${ms(attempt.remainingMs)} valid`,
    );
    return;
  }
  line.say("contender", `is refused after ${ms(attempt.tookMs)} (${attempt.code})`);
  for (const { node, detail } of attempt.nodes) line.detail(`${node}  ${detail}`);
}

async function waitForNews(
  client: ClientProcess,
  isIt: (news: HolderNews) => boolean,
  what: string,
): Promise<HolderNews> {
  let news = (await client.call("news")) as HolderNews;
  await waitFor(
    async () => {
      news = (await client.call("news")) as HolderNews;
      return isIt(news);
    },
    { what, timeoutMs: 15_000 },
  );
  return news;
}

function ms(duration: number): string {
  return `${Math.round(duration)} ms`;
}
