/** One contestant in a process of its own, as it would be deployed: its heap and its compiled code are nobody else's. */
import { serveClient } from "../../src/chaos/machine/processes.ts";
import { type Name, open } from "./contestants.ts";
import { contend, load, pairTimes } from "./work.ts";

const [name = "holdfast", urls = "[]"] = process.argv.slice(2);
const contestant = await open(name as Name, JSON.parse(urls) as string[]);
// What a library rejects without being asked must not end a measurement.
process.on("unhandledRejection", () => {});

serveClient({
  prepare: () => contestant.prepare(),
  times: (keys: unknown, pairs: unknown) => pairTimes(contestant, String(keys), Number(pairs)),
  contend: (contenders: unknown, ms: unknown) => contend(contestant, Number(contenders), Number(ms)),
  load: (atOnce: unknown, ms: unknown) => load(contestant, Number(atOnce), Number(ms)),
});
