/**
 * What keys are called on a node: a lock, what stands beside it, and the library's own. A lock is called as its user says, since clients
 * of other libraries must meet it there; so the names of all else are chosen such that no two of them are the same, and a lock under one of
 * them is refused. A lock's fence and line have its hash tag: where keys have slots, the three are in one.
 */

/** A hash: which memory of this node was admitted, and what it knows of itself. */
export const MARKER_KEY = "holdfast:node";

/** Exists while any line of the node may have somebody in it: most releases need not look for one. */
export const WAITING_KEY = "holdfast:waiting";

/** With the waiter's name behind it, the channel on which it is told of releases; the message is the lock's key. A hint, never needed for safety. */
const NOTICE_CHANNEL_PREFIX = "holdfast:wake:";

/** Before the fence and the line of a key in braces: behind it, `{x}` would have those of `x`. */
const BRACED_PREFIX = "holdfast:key:";

/** Where `waiter` hears of releases; an empty name gives what all of them begin with. */
export function noticeChannel(waiter: string): string {
  return NOTICE_CHANNEL_PREFIX + waiter;
}

/** The largest proposal accepted for `key`. Beside it, `…:line` has those who wait: a sorted set, by the time they came. */
export function fenceKey(key: string): string {
  if (!hasHashTag(key)) return `{${key}}:fence`;
  return key.startsWith("{") && key.endsWith("}") ? `${BRACED_PREFIX}${key}:fence` : `${key}:fence`;
}

/** Every fence key, and what else ends like one. */
export const FENCE_KEY_PATTERN = "*:fence";

/** Whether the fence of a lock can be called so: other data may end like one. */
export function isFenceKey(name: string): boolean {
  const key = name.slice(0, -":fence".length);
  return name.endsWith(":fence") && (hasHashTag(key) || key.startsWith(BRACED_PREFIX));
}

/** A hash tag is a non-empty text between the first `{` and the first `}` after it. */
function hasHashTag(key: string): boolean {
  const open = key.indexOf("{");
  return open >= 0 && key.indexOf("}", open + 1) > open + 1;
}

/** What a lock must not be called on a node, where a name breaks it. */
export const LOCK_NAME_RULE: string = `not be ${MARKER_KEY} nor end in :fence or :line, nor be ${WAITING_KEY} or begin with ${BRACED_PREFIX}, which hold this library's own data`;

/** Whether something of this library's may stand under that name. */
export function isReserved(nodeKey: string): boolean {
  if (nodeKey.endsWith(":fence") || nodeKey.endsWith(":line")) return true;
  if (!nodeKey.startsWith("holdfast:")) return false;
  return nodeKey === MARKER_KEY || nodeKey === WAITING_KEY || nodeKey.startsWith(BRACED_PREFIX);
}
