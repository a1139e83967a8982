/** Markup as text, with everything escaped that is not markup: names and messages come from users and servers. */

/** Text that is markup already. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Content = Markup | string | number | readonly Content[] | undefined;
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** Children that are strings are escaped; attributes that are undefined or false are left out. */
export function tag(name: string, attributes: Attributes = {}, ...children: readonly Content[]): Markup {
  const parts = Object.entries(attributes).map(([key, value]) => attribute(key, value));
  const open = `<${name}${parts.join("")}>`;
  return new Markup(VOID.has(name) ? open : `${open}${markupOf(children)}</${name}>`);
}

const VOID: ReadonlySet<string> = new Set(["meta", "br", "hr"]);

function attribute(key: string, value: string | number | boolean | undefined): string {
  if (value === undefined || value === false) return "";
  if (value === true) return ` ${key}`;
  return ` ${key}="${escaped(typeof value === "number" ? short(value) : value)}"`;
}

function markupOf(content: Content): string {
  if (content === undefined) return "";
  if (content instanceof Markup) return content.text;
  if (typeof content === "number") return short(content);
  return typeof content === "string" ? escaped(content) : content.map(markupOf).join("");
}

/** A hundredth of a pixel is enough. */
function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
