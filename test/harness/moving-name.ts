/** A host name that moves from one server to another, as the names of managed servers do. Resolved in this process only. */
import dns from "node:dns";

export interface MovingName {
  readonly host: string;
  /** From now on it leads there; connections that exist live on. */
  moveTo(address: string): void;
  /** As before for everybody. */
  forget(): void;
}

interface LookupOptions {
  readonly all?: boolean;
}

type Found = (error: Error | null, address: unknown, family?: number) => void;

/** `lookupMs`: how long it takes to find out. */
export function movingName(host: string, address: string, lookupMs = 0): MovingName {
  const real = dns.lookup;
  let present = address;
  const lookup = (name: string, options: LookupOptions | number | Found, found?: Found): void => {
    if (name !== host) return (real as (...args: unknown[]) => void)(name, options, found);
    const answer = typeof options === "function" ? options : found;
    const isAll = typeof options === "object" && options.all === true;
    const tell = () =>
      isAll ? answer?.(null, [{ address: present, family: 4 }]) : answer?.(null, present, 4);
    setTimeout(tell, lookupMs);
  };
  dns.lookup = lookup as unknown as typeof dns.lookup;
  return {
    host,
    moveTo: (next) => (present = next),
    forget: () => (dns.lookup = real),
  };
}
