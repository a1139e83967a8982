/** How a server is reached: over ioredis, or over whatever client library an adapter stands for. */
import type { Clock } from "../clock/clock.ts";
import { AdaptedConnection, AdaptedListener } from "./adapted-connection.ts";
import {
  type Connection,
  type ConnectionEvents,
  type ConnectionTimes,
  isAdapter,
  type Listener,
  type ListenerEvents,
  type NodeInput,
} from "./connection.ts";
import { IoredisConnection, IoredisListener, prefixOf } from "./ioredis-connection.ts";

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
  return isAdapter(input)
    ? {
        connect: (events) => new AdaptedConnection(input, times, clock, events),
        listen: (channel, events) => new AdaptedListener(input, channel, times, clock, events),
      }
    : {
        connect: (events) => new IoredisConnection(input, times, clock, events),
        listen: (channel, events) => new IoredisListener(input, channel, times, events),
      };
}
