/**
 * Writes to PostgreSQL under a lock. A lock alone cannot stop the late write of a holder that was paused; the table can: it remembers the
 * largest fence it was written with, and refuses smaller ones.
 */
import { PGlite } from "@electric-sql/pglite"; // PostgreSQL in this process; `pg` takes the same SQL.

import { createLocker, loadConfig } from "holdfast";

const db = new PGlite();
await db.exec(`
  CREATE TABLE invoices (id int PRIMARY KEY, state text NOT NULL, fence bigint NOT NULL DEFAULT 0);
  INSERT INTO invoices (id, state) VALUES (42, 'open');
`);

/** 0 rows: somebody newer has written. Stop, and do not retry. */
async function setState(id: number, state: string, fence: number): Promise<void> {
  const { affectedRows } = await db.query(
    "UPDATE invoices SET state = $2, fence = $3 WHERE id = $1 AND fence <= $3",
    [id, state, fence],
  );
  if (affectedRows === 0) throw new Error(`invoice ${id}: written by a newer holder than fence ${fence}`);
}

const [alice, bob] = [
  createLocker({ ...loadConfig(), owner: "alice" }),
  createLocker({ ...loadConfig(), owner: "bob" }),
];

// Alice takes the lock, and is paused for longer than it lives: no extension, no release.
const late = await alice.acquire("invoice:42", { ttlMs: 1_000 });
// Bob gets it when it has expired, and charges.
await bob.using("invoice:42", { waitMs: 10_000 }, (lease) => setState(42, "charged", lease.fence));
// Alice wakes up and believes what she believed before.
await setState(42, "cancelled", late.fence).catch((error: Error) => console.log(`alice: ${error.message}`));

const { rows } = await db.query<{ state: string }>("SELECT state FROM invoices WHERE id = 42");
console.log(`the invoice is ${rows[0]?.state}`);
await Promise.all([alice.close(), bob.close()]);
await db.close();
