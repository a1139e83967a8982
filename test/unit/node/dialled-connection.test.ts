/** When a connection is dialled again, and what becomes of the session it had. */
import { expect, test } from "vitest";

import { VirtualClock } from "../../../src/clock/virtual-clock.ts";
import { ConnectionEndedError, type Session, type SessionTerms } from "../../../src/node/connection.ts";
import { DialledConnection } from "../../../src/node/dialled-connection.ts";

const CONNECT_TIMEOUT_MS = 100;

/** A server that is under the test's control: what is asked is answered when the test says so. */
class Server {
  dials: number[] = [];
  /** Why dials fail; undefined while they do not. */
  refuses: string | undefined;
  isHung = false;
  /** Of each session, whether it goes on. */
  readonly sessions: { readonly terms: SessionTerms; readonly answers: ((answer: string) => void)[] }[] = [];

  open(clock: VirtualClock, terms: SessionTerms): Promise<Session> {
    this.dials.push(clock.now());
    if (this.refuses !== undefined) return Promise.reject(new Error(this.refuses));
    if (this.isHung) return new Promise(() => {});
    const session = { terms, answers: [] as ((answer: string) => void)[] };
    this.sessions.push(session);
    return Promise.resolve({
      send: ([command]) =>
        command === "INFO"
          ? Promise.resolve("loading:0")
          : new Promise((resolve, reject) => {
              session.answers.push(resolve);
              terms.signal.addEventListener("abort", () => reject(new Error("aborted")));
            }),
      subscribe: () => Promise.resolve(),
      sendScript: () => {},
    });
  }

  get live(): number {
    return this.sessions.filter(({ terms }) => !terms.signal.aborted).length;
  }
}

function setUp(chance = 0) {
  const clock = new VirtualClock();
  const server = new Server();
  const heard: string[] = [];
  const connection = new DialledConnection(
    { name: "n1", open: (terms) => server.open(clock, terms) },
    { connectTimeoutMs: CONNECT_TIMEOUT_MS, silenceMs: 1_000, chance: () => chance },
    clock,
    { up: () => heard.push("up"), down: (detail) => heard.push(`down: ${detail}`) },
  );
  return { clock, server, heard, connection };
}

const gaps = ({ dials }: Server): number[] => dials.slice(1).map((at, index) => at - (dials[index] ?? 0));

test.each([
  [0, [50, 100, 150, 200], 1_000],
  [0.5, [37.5, 75, 112.5, 150], 750],
])("dials that fail come less and less often, and never end; chance %d", async (chance, first, last) => {
  const { clock, server, connection } = setUp(chance);
  server.refuses = "no";
  connection.open();
  await clock.advance(60_000);
  const found = gaps(server);
  expect(found.slice(0, 4)).toEqual(first);
  expect(found.at(-1)).toBe(last);
  expect(Math.max(...found)).toBe(last);
  expect(connection.lastError).toBe("no");
});

test("redialled for as long as it is asked for: less and less often; soon again after a quiet time", async () => {
  const { clock, server, connection } = setUp();
  connection.open();
  await clock.advance(10_000);
  const again = async (ms: number) => {
    for (let at = 0; at < ms; at += 10) {
      connection.redial("a replica");
      await clock.advance(10);
    }
  };
  await again(30_000);
  const found = gaps(server).slice(1);
  expect(found.slice(0, 3)).toEqual([100, 200, 400].map((ms) => expect.closeTo(ms, -2) as number));
  expect(found.at(-1)).toBeGreaterThanOrEqual(1_000);
  expect(server.live).toBe(1);
  await clock.advance(10_000);
  const last = server.dials.length;
  connection.redial("a replica");
  await clock.advance(51);
  expect(server.dials).toHaveLength(last + 1);
});

test("the new session first: what there is serves until then, and answers what it was asked", async () => {
  const { clock, server, heard, connection } = setUp();
  connection.open();
  await clock.advance(0);
  const asked = connection.call("GET", "a");
  server.refuses = "no route";
  connection.redial("a replica");
  await clock.advance(400);
  expect([connection.isReady, connection.session, heard]).toEqual([true, 1, ["up"]]);
  server.refuses = undefined;
  await clock.advance(200);
  expect([connection.session, heard, server.live]).toEqual([2, ["up", "up"], 2]);
  server.sessions[0]?.answers[0]?.("b");
  expect(await asked).toBe("b");
  expect(server.live).toBe(1);
});

test("a session that was replaced and never answers: given up after the time of silence", async () => {
  const { clock, server, connection } = setUp();
  connection.open();
  await clock.advance(0);
  const asked = connection.call("GET", "a").catch((error: unknown) => error);
  connection.redial("a replica");
  await clock.advance(60);
  expect(server.live).toBe(2);
  await clock.advance(1_000);
  expect(server.live).toBe(1);
  expect(await asked).toBeInstanceOf(ConnectionEndedError);
  expect(connection.isReady).toBe(true);
});

test("the session ends while its successor is dialled: down, and up with that one", async () => {
  const { clock, server, heard, connection } = setUp();
  connection.open();
  await clock.advance(0);
  connection.redial("a replica");
  server.sessions[0]?.terms.ended("it hung up");
  expect([connection.isReady, heard]).toEqual([false, ["up", "down: it hung up"]]);
  await clock.advance(50);
  expect([connection.isReady, heard.at(-1), server.dials.length]).toEqual([true, "up", 2]);
});

test("a dial that hangs is given up, and the next one made", async () => {
  const { clock, server, heard, connection } = setUp();
  server.isHung = true;
  connection.open();
  await clock.advance(2 * CONNECT_TIMEOUT_MS);
  expect(heard).toEqual(["down: connect timed out"]);
  server.isHung = false;
  await clock.advance(50);
  expect(connection.isReady).toBe(true);
});

test("closed: no dial, no session, whatever was under way", async () => {
  for (const ms of [0, 10, 49, 50, 55]) {
    const { clock, server, connection } = setUp();
    connection.open();
    await clock.advance(0);
    connection.redial("a replica");
    await clock.advance(ms);
    const closed = connection.close();
    const { length } = server.dials;
    await clock.advance(5_000);
    await closed;
    connection.redial("too late");
    await clock.advance(5_000);
    expect([server.live, server.dials.length], `${ms} ms`).toEqual([0, length]);
  }
});
