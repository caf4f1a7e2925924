import { html } from './html.ts'

/**
 * The style of the page. Colours come from one list, once for light and once for dark; whatever a colour says is said by a
 * symbol or a word as well. Nothing is wider than a phone.
 */
export const pageStyle = html`
:root {
  color-scheme: light dark;
  --ground: #f4f6f8; --card: #fff; --ink: #1b1f24; --quiet: #57606a; --edge: #d0d7de; --link: #0757b8;
  --good: #17692f; --warn: #875300; --bad: #b3121d; --calm: #505a66;
  --good-solid: #17692f; --warn-solid: #875300; --bad-solid: #b3121d;
  --p: #2da44e; --f: #d1242f; --i: #d79b00; --u: #a9c1dc; --r: #e1e6eb; --n: transparent;
  --p-ink: #001a08; --f-ink: #fff; --i-ink: #231700; --u-ink: #10243a; --r-ink: #57606a; --n-ink: #57606a;
  /* Twelve of them, and the names of the days, fit on a narrow phone. */
  --cell: clamp(15px, calc((100vw - 8rem) / 12 - 3px), 22px);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1117; --card: #161b22; --ink: #e6edf3; --quiet: #9ea7b3; --edge: #30363d; --link: #79b8ff;
    --good: #5bd171; --warn: #e8b339; --bad: #ff8a80; --calm: #aab4c0;
    --good-solid: #14602b; --warn-solid: #784a00; --bad-solid: #9d1019;
    --p: #2ea043; --f: #f0524b; --i: #d9a21b; --u: #3d5675; --r: #262d36; --n: transparent;
    --p-ink: #00130a; --f-ink: #1f0000; --i-ink: #1d1300; --u-ink: #dce9f7; --r-ink: #9ea7b3; --n-ink: #9ea7b3;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 0 1rem 3rem; background: var(--ground); color: var(--ink); overflow-wrap: anywhere; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; padding: .9rem 0 .7rem; }
footer { margin-top: 2.5rem; }
main { display: grid; gap: 1.75rem; grid-template-columns: minmax(0, 1fr); }
h1 { font-size: clamp(1.35rem, 5.6vw, 1.75rem); line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
section > h3 { font-size: .9rem; margin: .9rem 0 .4rem; color: var(--quiet); }
h4 { font-size: .85rem; font-weight: 600; margin: 0 0 .35rem; }
p { margin: .3rem 0; }
a { color: var(--link); }
ul, ol { margin: 0; padding: 0; list-style: none; }
code { font: .86em ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; background: color-mix(in srgb, var(--quiet) 13%, transparent); padding: .08em .3em; border-radius: 4px; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 4px; }
[hidden] { display: none !important; }
.script { display: none; }
.js .script { display: block; }
.js button.script { display: inline-block; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.block { display: block; }
.note, .label, .hint { color: var(--quiet); }
.note { font-size: .87rem; }
.count { color: var(--quiet); font-weight: 400; }

.sign { white-space: nowrap; font-size: .87rem; font-weight: 600; }
.sign::before { display: inline-block; width: 1.15em; }
.sign.good { color: var(--good); } .sign.good::before { content: "✓"; content: "✓" / ""; }
.sign.warn { color: var(--warn); } .sign.warn::before { content: "!"; content: "!" / ""; }
.sign.bad { color: var(--bad); } .sign.bad::before { content: "✗"; content: "✗" / ""; }
.sign.none { color: var(--calm); } .sign.none::before { content: "–"; content: "–" / ""; }

.banner { display: flex; align-items: flex-start; gap: .9rem; padding: 1.1rem 1.2rem; border-radius: 12px; color: #fff; }
.banner svg { flex: none; width: 2.1rem; fill: none; stroke: #fff; stroke-width: 3; stroke-linecap: round; stroke-linejoin: round; }
.banner p { margin: .4rem 0 0; }
.banner span { display: block; }
.banner.good { background: var(--good-solid); }
.banner.warn { background: var(--warn-solid); }
.banner.bad { background: var(--bad-solid); }
.stale, .notice:not(:empty) { padding: .7rem 1rem; border-radius: 8px; margin: 0 0 1rem; background: var(--card); border: 2px solid var(--link); }
.notice { margin: 0; }
.stale { border-color: var(--bad); color: var(--bad); font-weight: 600; }
.notice.bad { border-color: var(--bad); } .notice.good { border-color: var(--good); } .notice.warn { border-color: var(--warn); }

.worries li, .runs li, .failures li, .plain, .database, .workers > li, .rows, table.counts { background: var(--card); border: 1px solid var(--edge); border-radius: 8px; }
.worries, .runs, .failures, .workers { display: grid; gap: .5rem; }
.workers > li { padding: .6rem .9rem; border-left: 6px solid var(--good); }
.workers > li.warn { border-left-color: var(--warn); }
.workers > li.bad { border-left-color: var(--bad); }
.inner { padding-left: 1.15rem; list-style: disc; }
table.counts { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .93rem; }
.counts th, .counts td { text-align: right; padding: .4rem clamp(.3rem, 1.5vw, .7rem); vertical-align: baseline; }
.counts th:first-child { text-align: left; min-width: 4.4rem; padding-left: .7rem; }
.counts thead th { overflow-wrap: normal; font-size: .8rem; font-weight: 400; color: var(--quiet); }
.counts tbody th { font-weight: 600; }
.counts tbody > tr > * { border-top: 1px solid var(--edge); }
.worries li { padding: .6rem .9rem; border-left: 6px solid var(--warn); }
.worries li.bad { border-left-color: var(--bad); }
.worries li > strong::before { display: inline-block; width: 1.15em; color: var(--warn); content: "!"; content: "!" / ""; }
.worries li.bad > strong::before { color: var(--bad); content: "✗"; content: "✗" / ""; }
.hint::before { content: "→ "; content: "→ " / ""; }
section > details:not(.database) > summary, .well > summary { padding: .5rem 0; cursor: pointer; color: var(--link); }

.runs li, .failures li { padding: .6rem .9rem; }
.line { display: flex; flex-wrap: wrap; gap: 0 .8rem; align-items: baseline; }
.line button { margin-left: auto; }
progress { display: block; width: 100%; height: .7rem; margin: .45rem 0 .3rem; accent-color: var(--link); }
.plain li { padding: .55rem .9rem; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
.plain li + li { border-top: 1px solid var(--edge); }
.fingerprint { background: none; padding: 0; }
.pair { display: grid; gap: 1.75rem; grid-template-columns: minmax(0, 1fr); }
.pair > div { display: grid; gap: 1.75rem; align-content: start; }

.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: 0 0 .8rem; font-size: .87rem; color: var(--quiet); }
.legend li { display: flex; align-items: center; gap: .4rem; }
.heads { display: none; }
.database { border-left: 6px solid var(--good); margin-bottom: .5rem; }
.database.warn { border-left-color: var(--warn); }
.database.bad { border-left-color: var(--bad); }
.database > summary { display: grid; gap: .15rem 1rem; padding: .7rem .9rem; cursor: pointer; list-style: none; position: relative; border-radius: 8px; }
.database > summary::-webkit-details-marker { display: none; }
.database > summary::after { content: ""; position: absolute; right: .9rem; top: 1.1rem; width: .5rem; height: .5rem; border: solid var(--quiet); border-width: 0 2px 2px 0; transform: rotate(45deg); }
.database[open] > summary::after { transform: rotate(225deg); top: 1.3rem; }
.database h3 { padding-right: 1.5rem; }
.fact { display: flex; align-items: baseline; }
.fact .label { flex: none; width: 8.5rem; font-size: .87rem; }
.strip { width: 150px; height: 18px; margin-top: .3rem; }
.body { padding: .2rem .9rem .9rem; border-top: 1px solid var(--edge); }
dl { display: grid; grid-template-columns: minmax(0, 1fr); gap: .35rem 2rem; margin: .7rem 0 1.1rem; }
dl > div { display: flex; gap: 0 .8rem; flex-wrap: wrap; align-items: baseline; }
dt { color: var(--quiet); font-size: .87rem; min-width: 7rem; }
dd { margin: 0; flex: 1 1 14rem; }
.history { display: grid; gap: 1.4rem 2.5rem; grid-template-columns: minmax(0, 1fr); }

.calendar { border-collapse: separate; border-spacing: 3px; }
caption { text-align: left; font-size: .85rem; font-weight: 600; padding-bottom: .35rem; }
.calendar th { font-weight: 400; font-size: .75rem; color: var(--quiet); padding: 0; text-align: left; line-height: 1; }
.calendar th[scope=col] { white-space: nowrap; max-width: var(--cell); overflow: visible; height: 1rem; }
.calendar th[scope=row] { padding-right: .4rem; white-space: nowrap; }
.day, .calendar td[class] { display: inline-block; width: var(--cell); height: var(--cell); padding: 0; border-radius: 4px; font-size: 0; text-align: center; overflow: hidden; border: 1px solid transparent; }
.calendar td[class] { display: table-cell; }
.day::before, .calendar td::before { font-size: 13px; line-height: calc(var(--cell) - 2px); font-weight: 700; }
:is(.day, td).p { background: var(--p); color: var(--p-ink); } :is(.day, td).p::before { content: "✓"; content: "✓" / ""; }
:is(.day, td).f { background: var(--f); color: var(--f-ink); } :is(.day, td).f::before { content: "✗"; content: "✗" / ""; }
:is(.day, td).i { background: var(--i); color: var(--i-ink); } :is(.day, td).i::before { content: "?"; content: "?" / ""; }
:is(.day, td).u { background: var(--u); color: var(--u-ink); } :is(.day, td).u::before { content: "•"; content: "•" / ""; }
:is(.day, td).r { background: var(--r); color: var(--r-ink); }
:is(.day, td).n { color: var(--n-ink); } :is(.day, td).n::before { content: "–"; content: "–" / ""; font-weight: 400; }
.chart .p { fill: var(--p); } .chart .f { fill: var(--f); }
.strip path { stroke-width: 4; }
.strip .p { stroke: var(--p); } .strip .f { stroke: var(--f); } .strip .i { stroke: var(--i); } .strip .u { stroke: var(--u); }
.strip .r { stroke: var(--r); } .strip .n { stroke: var(--edge); }

.chart { display: block; width: 100%; max-width: 29rem; }
.chart text { font-size: 11px; fill: var(--quiet); }
.chart .grid { stroke: var(--edge); stroke-width: 1; }
.chart .line { fill: none; stroke: var(--p); stroke-width: 1.8; display: inline; }
.chart path.objective { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 5 4; }
.chart text.objective { fill: var(--bad); font-weight: 600; }
.chart .cross, .chart .ring { fill: none; stroke: var(--f); stroke-width: 2.2; }
.chart .ring { stroke: var(--i); }
.table > summary { font-size: .87rem; color: var(--link); cursor: pointer; padding: .3rem 0; }
.table table { border-collapse: collapse; font-size: .87rem; }
.table th, .table td { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--edge); }

button { font: inherit; font-weight: 600; padding: .45rem .9rem; min-height: 2.5rem; border-radius: 6px; border: 1px solid var(--quiet); background: var(--card); color: var(--link); cursor: pointer; text-align: left; }
button:hover { border-color: var(--link); }
button.primary { background: var(--link); border-color: var(--link); color: var(--card); }
button.small { padding: .1rem .7rem; min-height: 2rem; }
button:disabled { opacity: .6; cursor: progress; }
dialog { width: min(30rem, calc(100vw - 2rem)); color: var(--ink); background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 1.3rem 1.4rem; }
dialog::backdrop { background: rgb(0 0 0 / .55); }
dialog label { display: flex; gap: .6rem; align-items: baseline; padding: .25rem 0; }
dialog fieldset { border: 1px solid var(--edge); border-radius: 6px; margin: .8rem 0; padding: .3rem .8rem .5rem; }
dialog input[type=password] { font: inherit; width: 100%; padding: .5rem .6rem; border: 1px solid var(--quiet); border-radius: 6px; background: var(--ground); color: var(--ink); }
dialog input[type=radio], dialog input[type=checkbox] { flex: none; width: 1.1rem; height: 1.1rem; margin: 0; position: relative; top: .15rem; accent-color: var(--link); }
.problem:not(:empty) { margin: .8rem 0; padding: .6rem .8rem; border: 2px solid var(--bad); border-radius: 6px; }
.problem strong { color: var(--bad); }
.buttons { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1rem; }

.rows > li { display: grid; gap: .1rem 1rem; padding: .5rem .9rem; border-left: 6px solid var(--good); }
.rows > li + li { border-top: 1px solid var(--edge); }
.rows > li.warn { border-left-color: var(--warn); }
.rows > li.bad { border-left-color: var(--bad); }
.rows > li:first-child { border-top-left-radius: 8px; } .rows > li:last-child { border-bottom-left-radius: 8px; }
.server > .rows, .well > .rows { margin: 0 .9rem .7rem; }
.server > .well, .server > .well > summary { padding-left: .45rem; }
.well > .rows { content-visibility: auto; contain-intrinsic-size: auto 60rem; }
section > .well > .rows { margin: 0; }
.counts .sign { margin-right: .6rem; }
.back { margin: 0 0 -1rem; }

@media (min-width: 60rem) {
  .banner { align-items: center; gap: 1.2rem; padding: 1.25rem 1.5rem; }
  .banner svg { width: 3.4rem; }
  .banner span { display: inline; margin-right: 1.1rem; }
  .pair { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .heads, .database > summary, .rows > li { display: grid; grid-template-columns: minmax(0, 1.3fr) minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1fr) 150px; gap: 0 1.2rem; align-items: start; padding-right: 2.6rem; }
  .heads { padding: 0 2.6rem .3rem calc(.9rem + 6px); font-size: .87rem; color: var(--quiet); }
  .fact .label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  .database > summary .sign, .rows > li .sign { display: block; }
  .server > .rows, .well > .rows { margin-left: 0; margin-right: 0; border-width: 1px 0 0; border-radius: 0; }
  .server > summary .counts { display: block; }
  .strip { margin-top: .15rem; }
  .history { grid-template-columns: 23rem minmax(0, 1fr); }
  dl { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
}
@media (prefers-reduced-motion: no-preference) {
  .database > summary::after { transition: transform .15s; }
}
@media (forced-colors: active) {
  .banner, .day, .calendar td { border: 1px solid; }
}
`
