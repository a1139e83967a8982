/** "Did you mean": the known name that somebody who wrote another one is likely to have meant. Pure. */

/** Shorter beginnings say nothing. */
const BEGINNING_MIN = 3;

/** The nearest of the known names, or undefined where none is near. */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  const wanted = plain(name);
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const each of known) {
    const distance = distanceOf(wanted, plain(each));
    if (distance <= Math.max(1, Math.floor(wanted.length / 3)) && !(best && best.distance <= distance))
      best = { name: each, distance };
  }
  return best?.name ?? [...known].find((each) => isBeginning(wanted, plain(each)));
}

/** "; did you mean ttlMs?", or nothing. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const found = nearest(name, known);
  return found === undefined ? "" : `; did you mean ${found}?`;
}

/** Without what people write differently: case, separators, the unit. */
function plain(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, "")
    .replace(/(ms|millis|milliseconds)$/, "");
}

function isBeginning(one: string, other: string): boolean {
  const isLongEnough = Math.min(one.length, other.length) >= BEGINNING_MIN;
  return isLongEnough && (one.startsWith(other) || other.startsWith(one));
}

/** Insertions, deletions, replacements and swaps of neighbours (Damerau and Levenshtein, one swap a place). */
function distanceOf(a: string, b: string): number {
  let [before, last]: number[][] = [[], Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? at(before, j - 2) + 1 : Infinity;
      row.push(Math.min(at(last, j) + 1, at(row, j - 1) + 1, replaced, swapped));
    }
    [before, last] = [last, row];
  }
  return at(last, b.length);
}

function at(row: readonly number[] | undefined, index: number): number {
  return row?.[index] ?? Infinity;
}
