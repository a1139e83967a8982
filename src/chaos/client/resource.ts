/**
 * What the lock of a scenario protects, in the process that runs the scenario: a store that refuses fences smaller than the largest it
 * has seen (S4), and a number that anybody may read and set, fence or no fence.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { Operation } from "../../history/history.ts";
import type { Resource } from "./work.ts";

export interface Write {
  readonly op: Operation;
  readonly key: string;
  readonly fence: number;
}

/** The rules, without a network. */
export class ResourceState implements Resource {
  readonly #largest = new Map<string, number>();
  readonly #numbers = new Map<string, number>();
  readonly #written: (write: Write, isStored: boolean) => void;

  constructor(written: (write: Write, isStored: boolean) => void) {
    this.#written = written;
  }

  write(write: Write): Promise<boolean> {
    const isStored = write.fence >= (this.#largest.get(write.key) ?? 0);
    if (isStored) this.#largest.set(write.key, write.fence);
    this.#written(write, isStored);
    return Promise.resolve(isStored);
  }

  read(key: string): Promise<number> {
    return Promise.resolve(this.#numbers.get(key) ?? 0);
  }

  set(key: string, value: number): Promise<void> {
    this.#numbers.set(key, value);
    return Promise.resolve();
  }
}

export interface ResourceServer {
  readonly url: string;
  close(): void;
}

type Call = { readonly do: "write"; readonly write: Write } | Read | Set;
interface Read {
  readonly do: "read";
  readonly key: string;
}
interface Set {
  readonly do: "set";
  readonly key: string;
  readonly value: number;
}

export async function serveResource(resource: Resource): Promise<ResourceServer> {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      answer(resource, body).then(
        (value) => response.end(JSON.stringify({ value })),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, close: () => end(server) };
}

function answer(resource: Resource, body: string): Promise<unknown> {
  const call = JSON.parse(body) as Call;
  switch (call.do) {
    case "write":
      return resource.write(call.write);
    case "read":
      return resource.read(call.key);
    case "set":
      return resource.set(call.key, call.value);
  }
}

/** Clients that are stopped keep their connections. */
function end(server: Server): void {
  server.close();
  server.closeAllConnections();
}

/** The resource as a client process sees it. */
export function remoteResource(url: string): Resource {
  const call = async (question: Call): Promise<unknown> => {
    const response = await fetch(url, { method: "POST", body: JSON.stringify(question) });
    if (!response.ok) throw new Error(`the resource failed: ${await response.text()}`);
    return ((await response.json()) as { value: unknown }).value;
  };
  return {
    write: async (write) => (await call({ do: "write", write })) === true,
    read: async (key) => Number(await call({ do: "read", key })),
    set: async (key, value) => void (await call({ do: "set", key, value })),
  };
}
