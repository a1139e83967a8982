/** Whether a history shows what a scenario expects of it beside the properties. */
import type { History, HistoryEvent } from "../history/history.ts";
import { figuresOf } from "./figures.ts";
import type { Outcome, Scenario } from "./scenario.ts";

export interface Course {
  readonly scenario: Scenario;
  /** Up to the healing. */
  readonly history: History;
  /** When each step had happened. */
  readonly stepsAt: readonly number[];
}

/** What is not as expected, in words. */
export function unmet(course: Course): string[] {
  return (course.scenario.expect.outcomes ?? []).flatMap((outcome) => objectionTo(outcome, course) ?? []);
}

function objectionTo(outcome: Outcome, course: Course): string | undefined {
  switch (outcome.is) {
    case "kept":
      return notKept(nameOf(outcome.client), course);
    case "told in time":
      return notToldInTime(nameOf(outcome.client), course);
    case "leases":
      return wrongNumberOfLeases(outcome, course);
    case "nothing granted":
      return grantedInSpite(outcome, course);
    case "refused with":
      return neverRefused(outcome.code, course);
    case "everybody had a turn":
      return withoutTurn(course);
    case "no lost update":
      return lostUpdates(course);
    case "late writes refused":
      return tooFewLateWrites(outcome.atLeast, course);
  }
}

function nameOf(client: number): string {
  return `c${client}`;
}

function of<T extends HistoryEvent["type"]>(
  { history }: Course,
  type: T,
  client?: string,
): (HistoryEvent & { type: T })[] {
  return history.filter(
    (event): event is HistoryEvent & { type: T } =>
      event.type === type && (client === undefined || ("client" in event && event.client === client)),
  );
}

function momentOf(step: number, { stepsAt }: Course): number {
  return stepsAt[step - 1] ?? Infinity;
}

function notKept(client: string, course: Course): string | undefined {
  const [lost] = of(course, "lost", client);
  if (lost !== undefined) return `${client} should have kept its lease, and lost ${lost.op} (${lost.cause})`;
  return of(course, "acquired", client).length === 0 ? `${client} never had a lease to keep` : undefined;
}

function notToldInTime(client: string, course: Course): string | undefined {
  const losses = of(course, "lost", client);
  if (losses.length === 0) return `${client} was never told of a loss`;
  const late = losses.find(({ at, until }) => at >= until);
  return late === undefined
    ? undefined
    : `${client} was told of the loss of ${late.op} ${(late.at - late.until).toFixed(1)} ms after its end`;
}

function wrongNumberOfLeases(
  { atLeast = 0, atMost = Infinity, client, afterStep }: Outcome & { is: "leases" },
  course: Course,
): string | undefined {
  const who = client === undefined ? "all clients" : nameOf(client);
  const from = afterStep === undefined ? -Infinity : momentOf(afterStep, course);
  const leases = of(course, "acquired", client === undefined ? undefined : who);
  const count = leases.filter(({ at }) => at > from).length;
  if (count < atLeast) return `${who}: ${count} leases, expected at least ${atLeast}`;
  return count > atMost ? `${who}: ${count} leases, expected at most ${atMost}` : undefined;
}

function grantedInSpite(
  { afterStep, forMs }: Outcome & { is: "nothing granted" },
  course: Course,
): string | undefined {
  const from = momentOf(afterStep, course);
  const granted = of(course, "acquired").find(({ at }) => at > from && at < from + forMs);
  return granted === undefined
    ? undefined
    : `${granted.op} was granted ${(granted.at - from).toFixed(1)} ms after step ${afterStep}, expected none for ${forMs} ms`;
}

function neverRefused(code: string, course: Course): string | undefined {
  const isIt = of(course, "not-acquired").some((event) => event.code === code);
  return isIt ? undefined : `nobody was refused with ${code}`;
}

function withoutTurn(course: Course): string | undefined {
  const { clients = 3, contenders = 10 } = course.scenario.work;
  const turns = of(course, "acquired").length;
  return turns >= clients * contenders
    ? undefined
    : `${turns} of ${clients * contenders} contenders had a turn`;
}

function lostUpdates({ history }: Course): string | undefined {
  const lost = figuresOf(history).lostUpdates;
  return lost === 0 ? undefined : `${lost} updates were lost`;
}

/** That none of them was stored after a newer one is property S4. */
function tooFewLateWrites(atLeast: number, { history }: Course): string | undefined {
  const refused = figuresOf(history).staleWritesRefused;
  return refused >= atLeast ? undefined : `${refused} late writes were refused, expected at least ${atLeast}`;
}
