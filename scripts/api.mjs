// `npm run docs:api`: docs/api.md from the declarations and docstrings of the package. With --check it only says whether that page is up to
// date. What has @internal is left out.

import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

import { format, resolveConfig } from "prettier";
// TypeScript 7 has no compiler API for scripts yet.
import ts from "typescript59";

const root = fileURLToPath(new URL("..", import.meta.url));
const PAGE = `${root}docs/api.md`;
const ENTRIES = /** @type {const} */ ([
  ["holdfast", "index"],
  ["holdfast/redlock", "redlock/index"],
  ["holdfast/node-redis", "node-redis/index"],
  ["holdfast/iovalkey", "iovalkey/index"],
  ["holdfast/prometheus", "observe/prometheus"],
  ["holdfast/opentelemetry", "observe/opentelemetry"],
  ["holdfast/sim", "sim/index"],
  ["holdfast/chaos", "chaos/index"],
]);

const program = ts.createProgram(
  ENTRIES.map(([, file]) => `${root}dist/${file}.d.ts`),
  { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, types: ["node"], skipLibCheck: true },
);
const checker = program.getTypeChecker();

const text = `# API

Made from the docstrings by \`npm run docs:api\`. Times are in milliseconds unless a name says otherwise.

${ENTRIES.map(([name, file]) => entry(name, `${root}dist/${file}.d.ts`)).join("\n")}`;

const page = await format(text, { ...(await resolveConfig(PAGE)), parser: "markdown" });
if (!process.argv.includes("--check")) writeFileSync(PAGE, page);
else if (readFileSync(PAGE, "utf8") !== page) {
  console.error("docs/api.md is not what the docstrings say: npm run docs:api");
  process.exitCode = 1;
}

/**
 * @param {string} name
 * @param {string} file
 */
function entry(name, file) {
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  if (module === undefined) throw new Error(`${file} has no exports; npm run build?`);
  const symbols = checker
    .getExportsOfModule(module)
    .filter((symbol) => symbol.name !== "default")
    .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol));
  const unique = [...new Set(symbols)].sort((a, b) => a.name.localeCompare(b.name, "en"));
  return `## ${name}\n\n${unique.map(described).join("\n")}`;
}

/** @param {ts.Symbol} symbol */
function described(symbol) {
  const declarations = symbol.declarations ?? [];
  const members = declarations.flatMap((declaration) =>
    ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration)
      ? [...declaration.members]
      : [],
  );
  const isType = declarations.some(ts.isTypeAliasDeclaration) || declarations.some(ts.isVariableDeclaration);
  const isFunction = declarations.some(ts.isFunctionDeclaration);
  const code =
    isType || isFunction ? `\n\`\`\`typescript\n${declarations.map(signature).join("\n")}\n\`\`\`\n` : "";
  const list = members.filter(isPublic).map(member).join("\n");
  return `### ${symbol.name}\n\n${docOf(symbol)}\n${code}${list === "" ? "" : `\n${list}\n`}`;
}

/** @param {ts.Declaration} declaration */
function signature(declaration) {
  const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  return node
    .getText()
    .replace(/^export (declare )?/, "")
    .replace(/^\s*\/\*\*[\s\S]*?\*\/\n/gm, "");
}

/** @param {ts.ClassElement | ts.TypeElement} node */
function isPublic(node) {
  const isHidden = ts.getJSDocTags(node).some(({ tagName }) => tagName.text === "internal");
  const name = node.name?.getText() ?? "";
  return (
    !isHidden &&
    !name.startsWith("#") &&
    !node.getText().startsWith("private ") &&
    !ts.isConstructorDeclaration(node)
  );
}

/** @param {ts.ClassElement | ts.TypeElement} node */
function member(node) {
  const symbol = node.name && checker.getSymbolAtLocation(node.name);
  const text = node
    .getText()
    .replaceAll(/\s+/g, " ")
    .replace(/;$/, "")
    .replace(/ \| undefined$/, "");
  const isFirst = symbol?.declarations?.[0] === node;
  const doc = symbol === undefined || !isFirst ? "" : docOf(symbol).replaceAll("\n", " ");
  return `- \`${text}\`${doc === "" ? "" : `: ${doc}`}`;
}

/** @param {ts.Symbol} symbol */
function docOf(symbol) {
  return ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim();
}
