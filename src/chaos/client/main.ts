/**
 * A client process of a scenario: one locker that works until it is told to stop. Its times are CLOCK_MONOTONIC, which is one clock for
 * all processes of a machine, and which no fake wall clock changes.
 */
import { createLocker } from "../../locker.ts";
import { resolveOptions } from "../../options/settings.ts";
import { Prng } from "../../sim/prng.ts";
import { monotonicMs } from "../machine/monotonic.ts";
import { serveClient } from "../machine/processes.ts";
import { sleep } from "../machine/wait-for.ts";
import { Ledger } from "./ledger.ts";
import { remoteResource } from "./resource.ts";
import type { ClientTerms } from "./terms.ts";
import { type Actor, doWork, giveBack, take } from "./work.ts";

const terms = JSON.parse(process.argv[2] ?? "{}") as ClientTerms;
const settings = resolveOptions(terms.locker);
const prng = new Prng(`${terms.seed}/${terms.name}/${terms.life}`);
const nameOf = (address: string): string => terms.nodeNames[address] ?? address;
let isOn = true;
let working: Promise<void> | undefined;

const tell = serveClient({
  ready: () => locker.ready(),
  init: () => locker.init(),
  begin(): void {
    working ??= doWork(terms.work, actor);
    // Whoever ends the work hears of it.
    working.catch(() => {});
  },
  async end(): Promise<void> {
    isOn = false;
    await working;
  },
  /** Takes the lock once, because nothing is broken any more. */
  async confirm(waitMs: unknown): Promise<boolean> {
    const got = await take(actor, { waitMs: Number(waitMs) }, true);
    if (got !== undefined) await giveBack(got, actor);
    return got !== undefined;
  },
  block: (ms: unknown) => block(Number(ms)),
  close: () => locker.close(),
});

const ledger = new Ledger({
  client: terms.name,
  life: terms.life,
  now: monotonicMs,
  record: (event) => tell("history", event),
  quorum: terms.quorum,
  ttlMs: settings.ttlMs,
  rules: settings,
  nameOf,
});

const locker = createLocker({
  ...terms.locker,
  observer: (event) => {
    if (event.type === "node") tell("node", { node: nameOf(event.node), state: event.state });
    else ledger.heard(event);
  },
});

const actor: Actor = {
  number: terms.number,
  locker,
  ledger,
  resource: remoteResource(terms.resource),
  key: terms.key,
  minValidityMs: settings.minValidityMs ?? settings.ttlMs / 10,
  sleep,
  random: () => prng.next(),
  isOn: () => isOn,
};

/** A section that never yields: no timer fires and no signal is heard meanwhile. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
