// node --import tsx/esm bench/landmark_probe.ts --model M.onnx --layer NAME --images FOLDER --landmarks L.csv
//
// How far the maps of a layer tell where a landmark is, for someone who is told: a linear readout of each cell's
// features (averaged over 3 x 3 cells), fitted on every second photograph of a category, and R2 of its strongest
// cell on the others, as `evaluate` defines it. Filters that learn without landmarks have this above them.
// Beside it R2 of the best single channel, chosen by the photographs that it is scored on, and of the energy.
import { parseArgs } from 'node:util';
import { listImages } from '../lib/data/image_files.js';
import { readImage, readImageSize } from '../lib/data/images.js';
import { annotatedImages, readLandmarks } from '../lib/data/landmarks.js';
import { cellCentre, type Grid } from '../lib/evaluate/metrics/index.js';
import { LeastSquares } from '../lib/explainer/least_squares.js';
import { loadPerformer } from '../lib/index.js';

/** Width of the wanted answer around a landmark, cells. */
const SIGMA = 1.5;
/** Cells that a readout is fitted on, at most. */
const CELLS = 20_000;

const text = { type: 'string' } as const;
const { values: given } = parseArgs({
  options: { model: text, layer: text, images: text, landmarks: text },
});
const { model = '', layer, images: folder = '', landmarks = '' } = given;
const performer = await loadPerformer(model, { ...(layer === undefined ? {} : { layer }) });
const { height, width, channels, geometry } = performer.layer;
const grid: Grid = {
  ...{ rows: height, columns: width },
  ...{ stride: geometry.stride, first: geometry.firstCentre },
};
const cells = height * width;

interface Photograph {
  features: Float32Array;
  /** Of the landmark, pixels. */
  at: [y: number, x: number];
}

/** Maps (C, n, m), each value the mean of the 3 x 3 around it, of norm 1 over all. */
function smoothed(maps: Float32Array): Float32Array {
  const result = new Float32Array(maps.length);
  for (let c = 0; c < channels; c++) {
    for (let cell = 0; cell < cells; cell++) {
      const [y, x] = [Math.floor(cell / width), cell % width];
      let sum = 0;
      for (let i = Math.max(0, y - 1); i <= Math.min(height - 1, y + 1); i++) {
        for (let j = Math.max(0, x - 1); j <= Math.min(width - 1, x + 1); j++) {
          sum += maps[c * cells + i * width + j] ?? 0;
        }
      }
      result[c * cells + cell] = sum / 9;
    }
  }
  const norm = Math.sqrt(result.reduce((sum, value) => sum + value ** 2, 0));
  return result.map((value) => (norm > 0 ? value / norm : 0));
}

/** 1 - var(peak - landmark) / var(landmark) of the strongest cell of one map a photograph. */
function r2(
  photographs: readonly Photograph[],
  mapOf: (p: Photograph) => ArrayLike<number>,
): number {
  const spread = (values: readonly number[]): number => {
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    return values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  };
  const off = photographs.map((photograph) => {
    const map = mapOf(photograph);
    let best = 0;
    for (let cell = 1; cell < cells; cell++) {
      if ((map[cell] ?? 0) > (map[best] ?? 0)) best = cell;
    }
    const [y, x] = cellCentre(grid, best);
    return [y - photograph.at[0], x - photograph.at[1]] as const;
  });
  const both = (of: readonly (readonly [number, number])[]): number =>
    spread(of.map(([y]) => y)) + spread(of.map(([, x]) => x));
  return 1 - both(off) / both(photographs.map(({ at }) => at));
}

/** The readout fitted on some photographs, as a map of others. */
async function fit(photographs: readonly Photograph[]): Promise<(p: Photograph) => Float32Array> {
  const squares = new LeastSquares(channels, 1, { seed: 1, most: CELLS });
  for (const { features, at } of photographs) {
    const wanted = Float32Array.from({ length: cells }, (_, cell) => {
      const [y, x] = cellCentre(grid, cell);
      const [dy, dx] = [(y - at[0]) / grid.stride[0], (x - at[1]) / grid.stride[1]];
      return Math.exp(-(dy * dy + dx * dx) / (2 * SIGMA * SIGMA));
    });
    await squares.add(features, wanted, { images: 1, batches: photographs.length });
  }
  const { weights } = await squares.solve();
  return ({ features }) =>
    Float32Array.from({ length: cells }, (_, cell) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) {
        sum += (weights[c] ?? 0) * (features[c * cells + cell] ?? 0);
      }
      return sum;
    });
}

const { images } = await listImages(folder);
const sized = await Promise.all(
  images.map(async (image) => ({ ...image, ...(await readImageSize(image.file)) })),
);
const { annotations } = await readLandmarks(landmarks, sized, {
  size: [performer.input.height, performer.input.width],
});
const { parts, categories, category } = annotations;
const found = new Map<string, Photograph[]>();
for (const n of annotatedImages(annotations)) {
  const { pixels } = await readImage(sized[n]?.file ?? '', performer.preprocessing);
  const features = smoothed((await performer.features(pixels, 1)).layer);
  parts.forEach((part, p) => {
    const at = n * parts.length + p;
    const [y, x] = [annotations.y[at] ?? NaN, annotations.x[at] ?? NaN];
    if (Number.isNaN(y)) return;
    const name = `${categories[category[n] ?? 0] ?? ''} | ${part}`;
    found.set(name, [...(found.get(name) ?? []), { features, at: [y, x] }]);
  });
}
console.log('| category | landmark | photographs | told readout | best channel | energy |');
console.log('|---|---|---|---|---|---|');
for (const [name, photographs] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const fitted = photographs.filter((_, i) => i % 2 === 0);
  const scored = photographs.filter((_, i) => i % 2 === 1);
  if (fitted.length < 10) continue;
  const channel = (c: number) => (p: Photograph) => p.features.subarray(c * cells, (c + 1) * cells);
  const best = Math.max(...Array.from({ length: channels }, (_, c) => r2(photographs, channel(c))));
  const energy = r2(photographs, ({ features }) =>
    Float32Array.from({ length: cells }, (_, cell) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += (features[c * cells + cell] ?? 0) ** 2;
      return sum;
    }),
  );
  const numbers = [r2(scored, await fit(fitted)), best, energy].map((value) => value.toFixed(2));
  console.log(`| ${name} | ${[String(photographs.length), ...numbers].join(' | ')} |`);
}
performer.dispose();
