/**
 * Which shard a key lives on: rendezvous hashing. Every shard scores every key, the highest score has it; so a shard that is added takes
 * keys only for itself, a shard that is removed gives away only its own, and nothing but the names has to be agreed on. All clients must
 * come to the same answer, in every version: the numbers here are part of the protocol, and pinned by a test.
 */

/** The name whose score is highest; of equal ones the first in the order of the alphabet. `names` are sorted. */
export function rendezvous(key: string, names: readonly HashedName[]): HashedName | undefined {
  const keyHash = hashOf(taggedPart(key));
  let best: HashedName | undefined;
  let bestScore = -1;
  for (const name of names) {
    const score = mixed(keyHash ^ name.hash);
    if (score > bestScore) [best, bestScore] = [name, score];
  }
  return best;
}

export interface HashedName {
  readonly name: string;
  readonly hash: number;
}

export function hashedNames(names: readonly string[]): HashedName[] {
  return [...names].sort().map((name) => ({ name, hash: mixed(hashOf(name)) }));
}

/** As in Redis Cluster: a non-empty text between the first `{` and the `}` after it stands for the whole key. */
function taggedPart(key: string): string {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}

/** FNV-1a of the UTF-8 bytes, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** The last steps of MurmurHash3: every bit of the input changes half of the output's. */
function mixed(hash: number): number {
  let bits = hash;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
