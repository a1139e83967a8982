/**
 * What the lock protects: a small HTTP service that keeps the largest fence it has seen and rejects writes with a smaller one. It
 * stands for a database row or an object store; the check is one comparison, and it is what stops a holder that does not know it has
 * lost its lock.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface FencedResource {
  readonly url: string;
  readonly value: () => string | undefined;
  close(): Promise<void>;
}

export async function startResource(): Promise<FencedResource> {
  let largestFence = 0;
  let value: string | undefined;
  const server = createServer((request, response) => {
    const fence = Number(request.headers["x-fence"]);
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      const isAccepted = fence >= largestFence;
      if (isAccepted) [largestFence, value] = [fence, body];
      response
        .writeHead(isAccepted ? 200 : 409)
        .end(isAccepted ? "stored" : `fence ${fence} is older than ${largestFence}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, value: () => value, close: () => closed(server) };
}

/** A write as a client does it: the fence travels with it. */
export async function write(
  url: string,
  fence: number,
  value: string,
): Promise<{ status: number; text: string }> {
  const response = await fetch(url, {
    method: "PUT",
    headers: { "x-fence": String(fence), connection: "close" },
    body: value,
  });
  return { status: response.status, text: await response.text() };
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
