// node --import tsx/esm bench/part_clouds.ts RUN LANDMARKS.csv OUT.png [--part head]
//
// Where the steadiest filters answer, seen from a landmark: a dot for each photograph of the filter's category,
// at (peak - landmark) in shares of the image diagonal; the cross is the landmark. A filter that follows the
// part makes a small cloud, one that answers anywhere a wide one. Above: filters of conv_interp_2, no two of
// them duplicates; below: the performer's own. No photograph is shown.
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { sidesOf } from '../lib/data/image_size.js';
import type { Annotations } from '../lib/data/landmarks.js';
import { gridOf, type FilterScores } from '../lib/evaluate/filter_scores.js';
import { cellCentre, type Grid } from '../lib/evaluate/metrics/index.js';
import { loadExplainer } from '../lib/index.js';

const PANEL = 150;
const TITLE = 34;
const COLUMNS = 5;
/** Shares of the diagonal that a panel shows on each side of the landmark. */
const REACH = 0.5;

const { positionals, values: given } = parseArgs({
  options: { part: { type: 'string', default: 'head' } },
  allowPositionals: true,
});
const [run = '', landmarks = '', out = ''] = positionals;

/** The steadiest filters that fire and duplicate none before them. */
function steadiest({ perFilter, parts }: FilterScores): number[] {
  const filters = Array.from(perFilter.keys()).filter((f) => !Number.isNaN(perFilter[f] ?? NaN));
  filters.sort((a, b) => (perFilter[a] ?? 0) - (perFilter[b] ?? 0));
  return filters.filter((f) => parts.duplicateOf[f] === -1).slice(0, COLUMNS);
}

/** One filter's cloud. */
function panel(
  scores: FilterScores,
  annotations: Annotations,
  { grid, filter, left, top }: { grid: Grid; filter: number; left: number; top: number },
): string {
  const { peaks, perFilter, category } = scores;
  const [height, width] = sidesOf(annotations.size);
  const diagonal = Math.hypot(height, width);
  const part = annotations.parts.indexOf(given.part);
  const own = category[filter] ?? -1;
  const scale = PANEL / (2 * REACH);
  const dots: string[] = [];
  for (let n = 0; n < peaks.images; n++) {
    const at = n * annotations.parts.length + part;
    const [y, x] = [annotations.y[at] ?? NaN, annotations.x[at] ?? NaN];
    const value = peaks.value[n * peaks.filters + filter] ?? 0;
    if (annotations.category[n] !== own || Number.isNaN(y) || !(value > 0)) continue;
    const [peakY, peakX] = cellCentre(grid, peaks.cell[n * peaks.filters + filter] ?? 0);
    const dx = Math.max(-REACH, Math.min(REACH, (peakX - x) / diagonal));
    const dy = Math.max(-REACH, Math.min(REACH, (peakY - y) / diagonal));
    const [cx, cy] = [PANEL / 2 + dx * scale, PANEL / 2 + dy * scale].map((v) => v.toFixed(1));
    dots.push(`<circle cx="${String(cx)}" cy="${String(cy)}" r="2.2"/>`);
  }
  const half = PANEL / 2;
  const name = annotations.categories[own] ?? '';
  const score = (perFilter[filter] ?? NaN).toFixed(3);
  return `<g transform="translate(${String(left)} ${String(top)})">
    <text y="-8" font-size="12">${name}, filter ${String(filter)}: ${score}</text>
    <rect width="${String(PANEL)}" height="${String(PANEL)}" fill="#f4f4f2"/>
    <g fill="#2a6f97" fill-opacity="0.35">${dots.join('')}</g>
    <path d="M${String(half - 7)} ${String(half)}h14M${String(half)} ${String(half - 7)}v14" stroke="#c1121f" stroke-width="2"/>
  </g>`;
}

const explainer = await loadExplainer(run, { backend: 'cpu' });
const { instability } = await explainer.evaluate({ landmarks });
if (!instability) throw new Error('no landmarks');
const grid = gridOf(explainer.performer);
const rows = [
  { title: 'conv_interp_2', scores: instability.layer2 },
  { title: 'performer', scores: instability.performer },
].map(({ title, scores }, row) => {
  const top = row * (PANEL + 2 * TITLE);
  const panels = steadiest(scores).map((filter, column) => {
    const place = { left: 10 + column * (PANEL + 20), top: top + 2 * TITLE };
    return panel(scores, instability.annotations, { grid, filter, ...place });
  });
  return `<text x="10" y="${String(top + 26)}" font-size="16">${title}</text>${panels.join('')}`;
});
const [width, height] = [COLUMNS * (PANEL + 20), 2 * (PANEL + 2 * TITLE) + 10];
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${String(width)}" height="${String(height)}" font-family="sans-serif">
  <rect width="100%" height="100%" fill="white"/>${rows.join('')}</svg>`;
await writeFile(out, await sharp(Buffer.from(svg)).png({ palette: true }).toBuffer());
explainer.dispose();
