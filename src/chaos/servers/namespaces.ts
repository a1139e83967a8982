/**
 * Servers on hosts of their own, on one machine: a network namespace for each and a bridge between them and us. What crosses a network
 * can be lost there packet by packet, which no proxy can do: it sees only bytes that have arrived. Needs Linux, root, `ip` and `nft`.
 */
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";

import { undoWhenWeExit } from "../machine/mortality.ts";
import { onPath } from "../machine/on-path.ts";
import { type Cluster, together } from "./cluster.ts";
import { type ClusterOptions, ServerNode, type ServerPlace } from "./server-node.ts";

const PORT = 6379;
/** Of 10.77.0.0/16 one third octet for each cluster. */
const SUBNETS = 250;
const TRIES = 20;

export async function startNamespaceCluster(size: number, options: ClusterOptions = {}): Promise<Cluster> {
  const network = openNetwork(size);
  const remove = undoWhenWeExit(network.remove);
  const cluster = await together(
    network.places.map(async (place) => {
      const node = new ServerNode(PORT, options, place);
      try {
        await node.start();
        return node;
      } catch (error) {
        await node.dispose();
        throw error;
      }
    }),
  ).catch((error: unknown) => {
    remove();
    throw error;
  });
  const stop = async (): Promise<void> => {
    await cluster.stop();
    remove();
  };
  return { ...cluster, stop, [Symbol.asyncDispose]: stop };
}

interface HostNetwork {
  readonly places: readonly ServerPlace[];
  readonly remove: () => void;
}

/** A subnet that another run has taken shows in that its bridge cannot be made. */
function openNetwork(size: number): HostNetwork {
  for (let tries = 1; ; tries++) {
    const subnet = randomInt(1, SUBNETS);
    const bridge = `hfb${subnet}`;
    try {
      ip("link", "add", bridge, "type", "bridge");
    } catch (error) {
      if (tries >= TRIES) throw error;
      continue;
    }
    return furnished(subnet, bridge, size);
  }
}

function furnished(subnet: number, bridge: string, size: number): HostNetwork {
  const names = Array.from({ length: size }, (_, index) => `hf${subnet}n${index + 1}`);
  const remove = (): void => {
    for (const name of names) spawnSync("ip", ["netns", "del", name]);
    spawnSync("ip", ["link", "del", bridge]);
  };
  try {
    ip("addr", "add", `10.77.${subnet}.254/24`, "dev", bridge);
    ip("link", "set", bridge, "up");
    return {
      places: names.map((name, index) => host(name, bridge, `10.77.${subnet}.${index + 1}`, index)),
      remove,
    };
  } catch (error) {
    remove();
    throw error;
  }
}

function host(name: string, bridge: string, address: string, index: number): ServerPlace {
  const cable = `${bridge}v${index + 1}`;
  ip("netns", "add", name);
  ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name);
  ip("link", "set", cable, "master", bridge);
  ip("link", "set", cable, "up");
  ip("-n", name, "addr", "add", `${address}/24`, "dev", "eth0");
  ip("-n", name, "link", "set", "eth0", "up");
  ip("-n", name, "link", "set", "lo", "up");
  return {
    host: address,
    enter: (program, args) => ["ip", ["netns", "exec", name, program, ...args]],
    losePackets: (percent) => Promise.resolve(lose(name, percent)),
  };
}

/** Both ways; the table is made anew each time. */
function lose(name: string, percent: number): void {
  // A number below a hundred is always below a hundred: nft refuses to be asked.
  const which = percent < 100 ? `numgen random mod 100 < ${percent}` : "";
  const rule = (chain: string, hook: string, way: string) =>
    `chain ${chain} { type filter hook ${hook} priority 0; ${way} eth0 ${which} drop; }`;
  const rules = percent > 0 ? `${rule("i", "input", "iifname")}\n${rule("o", "output", "oifname")}` : "";
  run(
    "ip",
    ["netns", "exec", name, "nft", "-f", "-"],
    `table inet chaos\ndelete table inet chaos\ntable inet chaos {\n${rules}\n}\n`,
  );
}

function ip(...args: string[]): void {
  run("ip", args);
}

function run(program: string, args: readonly string[], input = ""): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: "utf8", input });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
}

/** In words why there can be no namespaces here; undefined where there can. */
export function namespacesUnavailable(): string | undefined {
  return (unavailable ??= { why: reason() }).why;
}

let unavailable: { readonly why: string | undefined } | undefined;

function reason(): string | undefined {
  if (process.platform !== "linux") return "hosts of their own need Linux";
  if (process.getuid?.() !== 0) return "hosts of their own need root";
  for (const program of ["ip", "nft"])
    if (onPath(program) === undefined) return `hosts of their own need ${program} on PATH`;
  try {
    openNetwork(1).remove();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
