/** Adopting a lease over a slow network: what is asked for of it holds there as in an acquire (S6), and a token that was too late is good again. */
import { expect, test } from "vitest";

import { proxied } from "../../src/chaos/network/proxy.ts";
import { createLocker, type Locker, type LockerOptions, QuorumUnreachableError } from "../../src/index.ts";
import { afterEachTest, serversFor } from "../harness/clean-up.ts";
import { failure } from "../harness/failure.ts";

const cleanUp = afterEachTest();
const servers = serversFor(cleanUp);
const SLOW_MS = 300;
const TERMS = { ttlMs: 2_000, nodeTimeoutMs: 900, clockWindowMs: 0 };

async function client(options: LockerOptions): Promise<Locker> {
  const locker = createLocker(options);
  cleanUp(() => locker.close({ withinMs: 0 }));
  await locker.init();
  await locker.ready();
  return locker;
}

test.each([
  ["single", 1],
  ["quorum", 3],
] as const)("%s mode: less validity left than was asked for is no lease", async (mode, size) => {
  const cluster = await servers(size);
  const proxies = await proxied(cluster);
  cleanUp(() => Promise.all(proxies.map((proxy) => proxy.close())));
  const near = await client({ mode, nodes: cluster.urls, ...TERMS });
  const far = await client({ mode, nodes: proxies.map(({ url }) => url), ...TERMS });
  const others = await client({ mode, nodes: cluster.urls, ...TERMS });
  const lease = await near.acquire("k");
  const token = await lease.detach();

  for (const proxy of proxies) proxy.delay(SLOW_MS, "down");
  // 1,828 ms of validity, and the answers take 300 of them.
  const error = await failure(far.adopt(token, { minValidityMs: 1_800 }));
  expect(error).toBeInstanceOf(QuorumUnreachableError);
  expect(error.message).toContain("too late to be of use");
  expect(await others.tryAcquire("k")).toBeUndefined();

  const adopted = await far.adopt(token, { minValidityMs: 1_000 });
  expect(adopted.remainingMs()).toBeGreaterThan(900);
  expect(adopted).toMatchObject({ fence: lease.fence, holder: lease.holder });
  await adopted.release();
});

test("the locker's own minValidityMs counts as well, and the signal of the call", async () => {
  const cluster = await servers(1);
  const [proxy] = await proxied(cluster);
  cleanUp(() => proxy?.close());
  const near = await client({ mode: "single", nodes: cluster.urls, ...TERMS });
  const options = { mode: "single", nodes: [proxy?.url ?? ""], ...TERMS } as const;
  const far = await client({ ...options, minValidityMs: 1_800 });
  const token = await (await near.acquire("k")).detach();
  proxy?.delay(SLOW_MS, "down");
  expect((await failure(far.adopt(token))).message).toContain("too late to be of use");

  const giver = new AbortController();
  const adopting = failure(far.adopt(token, { minValidityMs: 0, signal: giver.signal }));
  setTimeout(() => giver.abort(new Error("enough")), SLOW_MS / 2);
  expect((await adopting).message).toBe("enough");
  expect(far.leases()).toEqual([]);
});
