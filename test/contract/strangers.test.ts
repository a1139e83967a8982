/**
 * Async context decides nothing that it was not asked for: tasks of strangers that are run in the context of somebody else's body, as queues,
 * event emitters and batch loaders do, exclude each other and get their turn. In every mode.
 */
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import { EventEmitter } from "node:events";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { sleep } from "../../src/chaos/machine/wait-for.ts";
import { type Cluster, startCluster } from "../../src/chaos/servers/cluster.ts";
import { createLocker, type Locker, type LockerOptions } from "../../src/index.ts";

type Task = () => Promise<void>;

/** Runs the tasks that come later in the async context of the first, and hands that out to start them. */
const WAYS: Readonly<Record<string, () => (task: Task) => Promise<void>>> = {
  "a queue that starts the next task behind the last": () => {
    const waiting: (() => Promise<void>)[] = [];
    let isBusy = false;
    const next = async (): Promise<void> => {
      for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) void run();
      await Promise.resolve();
      isBusy = false;
    };
    return (task) =>
      new Promise((resolve, reject) => {
        waiting.push(() => task().then(resolve, reject));
        if (isBusy) return;
        isBusy = true;
        setTimeout(() => void next(), 20);
      });
  },
  "an event emitter": () => {
    const emitter = new EventEmitter();
    let emits: NodeJS.Timeout | undefined;
    return (task) =>
      new Promise((resolve, reject) => {
        emitter.once("tick", () => void task().then(resolve, reject));
        emits ??= setTimeout(() => emitter.emit("tick"), 20);
      });
  },
  "a batch loader": () => {
    let batch: Task[] | undefined;
    return (task) =>
      new Promise((resolve, reject) => {
        const own: Task = () => task().then(resolve, reject);
        if (batch !== undefined) return void batch.push(own);
        const all = (batch = [own]);
        setTimeout(() => all.forEach((each) => void each()), 20);
      });
  },
  "a resource that was made in the context": () => {
    let first: AsyncResource | undefined;
    return (task) => {
      first ??= new AsyncResource("pool");
      return first.runInAsyncScope(() => sleep(20).then(task));
    };
  },
  "a snapshot of the context": () => {
    let first: ReturnType<typeof AsyncLocalStorage.snapshot> | undefined;
    return (task) => (first ??= AsyncLocalStorage.snapshot())(() => sleep(20).then(task));
  },
};

const SETTINGS = [
  { name: "memory", servers: 0, mode: "memory" },
  { name: "single", servers: 1, mode: "single" },
  { name: "quorum of 3", servers: 3, mode: "quorum" },
] as const;

describe.each(SETTINGS)("$name", ({ name, servers, mode }) => {
  let cluster: Cluster;
  let locker: Locker;
  let tests = 0;

  beforeAll(async () => {
    cluster = await startCluster(servers);
    const nodes = mode === "memory" ? {} : { nodes: cluster.urls };
    locker = createLocker({ mode, nodeTimeoutMs: 1_000, ...nodes } as LockerOptions);
    await locker.init();
    await locker.ready();
  });
  afterAll(async () => {
    await locker.close({ withinMs: 0 });
    await cluster.stop();
  });

  describe.each(Object.entries(WAYS))("%s", (_, way) => {
    test("strangers with one key come one after the other, at any depth", async () => {
      const key = `strangers:${name}:${tests++}`;
      const later = way();
      const presence = new Presence();
      const stranger: Task = () => locker.using(key, () => presence.stay(60));
      const nested: Task = () => locker.using(`${key}:other`, stranger);
      await locker
        .using(key, async () => {
          const started = later(() => Promise.resolve());
          const others = [later(stranger), later(nested), later(stranger)];
          await started;
          await presence.stay(120);
          return { others };
        })
        .then(({ others }) => Promise.all(others));
      expect(presence.visits).toBe(4);
      expect(presence.most).toBe(1);
    });

    test("a stranger with some of the keys waits for them", async () => {
      const key = `strangers:${name}:${tests++}`;
      const later = way();
      const presence = new Presence();
      let other: Promise<void> = Promise.resolve();
      await locker.using([key, `${key}:more`], async () => {
        const started = later(() => Promise.resolve());
        other = later(() => locker.using([key, `${key}:unheld`], () => presence.stay(10)));
        await started;
        await presence.stay(120);
      });
      await other;
      expect([presence.visits, presence.most]).toEqual([2, 1]);
    });
  });
});

/** How many are inside at once. */
class Presence {
  most = 0;
  visits = 0;
  #inside = 0;

  async stay(ms: number): Promise<void> {
    this.visits++;
    this.most = Math.max(this.most, ++this.#inside);
    await sleep(ms);
    this.#inside--;
  }
}
