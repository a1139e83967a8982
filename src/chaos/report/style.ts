/** The looks of a report. Colours are told apart by people who do not see all of them, and never carry a meaning alone. */

const CONDITIONS = [
  "down",
  "hung",
  "empty",
  "quarantined",
  "cut-off",
  "slow",
  "clock-off",
  "demoted",
  "full",
  "locked",
];

export const STYLE: string = `
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1c2128; --soft: #6a737d; --line: #e3e6ea; --stripe: #f7f8fa; --code: #f1f3f5;
  --hold: #0f6fb5; --valid: #0f6fb5; --bad: #c62828; --good: #1b7a43; --away: #8a6d3b; --flag: #5b6470;
  --down: #40464e; --hung: #8c5a00; --empty: #8a3ea8; --quarantined: #a8620f; --cut-off: #b3365b; --slow: #b08a00;
  --clock-off: #00796b; --demoted: #4d6b00; --full: #5d4037; --locked: #37474f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e6e9ed; --soft: #98a1ab; --line: #2b3037; --stripe: #191d22; --code: #22272e;
    --hold: #58b0f0; --valid: #58b0f0; --bad: #ff7b72; --good: #5ecb89; --away: #d9b46c; --flag: #aab4bf;
    --down: #9aa3ad; --hung: #e0a53f; --empty: #cf94e6; --quarantined: #efa75a; --cut-off: #f28bab; --slow: #e3c34b;
    --clock-off: #5cc9bb; --demoted: #a9c95a; --full: #bc9a8c; --locked: #9fb3bd;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0; font-size: 1.7rem; letter-spacing: -0.01em; }
h2 { margin: 3rem 0 0.3rem; font-size: 1.15rem; }
.verdict { margin: 0.1rem 0 1.2rem; font-size: 1.15rem; color: var(--good); font-weight: 600; }
.verdict.failed { color: var(--bad); }
dl { display: flex; flex-wrap: wrap; gap: 0.3rem 2rem; margin: 0 0 0.8rem; }
dt { display: inline; color: var(--soft); margin-right: 0.5em; } dd { display: inline; margin: 0; }
code { background: var(--code); padding: 0.15em 0.45em; border-radius: 4px; font-size: 0.88em; overflow-wrap: anywhere; }
p { margin: 0.3rem 0 0.8rem; } .title { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.87rem; }
th, td { padding: 0.42rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; white-space: normal; vertical-align: bottom; }
th[scope="row"], thead th:first-child { text-align: left; font-weight: 500; white-space: normal; min-width: 17rem; }
th small { display: block; color: var(--soft); font-weight: 400; font-size: 0.8rem; line-height: 1.35; }
td.mark, td.reason { text-align: left; } td.reason { color: var(--soft); white-space: normal; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 0.2em; }
tr.passed .mark, .scenario.passed .mark { color: var(--good); }
tr.failed .mark, .scenario.failed .mark { color: var(--bad); font-weight: 700; text-transform: uppercase; }
tr.not-run .mark { color: var(--soft); }
h2 .mark { font-size: 0.8rem; font-weight: 500; margin-left: 0.4em; }
.scenario { border-top: 1px solid var(--line); margin-top: 2rem; } .scenario h2 { margin-top: 1.2rem; }
.wrong { margin: 0.4rem 0 0.8rem; padding-left: 1.2rem; color: var(--bad); overflow-wrap: anywhere; }
details { margin-top: 0.4rem; color: var(--soft); font-size: 0.9rem; } summary { cursor: pointer; }
details ul, details ol { margin: 0.4rem 0; padding-left: 1.6rem; } .faults { columns: 24rem; } .at { color: var(--ink); }
.legend ul { list-style: none; padding: 0; margin: 0.8rem 0 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 0.35rem 1.5rem; font-size: 0.87rem; }
.legend li { display: flex; gap: 0.7rem; align-items: center; } .legend li svg { flex: none; } .defs { position: absolute; }
svg { display: block; } svg.timeline { width: 100%; min-width: 44rem; } svg.plots { width: 100%; min-width: 50rem; }
svg text { font: 10px system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .lane, svg .name { text-anchor: end; fill: var(--ink); font-size: 11px; } svg .title { fill: var(--ink); font-size: 11px; font-weight: 600; }
svg .tick { text-anchor: middle; } svg .grid { stroke: var(--line); } svg .stripe { fill: var(--ink); opacity: 0.03; }
svg .base { stroke: var(--line); } svg .up { stroke: var(--good); stroke-width: 2; opacity: 0.55; }
svg .hold { fill: var(--hold); } svg .valid { fill: var(--valid); fill-opacity: 0.13; stroke: var(--valid); stroke-opacity: 0.65; stroke-width: 0.8; }
svg .wait { stroke: var(--hold); stroke-width: 2.2; opacity: 0.4; } svg .wait.refused { stroke: var(--soft); stroke-dasharray: 2 2; opacity: 0.75; }
svg .overlap { fill: var(--bad); fill-opacity: 0.28; stroke: var(--bad); }
svg .loss path { fill: var(--quarantined); } svg .loss text { fill: var(--ink); font-size: 9px; paint-order: stroke; stroke: var(--paper); stroke-width: 2.5px; }
svg .loss.late path, svg .margin.late { fill: var(--bad); }
svg .write { stroke: var(--good); stroke-width: 1; fill: none; } svg .write.refused { stroke: var(--bad); stroke-width: 1.7; }
svg .away { fill: url(#hatch-away); stroke: var(--away); stroke-opacity: 0.5; } svg .hatch-away { stroke: var(--away); stroke-width: 1; opacity: 0.8; }
svg .condition { text-anchor: middle; fill: var(--ink); font-size: 9.5px; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .flag rect { fill: var(--flag); } svg .flag text { fill: var(--paper); font-size: 8.5px; font-weight: 600; text-anchor: middle; }
svg .flagline { stroke: var(--flag); stroke-width: 0.7; opacity: 0.55; }
svg .healed line { stroke: var(--good); stroke-width: 1.2; stroke-dasharray: 5 3; } svg .healed text { fill: var(--good); }
svg .latency line { stroke: var(--hold); stroke-width: 2; opacity: 0.55; } svg .latency .max { opacity: 1; stroke-width: 1.2; } svg .latency circle { fill: var(--hold); }
svg .unavailable { fill: var(--quarantined); } svg .margin { fill: var(--good); }
${CONDITIONS.map(conditionStyle).join("\n")}
@media print { body { max-width: none; padding: 0; } .scenario { break-inside: avoid; } }
`;

function conditionStyle(name: string): string {
  return `svg .is-${name} { fill: url(#hatch-${name}); stroke: var(--${name}); } svg .hatch-${name} { stroke: var(--${name}); stroke-width: 1.1; fill: none; }`;
}
