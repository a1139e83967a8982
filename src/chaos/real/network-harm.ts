/** Faults of the network, as rules of the proxies between clients and servers. */
import type { Proxy } from "../network/proxy.ts";
import type { NetworkFault } from "../scenario.ts";

type ProxyDeed = Exclude<NetworkFault["do"], "lose packets" | "lose no packets">;
type Harm = (proxy: Proxy, fault: NetworkFault) => void | Promise<void>;

const DELAY_MS = 100;

const HARM: Readonly<Record<ProxyDeed, Harm>> = {
  cut: (proxy) => proxy.drop("both"),
  "drop requests": (proxy) => proxy.drop("up"),
  "drop replies": (proxy) => proxy.drop("down"),
  "hold requests": (proxy) => proxy.hold("up"),
  "hold replies": (proxy) => proxy.hold("down"),
  delay: (proxy, { ms = DELAY_MS, jitterMs = 0 }) => proxy.delay(ms, jitterMs),
  chop: (proxy) => proxy.chunk(1),
  "reset connections": (proxy) => proxy.cut(),
  "reset before the reply": (proxy) => proxy.cutBeforeReply(),
  "refuse connections": async (proxy) => {
    await proxy.refuse(true);
    proxy.cut();
  },
  "swallow connections": (proxy) => proxy.blackhole(true),
  "heal the network": (proxy) => proxy.pass(),
};

export async function harmNetwork(proxy: Proxy, fault: NetworkFault & { do: ProxyDeed }): Promise<void> {
  await HARM[fault.do](proxy, fault);
}

/** The rest is a matter of the servers' own hosts. */
export function isForProxies(fault: NetworkFault): fault is NetworkFault & { do: ProxyDeed } {
  return fault.do in HARM;
}
