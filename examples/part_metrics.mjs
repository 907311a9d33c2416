// Scores any maps against landmarks: here those of three made-up filters on 200 images.
//   node examples/part_metrics.mjs        (after npm run build)
// Maps are a Float32Array (images, filters, rows * columns); positions are pixels of the network's input.
import { metrics } from '../dist/index.js';

const [images, filters, side, size] = [200, 3, 14, 112];
const stride = size / side;
const grid = {
  rows: side,
  columns: side,
  stride: [stride, stride],
  first: [stride / 2 - 0.5, stride / 2 - 0.5],
};

// One category, two parts: a head anywhere, a tail to the right of it, hidden in every fifth image.
const y = new Float64Array(images * 2);
const x = new Float64Array(images * 2);
const maps = new Float32Array(images * filters * side * side);
for (let n = 0; n < images; n++) {
  const [row, column] = [(5 * n) % side, (3 * n) % (side - 4)];
  const [headY, headX] = [row, column].map((cell) => (cell + 0.5) * stride - 0.5);
  y.set([headY, n % 5 ? headY : NaN], 2 * n);
  x.set([headX, n % 5 ? headX + 4 * stride : NaN], 2 * n);
  const cells = [row * side + column, row * side + column + 4, (n * 37) % (side * side)];
  cells.forEach((cell, f) => (maps[(n * filters + f) * side * side + cell] = 1 + (n % 7)));
}
const annotations = {
  size,
  categories: ['bird'],
  category: new Int32Array(images),
  parts: ['head', 'tail'],
  y,
  x,
};

const peaks = metrics.peaksOf(maps, { images, filters, cells: side * side });
const noise = Float32Array.from(maps, (value, i) => value + ((i * 7919) % 1000) / 300);
const noisy = metrics.peaksOf(noise, { images, filters, cells: side * side });
const input = { peaks, annotations, grid };
const instability = metrics.locationInstability(input);
const parts = metrics.partMetrics(input);
const table = metrics.categoryTable(input);
const vector = metrics.vectorInstability(table);
const r2 = metrics.r2(table, parts);
const consistency = metrics.consistency(input);
const stability = metrics.noiseStability({ ...input, noisy });
for (let f = 0; f < filters; f++) {
  const three = (values) => values[f].toFixed(3);
  console.log(
    `filter ${f}: ${parts.part[f]}, instability ${three(instability.perFilter)},`,
    `vector instability ${three(vector.perFilter)}, R2 ${three(r2.perFilter)},`,
    `purity ${three(parts.perFilter)}, consistency ${three(consistency.perFilter)},`,
    `stability under noise ${three(stability.perFilter)}`,
  );
}
console.log(`${r2.above} of ${r2.distinct} distinct filters follow a part (R2 > 0.3)`);
console.log(`covered: ${parts.covered.join(', ')}; duplicates: ${parts.duplicates}`);
const { fixedPositionBest, random } = metrics.controls(input, { seed: 1 });
console.log(`a fixed position: ${fixedPositionBest.toFixed(3)}, random: ${random.toFixed(3)}`);
