/** A few clients and servers on a virtual clock and a network in which everything takes the same time: for stories about waiting. */
import { type Client, Simulation, type SimLockerOptions } from "../../../src/sim/index.ts";

export const TTL_MS = 2_000;
export const ONE_WAY_MS = 0.2;
export const ROUND_TRIP_MS = 2 * ONE_WAY_MS;
export const NODE_TIMEOUT_MS = TTL_MS / 20;

export interface World {
  readonly simulation: Simulation;
  readonly clients: readonly Client[];
  /** Requests that reached the locks of servers, by kind and outcome. */
  readonly votes: Map<string, number>;
  now(): number;
}

/** As many clients as names, ready, on servers that all answer in the same time. */
export async function world(names: string, options: SimLockerOptions = {}, nodes = 5): Promise<World> {
  const simulation = new Simulation({ seed: names, nodes });
  simulation.network.weather = { delayMsMin: ONE_WAY_MS, delayMsMax: ONE_WAY_MS, stormChance: 0, stormMs: 0 };
  const clients = names.split(" ").map((name) => simulation.start(name, { ttlMs: TTL_MS, ...options }));
  const [first] = clients;
  if (first !== undefined) await simulation.run(first.locker.init());
  await simulation.run(Promise.all(clients.map(({ locker }) => locker.ready())));
  const votes = new Map<string, number>();
  for (const server of simulation.servers) {
    server.executed = ({ request, vote }) => {
      const word = `${request.op} ${vote.kind === "refused" ? vote.reason : vote.kind}`;
      votes.set(word, (votes.get(word) ?? 0) + 1);
    };
  }
  return { simulation, clients, votes, now: () => simulation.clock.now() };
}

export function client({ clients }: World, index: number): Client {
  const found = clients[index];
  if (found === undefined) throw new RangeError(`there is no client ${index}`);
  return found;
}

export async function timed<T>(here: World, work: Promise<T>): Promise<{ value: T; tookMs: number }> {
  const began = here.now();
  const value = await here.simulation.run(work);
  return { value, tookMs: here.now() - began };
}

export function reasonOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}
