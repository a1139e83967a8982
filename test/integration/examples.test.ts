/** The programs of examples/, as they are, on real servers; and what they are to show. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { PGlite } from "@electric-sql/pglite";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { Cluster } from "../../src/chaos/servers/cluster.ts";
import { startFleet } from "../harness/fleet.ts";
import { runProgram } from "../harness/program.ts";

const folder = fileURLToPath(new URL("../../examples/", import.meta.url));

/** What each writes. */
const SHOWN: Readonly<Record<string, RegExp>> = {
  "cron-once.ts": /^(?=[\s\S]*did it)(?![\s\S]*did it[\s\S]*did it)[\s\S]*web-4: was done before\n$/,
  "express-handler.ts": /^200 409\n$/,
  "leader-election.ts": /^[23] leaders in 6 terms, fences grow\n$/,
  "postgres-fencing.ts":
    /^alice: invoice 42: written by a newer holder than fence \d+\nthe invoice is charged\n$/,
  "worker-fetch.ts": /^rendered\nstopped: max-hold\n$/,
};

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startFleet(3);
});
afterAll(() => cluster.stop());

test("all of them are here", () => {
  expect(readdirSync(folder).filter((name) => name.endsWith(".ts"))).toEqual(Object.keys(SHOWN));
});

test.each(Object.entries(SHOWN))("%s", async (name, expected) => {
  const env = { HOLDFAST_MODE: "quorum", HOLDFAST_NODES: cluster.urls.join(",") };
  expect(await runProgram(readFileSync(folder + name, "utf8"), env)).toMatch(expected);
});

test("the SQL of docs/safety.md refuses old fences", async () => {
  const page = readFileSync(new URL("../../docs/safety.md", import.meta.url), "utf8");
  const [, sql = ""] = /```sql\n([\s\S]*?)```/.exec(page) ?? [];
  const db = new PGlite();
  await db.exec(
    "CREATE TABLE invoices (id int, state text, fence bigint); INSERT INTO invoices VALUES (1, 'open', 0)",
  );
  const write = async (fence: number) =>
    (await db.query(sql.replaceAll("$fence", String(fence)).replaceAll("$id", "1"))).affectedRows;
  expect([await write(7), await write(7), await write(6), await write(8), await write(7)]).toEqual([
    1, 1, 0, 1, 0,
  ]);
  await db.close();
});
