/**
 * What only an operator can mend: errors of servers, TLS and client libraries that come again however long somebody waits, and what is to
 * be done. Whatever may pass by itself is not here: a failover (READONLY, MASTERDOWN), a server that loads, is full or cannot be reached. Read
 * from the text, since that is all that every client library has. Pure.
 */

const REMEDIES: readonly (readonly [sign: RegExp, remedy: string])[] = [
  [
    /\bWRONGPASS\b|\binvalid (username-password|password)\b/i,
    "check the username and the password of this node",
  ],
  [/\bNOAUTH\b/, "this server wants a password: put it into the node's URL or options"],
  [/called without any password configured/, "this server has no password: leave it out of the node's URL"],
  [/\bNOPERM\b/, "give this user the rights that docs/operations.md lists"],
  [
    /\bself[- ]signed\b|\bcertificate\b|\bERR_TLS_CERT|\bCERT_|issuer|altnames?|unknown ca\b/i,
    "check the certificates of both sides, and the name this node is called by (tls: { ca, cert, key, servername })",
  ],
  [
    /wrong version number|packet length too long|http request/i,
    "this port speaks no TLS: give redis:// instead of rediss://",
  ],
  [
    /Unknown RESP type|Protocol error, got/,
    "something other than Redis answers at this address: check the host and the port",
  ],
  [/\bDB index is out of range\b|\binvalid DB index\b/i, "there is no such database on this server"],
  [
    /\bERR unknown command\b/,
    "a command this library needs is missing there, or was renamed: docs/operations.md lists all",
  ],
  [/\b(CROSSSLOT|MOVED|CLUSTERDOWN)\b/, "this server runs in cluster mode: give standalone servers"],
];

/** Of dials that another one may follow with more luck; they name the host, which may be called anything. */
const OF_A_DIAL = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)\b/;

/** What must be done about it, or undefined where it may pass by itself. */
export function remedyFor(detail: string): string | undefined {
  if (OF_A_DIAL.test(detail)) return undefined;
  return REMEDIES.find(([sign]) => sign.test(detail))?.[1];
}

/** The detail, and what must be done about it; the same for one that says so already. */
export function withRemedy(detail: string): string {
  const remedy = remedyFor(detail);
  return remedy === undefined || detail.includes(remedy) ? detail : `${detail}; ${remedy}`;
}
