/** What all pages have in common: they need nothing else, and are readable in light and dark. */
import { type Content, Markup, tag } from "./markup.ts";

export function pageOf(title: string, style: string, ...body: readonly Content[]): string {
  const head = tag(
    "head",
    {},
    tag("meta", { charset: "utf-8" }),
    tag("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
    tag("meta", { name: "color-scheme", content: "light dark" }),
    tag("title", {}, title),
    tag("style", {}, new Markup(style)),
  );
  return `<!doctype html>\n${tag("html", { lang: "en" }, head, tag("body", {}, body)).text}\n`;
}

/** Names and values in a row. */
export function facts(values: Readonly<Record<string, string>>): Markup {
  const entries = Object.entries(values);
  return tag(
    "dl",
    {},
    entries.map(([name, value]) => tag("div", {}, tag("dt", {}, name), tag("dd", {}, value))),
  );
}

/** What is wider than the page moves sideways by itself, with the keyboard too. */
export function sideways(content: Markup): Markup {
  return tag("div", { class: "scroll", tabindex: 0 }, content);
}

export function wideTable(headings: readonly Markup[], rows: readonly Markup[]): Markup {
  return sideways(tag("table", {}, tag("thead", {}, tag("tr", {}, headings)), tag("tbody", {}, rows)));
}
