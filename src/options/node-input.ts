/**
 * What is handed in as a node, looked at before anything is dialled. Where a client library gets options without an address, it dials
 * localhost:6379, and a Redis there in every container would be a lock for each: whatever names no address, or is no client this library
 * can duplicate, is refused with what it is and how to wrap it. Values are never shown, since they may be secrets.
 */
import { shown } from "../errors.ts";
import { didYouMean } from "./suggestion.ts";

/** What ioredis knows, 5 and 6; other names would have no effect. First what says where a server is, and who asks. */
const KNOWN: ReadonlySet<string> = new Set(
  [
    "host port path family db username password credentials tls connectionName keyPrefix keepAlive noDelay Connector",
    "sentinels name role sentinelUsername sentinelPassword sentinelTLS enableTLSForSentinelMode natMap updateSentinels",
    "sentinelRetryStrategy sentinelReconnectStrategy sentinelCommandTimeout sentinelMaxConnections failoverDetector preferredSlaves",
    // Set by this library, or without effect here; options that are shared with other code may have them.
    "retryStrategy reconnectOnError connectTimeout disconnectTimeout commandTimeout socketTimeout blockingTimeout",
    "blockingTimeoutGrace disableClientInfo clientInfoTag autoResubscribe autoResendUnfulfilledCommands readOnly",
    "stringNumbers protocol replyMapping monitor maxRetriesPerRequest maxLoadingRetryTime enableAutoPipelining",
    "autoPipeliningIgnoredCommands offlineQueue commandQueue enableOfflineQueue enableReadyCheck lazyConnect scripts",
    "himportFieldsets showFriendlyErrorStack",
  ].flatMap((names) => names.split(" ")),
);

const CLUSTER =
  "a Redis Cluster client is not a node. A cluster spreads keys over servers that fail over to replicas, so its nodes are neither " +
  "independent nor one; give standalone servers (or one master behind Sentinel) instead";

/** Names from other libraries, and what they are here. */
const INSTEAD: Readonly<Record<string, string>> = {
  url: "give the URL itself, as text: nodes: [url]",
  uri: "give the URL itself, as text: nodes: [uri]",
  href: "give the URL itself, as text: nodes: [href]",
  socket: "these are options of node-redis; give nodeRedis(createClient(options)) from holdfast/node-redis",
  database: "did you mean db?",
  hostname: "did you mean host?",
  address: "did you mean host?",
  user: "did you mean username?",
  auth: "did you mean password?",
  pass: "did you mean password?",
  ssl: "did you mean tls?",
  clusterRetryStrategy: CLUSTER,
  startupNodes: CLUSTER,
  rootNodes: CLUSTER,
  nodes: "give each of these as a node of its own",
};

/** What is wrong with a node that was given, as the end of a sentence that says what it must be; undefined where nothing is. */
export function faultOfNode(node: unknown): string | undefined {
  if (typeof node === "string") return faultOfUrl(node);
  const foreign = foreignKind(node);
  if (foreign !== undefined) return `${foreign.kind}: ${foreign.asNode}`;
  if (typeof node !== "object" || node === null) return shown(node);
  if (isIoredisClient(node)) return undefined;
  return isMethod(node, "open") ? faultOfAdapter(node) : faultOfOptions(node);
}

/** A node's URL without what may be a secret. */
function withoutSecrets(url: string): string {
  const isParsed = URL.canParse(url);
  if (!isParsed && url.includes("@") && url.includes("?")) return "***";
  // In what is no URL, all before the last @ may be a password, and so may a third field of host:port:password.
  const [address = ""] = isParsed ? url.split(/[?#]/) : [url.replace(/\?.*$/s, "?***")];
  const named = address.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1***@");
  return named.includes("://") || named.includes("@") ? named : named.replace(/^([^:]*:[^:]*:).+$/s, "$1***");
}

function faultOfUrl(text: string): string | undefined {
  const given = JSON.stringify(withoutSecrets(text));
  if (/^\/[^/]/.test(text) || /^unix:\/\/\/./.test(text)) return undefined;
  if (text.includes(",")) return `${given}: give each URL as a node of its own`;
  if (!/^rediss?:\/\//.test(text)) return `${given}: ${schemeHint(text)}`;
  if (!URL.canParse(text)) return `${given}: it is no URL (are special characters in its password escaped?)`;
  const { hostname, port, pathname } = new URL(text);
  if (hostname === "") return `${given}: it names no host`;
  if (port === "0") return `${given}: its port is 0`;
  if (!/^(\/\d*)?$/.test(pathname))
    return `${given}: after the host comes the number of a database, or nothing`;
  return undefined;
}

function schemeHint(text: string): string {
  if (text.trim() !== text) return "there is white space around it";
  if (/^valkeys?:/i.test(text)) return "give redis:// or rediss:// for Valkey, too";
  return text === ""
    ? "it is empty"
    : "it must begin with redis:// or rediss://, or with / for a socket's path";
}

function faultOfAdapter(adapter: object): string | undefined {
  const isNamed = "name" in adapter && typeof adapter.name === "string" && adapter.name !== "";
  return isNamed ? undefined : "an adapter without a name: it must have its address there";
}

function faultOfOptions(options: object): string | undefined {
  // Own names only: nothing else arrives at the client.
  const names = Object.keys(options);
  if (!isPlain(options) && !names.some((name) => KNOWN.has(name)))
    return `${kindOf(options)}: it has no options of ioredis`;
  const unknown =
    names.find((name) => Object.hasOwn(INSTEAD, name)) ?? names.find((name) => !KNOWN.has(name));
  if (unknown !== undefined) return `the unknown option ${shown(unknown)}${hintFor(unknown)}`;
  return faultOfCredentials(options) ?? faultOfAddress(options);
}

function faultOfCredentials(options: { readonly credentials?: unknown }): string | undefined {
  const { credentials } = options;
  if (credentials === undefined || typeof credentials === "function") return undefined;
  return `options whose credentials are no function, but ${kindOf(credentials)}`;
}

function hintFor(name: string): string {
  return Object.hasOwn(INSTEAD, name) ? `: ${INSTEAD[name]}` : didYouMean(name, KNOWN);
}

interface Address {
  readonly host?: unknown;
  readonly port?: unknown;
  readonly path?: unknown;
  readonly sentinels?: unknown;
  readonly name?: unknown;
  readonly Connector?: unknown;
}

/** Of the options: own names, as the client gets them. */
function faultOfAddress(options: object): string | undefined {
  const { host, port, path, sentinels, name, Connector }: Address = { ...options };
  if (typeof Connector === "function") return undefined;
  if (sentinels !== undefined && sentinels !== null) return faultOfSentinels(sentinels, name);
  if (path !== undefined && path !== null)
    return isText(path) ? undefined : `options whose path is ${shown(path)}`;
  if (port !== undefined && !isPort(port)) return `options whose port is ${shown(port)}`;
  if (isText(host)) return undefined;
  if (Object.hasOwn(options, "host")) return `options whose host is ${shown(host)}`;
  // A port alone is an address on this host that somebody wrote down.
  return port === undefined ? "options without an address: they need a host, a path or sentinels" : undefined;
}

function faultOfSentinels(sentinels: unknown, name: unknown): string | undefined {
  if (!Array.isArray(sentinels) || sentinels.length === 0)
    return `options whose sentinels are ${Array.isArray(sentinels) ? "an empty array" : shown(sentinels)}`;
  const index = sentinels.findIndex((each: Address | undefined) => !isText(each?.host));
  if (index >= 0) return `options whose sentinels[${index}] has no host`;
  return isText(name) ? undefined : "options with sentinels that do not name the master: give its name";
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function isPort(value: unknown): boolean {
  const port = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  return typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536;
}

/** What it is, in words; never what it holds. */
export function kindOf(value: unknown): string {
  const foreign = foreignKind(value);
  if (foreign !== undefined) return foreign.kind;
  if (typeof value === "string") return "a string";
  if (typeof value !== "object" || value === null || isPlain(value)) return shown(value);
  if (isIoredisClient(value)) return "a client of ioredis";
  return `an object of the class ${shown(classOf(value))}`;
}

interface Foreign {
  readonly kind: string;
  /** What to do where it was given as a node. */
  readonly asNode: string;
  /** What to do where `nodeRedis` got it. */
  readonly forNodeRedis?: string;
}

/** A thing that is known, and that is no node by itself. */
export function foreignKind(value: unknown): Foreign | undefined {
  if (typeof value === "function") return A_FUNCTION;
  if (typeof value !== "object" || value === null) return undefined;
  return FOREIGN.find(({ is }) => is(value));
}

const A_FUNCTION: Foreign = { kind: "a function", asNode: "give the client it makes" };

const ONE_CLIENT =
  "give one client of each server, nodeRedis(createClient(options)) from holdfast/node-redis";
const A_CLIENT = "give createClient(options) itself";

/** The first that is right. By shape and not by class: every copy and version of a library has classes of its own. */
const FOREIGN: readonly (Foreign & { readonly is: (value: object) => boolean })[] = [
  { kind: "an array", asNode: "give each of its entries as a node", is: Array.isArray },
  {
    kind: "a Promise",
    asNode: "await it first",
    forNodeRedis: "await it first",
    is: (value) => isMethod(value, "then"),
  },
  {
    kind: "a URL object",
    asNode: "give its href",
    is: (value) => "href" in value && "hostname" in value && !isPlain(value),
  },
  {
    kind: "the client of a cluster",
    asNode: CLUSTER,
    forNodeRedis: CLUSTER,
    is: (value) => ("isCluster" in value && value.isCluster === true) || isNodeRedisCluster(value),
  },
  {
    kind: "an ioredis-mock client",
    asNode: 'no server is behind it; for tests without one there is mode: "memory"',
    is: (value) => /RedisMock/.test(classOf(value)),
  },
  {
    kind: "an iovalkey client",
    asNode: "wrap it, iovalkey(client) from holdfast/iovalkey",
    is: isIovalkeyClient,
  },
  {
    kind: "a pool of node-redis",
    asNode: ONE_CLIENT,
    forNodeRedis: A_CLIENT,
    is: (value) => isMethod(value, "execute") && "idleClients" in value,
  },
  {
    kind: "a Sentinel client of node-redis",
    asNode: "give ioredis options with sentinels and the name of the master instead",
    forNodeRedis: "give ioredis options with sentinels and the name of the master instead",
    is: (value) => isMethod(value, "getSentinelNode"),
  },
  {
    kind: "a client of node-redis",
    asNode: "wrap it, nodeRedis(client) from holdfast/node-redis",
    is: isNodeRedisClient,
  },
  {
    kind: "a client of an older node-redis",
    asNode: "node-redis is supported from version 5 on; or give its server's URL",
    forNodeRedis: "versions below 5 are not supported; give its server's URL to createLocker",
    is: (value) => "connection_options" in value || ("isOpen" in value && isMethod(value, "duplicate")),
  },
  {
    kind: "a client in the legacy mode of node-redis",
    asNode: "wrap the client it was made of, nodeRedis(client) from holdfast/node-redis",
    forNodeRedis: "give the client it was made of",
    is: (value) => classOf(value) === "RedisLegacyClient",
  },
];

/** Of ioredis 5 or 6, whichever copy. */
function isIoredisClient(value: object): boolean {
  return (
    isMethod(value, "duplicate") &&
    isMethod(value, "sendCommand") &&
    "status" in value &&
    typeof value.status === "string" &&
    "options" in value &&
    typeof value.options === "object"
  );
}

/**
 * iovalkey is ioredis under another name. What tells them apart is that its parser knows Valkey's URLs; releases before 0.4, whose parser
 * does not, are taken for ioredis, as which they work.
 */
export function isIovalkeyClient(value: unknown): boolean {
  if (typeof value !== "object" || value === null || !isIoredisClient(value)) return false;
  const parser: unknown = "parseOptions" in value ? value.parseOptions : undefined;
  return typeof parser === "function" && Function.prototype.toString.call(parser).includes("valkeys");
}

/** One server's client, of 5 or later: earlier ones have no `destroy`. */
export function isNodeRedisClient(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    "isOpen" in value &&
    ["duplicate", "sendCommand", "destroy", "pSubscribe", "connect", "select"].every((name) =>
      isMethod(value, name),
    ) &&
    !isNodeRedisCluster(value)
  );
}

function isNodeRedisCluster(value: object): boolean {
  return isMethod(value, "getSlotMaster") || isMethod(value, "getSlotRandomNode");
}

function isMethod(value: object, name: string): boolean {
  return name in value && typeof (value as Readonly<Record<string, unknown>>)[name] === "function";
}

/** An object literal, of whatever realm. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function classOf(value: object): string {
  const { constructor } = value;
  return typeof constructor === "function" ? constructor.name : "?";
}
