/**
 * One connection through the proxy: a socket to the client, one to the server, and a lane for each direction. The end of one socket
 * reaches the other only by its lane, so that behind a broken network neither side learns that the other has gone.
 */
import { connect, type Socket } from "node:net";

import { Lane, type LaneRules, type Parcel } from "./proxy-lane.ts";

export interface LinkTerms {
  readonly target: { readonly port: number; readonly host: string };
  readonly up: LaneRules;
  readonly down: LaneRules;
  /** Sees each request as it arrives from the client. */
  readonly onRequest: (bytes: Buffer, link: Link) => void;
  /** Sees what arrives from the server; true swallows it and resets the client. */
  readonly intercepts: (bytes: Buffer, link: Link) => boolean;
}

export class Link {
  readonly up: Lane;
  readonly down: Lane;
  readonly #client: Socket;
  readonly #server: Socket;

  constructor(client: Socket, terms: LinkTerms, onClosed: () => void) {
    this.#client = client.setNoDelay(true);
    this.#server = connect({ ...terms.target, noDelay: true, allowHalfOpen: true });
    this.up = new Lane(terms.up, (parcel) => toServer(this.#server, parcel));
    this.down = new Lane(terms.down, (parcel) => toClient(this.#client, parcel));
    client.on("data", (bytes) => {
      terms.onRequest(bytes, this);
      this.up.put(bytes);
    });
    this.#server.on("data", (bytes) => {
      if (terms.intercepts(bytes, this)) this.reset();
      else this.down.put(bytes);
    });
    carryEnd(client, this.up);
    carryEnd(this.#server, this.down);
    const check = (): void => {
      if (client.closed && this.#server.closed) onClosed();
    };
    client.on("close", check);
    this.#server.on("close", check);
  }

  /** The client sees a reset; what has reached the server is executed all the same. */
  reset(): void {
    this.up.clear();
    this.down.clear();
    this.#client.resetAndDestroy();
    this.#server.destroySoon();
  }

  /** Without regard for what is on its way. */
  destroy(): void {
    this.up.clear();
    this.down.clear();
    this.#client.destroy();
    this.#server.destroy();
  }
}

function carryEnd(from: Socket, lane: Lane): void {
  // "close" follows, and "gone" with it.
  from.on("error", () => {});
  from.on("end", () => lane.put("end"));
  from.on("close", () => lane.put("gone"));
}

function toServer(server: Socket, parcel: Parcel): void {
  if (server.destroyed) return;
  if (parcel === "end") server.end();
  // Not a reset: it could overtake the bytes before it.
  else if (parcel === "gone") server.destroySoon();
  else if (server.writable) server.write(parcel);
}

function toClient(client: Socket, parcel: Parcel): void {
  if (client.destroyed) return;
  if (parcel === "end") client.end();
  else if (parcel === "gone") goneForClient(client);
  else if (client.writable) client.write(parcel);
}

/** After an orderly end nothing is left to be said; otherwise the server was not there, or not any more. */
function goneForClient(client: Socket): void {
  if (client.writableEnded) client.destroySoon();
  else client.resetAndDestroy();
}
