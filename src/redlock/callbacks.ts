/** redlock 4's callbacks. */
export type Callback<T> = (error: unknown, result?: T) => void;

/** The promise, whose outcome a callback hears too where there is one; then nobody else need handle its rejection. */
export function nodeified<T>(promise: Promise<T>, callback: unknown): Promise<T> {
  if (typeof callback !== "function") return promise;
  // In a turn of its own: what it throws is its affair, and no rejection of this promise.
  const tell = (...outcome: Parameters<Callback<T>>): void =>
    queueMicrotask(() => (callback as Callback<T>)(...outcome));
  promise.then(
    (result) => tell(null, result),
    (error: unknown) => tell(error),
  );
  return promise;
}
