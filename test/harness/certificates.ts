/**
 * The certificates of tls/, as servers and clients want them. See the README there for why they are files and not made on the spot.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** From the checkout, not from beside this file: the build folder has no certificates. */
const FOLDER = join(process.cwd(), "test", "harness", "tls");

/** For a redis-server: it then speaks TLS on `port` too, and lets in only clients with a certificate of ours. */
export function tlsArguments(port: number): string[] {
  const options = {
    "tls-port": String(port),
    "tls-cert-file": join(FOLDER, "server.crt"),
    "tls-key-file": join(FOLDER, "server.key"),
    "tls-ca-cert-file": join(FOLDER, "ca.crt"),
  };
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
}

/** For ioredis's `tls`. */
export function clientTls(): { ca: string; cert: string; key: string } {
  const read = (name: string) => readFileSync(join(FOLDER, name), "utf8");
  return { ca: read("ca.crt"), cert: read("client.crt"), key: read("client.key") };
}
