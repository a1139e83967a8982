/** A worker whose requests end with its lock: the signal of the lease goes into fetch, so that nothing goes on that must not. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { createLocker, LeaseLostError, loadConfig } from "holdfast";

// A service that takes its time.
const server = createServer((_, response) => void setTimeout(() => response.end("rendered"), 200)).listen(0);
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

await using locker = createLocker(loadConfig());

async function render(job: string, maxHoldMs: number): Promise<string> {
  try {
    return await locker.using(`render:${job}`, { maxHoldMs }, async (lease) => {
      const headers = { "x-fence": String(lease.fence) };
      const response = await fetch(url, { signal: lease.signal, headers });
      return response.text();
    });
  } catch (error) {
    if (error instanceof LeaseLostError) return `stopped: ${error.lossCause}`;
    throw error;
  }
}

console.log(await render("a", 10_000));
console.log(await render("b", 100)); // may have the lock for less than the request takes
server.close();
