/** The page's style: one column on a phone, light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --text: #1b1b1f; --ground: #fbfbfd; --soft: #6b6b75;
  --line: #d9d9e0; --accent: #0b62c4; --against: #b5400a; --warning: #fff3d6; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8ec; --ground: #16161a; --soft: #a0a0ab;
  --line: #36363e; --accent: #6db1ff; --against: #ff9a66; --warning: #4a3a10; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 960px; padding: 16px; color: var(--text); background: var(--ground);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2rem 0 0.5rem; font-size: 1.15rem; }
h3 { margin: 0.5rem 0; font-size: 1rem; }
header p, footer, figcaption, section > p, .two p { color: var(--soft); font-size: 0.9rem; }
header p { margin: 0; } footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 12px 3px 0; text-align: left; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: normal; font-size: 0.85rem; } tbody th { font-weight: normal; }
.warning { background: var(--warning); color: var(--text); padding: 8px 12px; border-radius: 6px; }
.photo { display: block; width: 100%; max-width: 640px; max-height: 80vh; background: var(--line); }
.legend { list-style: none; margin: 8px 0; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 20px; }
.swatch { display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 3px; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 12px; }
figure { margin: 0; overflow-wrap: anywhere; } figure svg { display: block; width: 100%; }
.scroll { overflow: auto; max-height: 480px; } .scroll table { white-space: nowrap; }
 .bar { min-width: 70px; width: 25%; }
.bar i { display: block; height: 10px; border-radius: 2px; }
.for { background: var(--accent); } .against { background: var(--against); }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 0 32px; }
.chart { width: 100%; } .chart text { fill: var(--soft); font-size: 11px; }
.grid { stroke: var(--line); } polyline { fill: none; stroke-width: 2; }
polyline.parts { stroke: var(--accent); } polyline.random { stroke: var(--soft); stroke-dasharray: 5 4; }
.key::before { content: ''; display: inline-block; width: 22px; margin-right: 4px; vertical-align: middle;
  border-top: 2px solid var(--accent); } .key.random::before { border-top: 2px dashed var(--soft); }
`;
