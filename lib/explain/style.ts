/** The page's style: one column on a phone, light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --text: #16202c; --ground: #f6f7f9; --soft: #586472;
  --line: #dde2e8; --accent: #0c7a73; --against: #b4571b; --warning: #fff3d6; }
@media (prefers-color-scheme: dark) { :root { --text: #e6ebf0; --ground: #10151b; --soft: #9aa7b4;
  --line: #2b3642; --accent: #3fc2b5; --against: #f0935a; --warning: #4a3a10; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 20px 20px 48px; color: var(--text); background: var(--ground);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; }
.kicker { font-weight: 600; letter-spacing: 0.06em; text-transform: uppercase; } header .kicker {
  color: var(--accent); font-size: 0.8rem; }
.top { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 16px 32px; margin-top: 16px; align-items: start; }
.top h2 { margin-top: 1.25rem; } .wide { width: 100%; } th.n, td.n { text-align: right; }
.gifts { list-style: none; margin: 8px 0; padding: 0; } .gifts small { color: var(--soft); }
.gifts li { display: grid; grid-template-columns: 1fr auto; gap: 0 12px; margin-bottom: 8px; }
.gifts .signed { grid-column: 1 / -1; }
.signed { position: relative; display: block; height: 8px; background: linear-gradient(var(--line), var(--line)) center / 1px 100% no-repeat; }
.signed i { position: absolute; top: 1px; height: 6px; border-radius: 2px; }
.sentence { margin: 10px 0 0 !important; color: var(--text) !important; font-size: 1.15rem !important; font-weight: 600; }
.region { border-bottom: 1px solid var(--line); }
.region summary { display: grid; grid-template-columns: 14px minmax(9em, 1fr) 9.5em minmax(80px, 1.2fr) 9em;
  gap: 0 12px; align-items: center; padding: 6px 0; cursor: pointer; }
.region summary b { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
.region small { color: var(--soft); } .region summary small + small { grid-column: 2 / -1; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 20px; }
.card { display: grid; grid-template-columns: minmax(110px, 2fr) 3fr; gap: 14px; align-items: start; }
.card svg { display: block; width: 100%; border-radius: 6px; } .card a { color: inherit; }
.card h3, .card p { margin: 0 0 4px; } .card small { color: var(--soft); font-weight: normal; }
.chip { width: 12px; height: 12px; border-radius: 3px; } .inside { display: grid; padding: 4px 0 16px;
  grid-template-columns: 240px minmax(0, 1fr); gap: 16px 24px; align-items: start; }
@media (max-width: 720px) { .inside { grid-template-columns: minmax(0, 1fr); } .inside figure { max-width: 300px; } }
@media (max-width: 560px) { .region summary { grid-template-columns: 14px 1fr auto; }
  .region summary .signed, .region summary small { grid-column: 2 / -1; } }
.gifts b, figcaption b { font-variant-numeric: tabular-nums; font-weight: 600; }
figcaption small { display: block; } h2 { margin: 2rem 0 0.5rem; font-size: 1.15rem; }
h3 { margin: 0.5rem 0; font-size: 1rem; }
header p, footer, figcaption, section p, .two p { color: var(--soft); font-size: 0.9rem; }
header p { margin: 0; } footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: left; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: normal; font-size: 0.85rem; } tbody th { font-weight: normal; }
.warning { background: var(--warning); color: var(--text); padding: 8px 12px; border-radius: 6px; }
.photo { display: block; width: 100%; max-height: 80vh; border-radius: 8px; background: var(--line); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 12px; }
figure { margin: 0; overflow-wrap: anywhere; } figure svg { display: block; width: 100%; border-radius: 6px; }
.scroll { overflow: auto; max-height: 480px; } .scroll table { white-space: nowrap; }
 .bar { min-width: 70px; width: 25%; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 0 32px; }
.chart { width: 100%; max-width: 440px; } .chart text { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 2; }
polyline.parts { stroke: var(--accent); } polyline.random { stroke: var(--soft); stroke-dasharray: 5 4; }
.key::before { content: ''; display: inline-block; width: 22px; margin-right: 4px; vertical-align: middle;
  border-top: 2px solid var(--accent); } .key.random::before { border-top: 2px dashed var(--soft); }
`;
