/** The seeded bugs of `npm run mutants` can still be put in: their texts stand where they stood. Whether they are found takes half an hour. */
import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { MUTANTS } from "../mutants/mutants.ts";

test.each(MUTANTS)("$rule $name", ({ file, find, replace }) => {
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
  expect(source.split(find)).toHaveLength(2);
  expect(replace).not.toBe(find);
});
