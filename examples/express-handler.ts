/** A request handler under a lock: who comes second is told so at once, and who may not know is told that. */
import type { AddressInfo } from "node:net";

import express from "express";

import { createLocker, loadConfig } from "holdfast";

const locker = createLocker(loadConfig());
const app = express();

app.post("/invoices/:id/charge", async (request, response) => {
  const attempt = await locker.attempt(`invoice:${request.params.id}`, { autoExtend: true });
  if (attempt.outcome === "held") {
    const seconds = Math.ceil(attempt.remainingMs / 1_000);
    return void response
      .status(409)
      .set("retry-after", String(seconds))
      .json({ error: "being charged", by: attempt.owner });
  }
  if (attempt.outcome === "unknown") return void response.status(503).json({ error: "cannot be locked now" });
  await using lease = attempt.lease;
  await new Promise((resolve) => setTimeout(resolve, 100)); // The work: with lease.signal and lease.fence.
  response.json({ charged: request.params.id, fence: lease.fence > 0 });
});

const server = app.listen(0);
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/invoices/42/charge`;
const answers = await Promise.all([fetch(url, { method: "POST" }), fetch(url, { method: "POST" })]);
console.log(
  answers
    .map(({ status }) => status)
    .sort((a, b) => a - b)
    .join(" "),
);
server.close();
await locker.close();
