// Draws the most stable part filters of a run on the photographs that excite them most.
//   node examples/draw_parts.mjs RUN LANDMARKS.csv OUT.png        (after npm run build)
// One row for each part: six images, the filter's map laid over them.
import sharp from 'sharp';
import { listImages, loadExplainer, readImage } from '../dist/index.js';

const [run, csv, out] = process.argv.slice(2);
const SIDE = 150;
const COLUMNS = 6;

const explainer = await loadExplainer(run);
const { performer, config } = explainer;
const { instability } = await explainer.evaluate({ landmarks: csv });
const { peaks, perFilter } = instability.layer2;
const list = await listImages(config.images.folder);
const names = new Map(list.images.map((image) => [image.path, image]));
const photographs = [...config.images.train, ...config.images.validation].map((path) =>
  names.get(path),
);

const maps = [];
for (const image of photographs) {
  const { pixels } = await readImage(image.file, performer.preprocessing);
  const { layer } = await performer.features(pixels, 1);
  maps.push((await explainer.maps(layer, 1)).layer2);
}

/** The filters of the smallest instability, no two with their peak in the same cells. */
function chooseFilters(count) {
  const order = [...perFilter.keys()]
    .filter((f) => !Number.isNaN(perFilter[f]))
    .sort((a, b) => perFilter[a] - perFilter[b]);
  const chosen = [];
  for (const f of order) {
    const cellOf = (g) =>
      [...Array(peaks.images).keys()].map((n) => peaks.cell[n * peaks.filters + g]);
    const cells = cellOf(f);
    const alike = chosen.some((g) => {
      const same = cellOf(g).filter((cell, n) => cell === cells[n]).length;
      return same > 0.15 * peaks.images;
    });
    if (!alike) chosen.push(f);
    if (chosen.length === count) break;
  }
  return chosen;
}

/** One photograph with one map laid over it: dark where the filter is silent. */
async function tile(image, map, side) {
  const top = Math.max(...map);
  const shade = Buffer.from(map.map((value) => 190 * (1 - Math.max(0, value) / top)));
  const alpha = await sharp(shade, { raw: { width: side, height: side, channels: 1 } })
    .resize(SIDE, SIDE, { kernel: 'cubic' })
    .extractChannel(0)
    .raw()
    .toBuffer();
  const dark = await sharp({
    create: { width: SIDE, height: SIDE, channels: 3, background: '#101828' },
  })
    .joinChannel(alpha, { raw: { width: SIDE, height: SIDE, channels: 1 } })
    .png()
    .toBuffer();
  return sharp(image.file)
    .resize(SIDE, SIDE)
    .composite([{ input: dark }])
    .png()
    .toBuffer();
}

const { side, filters } = config.network;
const cells = side * side;
const tiles = [];
for (const [row, f] of chooseFilters(4).entries()) {
  const strength = maps.map((map) => Math.max(...map.subarray(f * cells, (f + 1) * cells)));
  const best = [...strength.keys()].sort((a, b) => strength[b] - strength[a]);
  const spread = [...Array(COLUMNS).keys()].map((i) => best[i * 7]);
  for (const [column, n] of spread.entries()) {
    const map = Array.from(maps[n].subarray(f * cells, (f + 1) * cells));
    const input = await tile(photographs[n], map, side);
    tiles.push({ input, left: column * (SIDE + 4), top: row * (SIDE + 4) });
  }
  console.log(`row ${row + 1}: filter ${f} of ${filters}, instability ${perFilter[f].toFixed(4)}`);
}
const height = (tiles.at(-1).top ?? 0) + SIDE;
const sheet = { width: COLUMNS * (SIDE + 4) - 4, height, channels: 3, background: '#ffffff' };
await sharp({ create: sheet }).composite(tiles).png({ palette: true }).toFile(out);
explainer.dispose();
