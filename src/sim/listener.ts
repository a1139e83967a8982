/** A connection of a simulated process on which it hears notices: subscribed anew whenever it is dialled again. */
import type { Clock } from "../clock/clock.ts";
import type { ConnectionTimes, Listener, ListenerEvents } from "../node/connection.ts";
import { type Place, SimConnection } from "./connection.ts";

export class SimListener implements Listener {
  readonly #connection: SimConnection;
  #isListening = false;

  constructor(place: Place, channel: string, times: ConnectionTimes, clock: Clock, events: ListenerEvents) {
    this.#connection = new SimConnection(
      place,
      times,
      clock,
      {
        up: () =>
          void this.#connection.call("SUBSCRIBE", channel).then(
            () => {
              this.#isListening = true;
              events.ready();
            },
            () => {}, // The connection ended; the next one subscribes again.
          ),
        down: () => (this.#isListening = false),
      },
      (message) => events.heard(message),
    );
    this.#connection.open();
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  renew(): void {
    this.break("given up");
  }

  close(): Promise<void> {
    this.#isListening = false;
    return this.#connection.close();
  }

  /** The connection is lost, and dialled again. */
  break(detail: string): void {
    this.#connection.break(detail);
  }

  /** Its process was killed. */
  abandon(): void {
    this.#connection.abandon();
  }
}
