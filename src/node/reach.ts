/** How a server is reached: over ioredis, or over whatever client library an adapter stands for. */
import type { Clock } from "../clock/clock.ts";
import {
  type ClientAdapter,
  type Connection,
  type ConnectionEvents,
  type ConnectionTimes,
  type Dialler,
  isAdapter,
  type Listener,
  type ListenerEvents,
  type NodeInput,
  type Session,
} from "./connection.ts";
import { DialledConnection, DialledListener } from "./dialled-connection.ts";
import { IoredisDialler, prefixOf } from "./ioredis-dialler.ts";
import { argumentsOf } from "./resp.ts";

/** For requests, and for hearing notices on a channel. */
export interface Reach {
  connect(events: ConnectionEvents): Connection;
  listen(channel: string, events: ListenerEvents): Listener;
}

/** What stands before every key on this node because its client says so. */
export function keyPrefixOf(input: NodeInput): string {
  return isAdapter(input) ? (input.keyPrefix ?? "") : prefixOf(input);
}

export function reachOf(input: NodeInput, times: ConnectionTimes, clock: Clock): Reach {
  const dialler = isAdapter(input) ? adapted(input) : new IoredisDialler(input, clock);
  return {
    connect: (events) => new DialledConnection(dialler, times, clock, events),
    listen: (channel, events) => new DialledListener(dialler, channel, times, clock, events),
  };
}

/** An adapter knows nothing of calls that are in words already. */
function adapted(adapter: ClientAdapter): Dialler {
  return {
    name: adapter.name,
    keyPrefix: adapter.keyPrefix,
    open: async (terms): Promise<Session> => {
      const session = await adapter.open(terms);
      const send = async (args: readonly string[]): Promise<unknown> => session.send(args);
      return {
        send,
        subscribe: async (channel, heard) => session.subscribe(channel, heard),
        sendScript: (command, script, call, answered, failed) =>
          void send([command, script, ...argumentsOf(call)]).then(answered, failed),
      };
    },
  };
}
