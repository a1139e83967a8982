/** A history as people read it: who asked, what each node answered, who held and who lost, with the faults in line. */
import type { History, HistoryEvent, VoteFact } from "../history/history.ts";

export function timelineOf(history: History): string[] {
  return grouped(history).map(({ at, who, what }) => `${seconds(at)}  ${who.padEnd(4)} ${what}`);
}

interface Line {
  readonly at: number;
  readonly who: string;
  readonly what: string;
}

/** The votes on one request stand in one line, where the first of them was given. */
function grouped(history: History): Line[] {
  const requests = new Map<string, VoteFact[]>();
  for (const event of history) {
    if (event.type !== "vote") continue;
    const name = `${event.request} ${event.holder}`;
    const votes = requests.get(name);
    if (votes === undefined) requests.set(name, [event]);
    else votes.push(event);
  }
  const isTold = new Set<string>();
  return [...history]
    .sort((a, b) => a.at - b.at)
    .flatMap((event) => {
      if (event.type !== "vote") return lineOf(event);
      const name = `${event.request} ${event.holder}`;
      // An extension is repeated for as long as the lease lives: each round would be a line, and says no more than `extended`.
      if (isTold.has(name)) return [];
      isTold.add(name);
      return [votesLine(event, requests.get(name) ?? [])];
    });
}

function votesLine({ at, request, holder, keys }: VoteFact, votes: readonly VoteFact[]): Line {
  const answers = votes.map(({ node, vote, before }) => {
    const other = before.find((each) => each !== null && each !== holder);
    return `${node} ${vote}${vote === "held" && other !== undefined ? ` by ${other}` : ""}`;
  });
  const shown = answers.slice(0, ANSWERS_MAX).join(", ");
  const more = answers.length > ANSWERS_MAX ? `, and ${answers.length - ANSWERS_MAX} more` : "";
  return { at, who: "", what: `  ${request} ${keys.join("+")} for ${holder}: ${shown}${more}` };
}

const ANSWERS_MAX = 12;

function lineOf(event: Exclude<HistoryEvent, VoteFact>): Line[] {
  const { at } = event;
  const who = "client" in event ? event.client : "";
  const said = wordsOf(event);
  return said === undefined ? [] : [{ at, who, what: said }];
}

function wordsOf(event: Exclude<HistoryEvent, VoteFact>): string | undefined {
  switch (event.type) {
    case "acquiring":
      return `${event.op} asks for ${event.keys.join("+")}${event.mustSucceed ? " and must get it" : ""}`;
    case "acquired":
      return `${event.op} HOLDS ${event.keys.join("+")} as ${event.holder}: fence ${event.fence}, valid until ${seconds(event.until)}`;
    case "not-acquired":
      return `${event.op} gets nothing: ${event.code}`;
    case "extended":
      return `${event.op} extended until ${seconds(event.until)}`;
    case "shortened":
      return `${event.op} ends at ${seconds(event.until)} now, by its client's clock`;
    case "lost":
      return `${event.op} LOST (${event.cause}), valid until ${seconds(event.until)}`;
    case "releasing":
      return `${event.op} gives back`;
    case "released":
      return `${event.op} ${event.outcome}`;
    case "write":
      return `${event.op} writes ${event.key} with fence ${event.fence}: ${event.isStored ? "stored" : "REFUSED"}`;
    case "crashed":
      return "is killed";
    case "memory-lost":
      return `!! ${event.node} has lost its memory, and must be silent until ${seconds(event.silentUntil)}`;
    case "fault":
      return `!! ${event.fault}: ${event.target}`;
    case "healed":
      return "-- everything is healed";
    case "condition":
      return `!! ${event.target} is ${event.isOn ? "" : "no longer "}${event.condition}`;
    case "counted":
      return `${event.op} counts ${event.key} from ${event.read} to ${event.read + 1}`;
    case "left-behind":
      return `!! ${event.holder} still has ${event.key} on ${event.node}`;
    case "detached":
      return `${event.op} lets go of it`;
    case "asked":
    case "open-nodes":
    case "pace":
      return undefined;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(4).padStart(9)} s`;
}
