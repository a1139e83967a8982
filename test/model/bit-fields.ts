/** Parts of a 32-bit word: what a state is made of when millions of them are to be kept. */
export interface Field {
  readonly shift: number;
  readonly bits: number;
}

export function read(word: number, { shift, bits }: Field): number {
  return (word >>> shift) & ((1 << bits) - 1);
}

export function write(word: number, { shift, bits }: Field, value: number): number {
  return (word & ~(((1 << bits) - 1) << shift)) | (value << shift);
}

/** For what is certainly there. */
export function at<T>(array: ArrayLike<T>, index: number): T {
  return array[index] as T;
}

/** For arrays of a few words, for which `set` takes several times longer. */
export function copy(from: Uint32Array, to: Uint32Array, offset = 0): void {
  for (let index = 0; index < from.length; index++) to[offset + index] = at(from, index);
}
