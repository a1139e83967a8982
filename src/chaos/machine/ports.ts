/**
 * Ports for servers that die and come back. The obvious way, to listen on port 0, gives a port of the range from which the kernel also
 * takes the local ports of outgoing connections: while the server is dead, such a connection can occupy its port, and a client that
 * reconnects again and again will one day be connected to itself. So the ports come from below that range.
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

const FIRST = 12_000;
const END = 32_000;
const TRIES = 50;

export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = randomInt(FIRST, END);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port found between ${FIRST} and ${END} in ${TRIES} tries`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
