import { setImmediate } from 'node:timers/promises';
import type { FeatureStore } from '../data/feature_store.js';
import type { Annotations } from '../data/landmarks.js';
import { labelAt, maskPath, readMask } from '../data/masks.js';
import { PartlensError } from '../errors.js';
import { readBatch } from '../explainer/batches.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { Random } from '../random.js';
import { gridOf } from './filter_scores.js';
import type { MapSource } from './map_source.js';
import {
  cellCentre,
  partClusters,
  type ClusterScores,
  type Grid,
  type Responses,
} from './metrics/index.js';
import { mapsOfSets, setSizes } from './peak_sets.js';
import { linearProbe, type ProbeScores } from './probe.js';
import { sampleOf } from './sample.js';

/** Photographs at most whose cells are clustered, and cells of each. */
const PHOTOGRAPHS = 400;
const CELLS_EACH = 32;
const BATCH = 32;

/** Cells of one photograph that show a part. */
export interface LabelledPhotograph {
  /** Row of the feature store. */
  row: number;
  cells: number[];
  /** Label of each cell, from 1. */
  labels: number[];
}

/** Filters as clusters of the cells that show parts. */
export interface PartClusters {
  /** What the labels come from. */
  from: 'masks' | 'landmarks';
  photographs: number;
  cells: number;
  /** Different labels. */
  labels: number;
  /** Of each set, for at most 4, 8 and 16 groups of filters. */
  sets: Record<string, ClusterScores[]>;
  /** How well a linear readout of all filters of each set names the parts of other photographs. */
  probes: Record<string, ProbeScores>;
}

/**
 * Cells that show a part, from masks `<folder>/<path of the photograph>.png`, one grey channel with a label for
 * each pixel and 0 for none: a cell has the label of the pixel in which its centre lies. Of at most 400
 * photographs with a mask (a seeded sample), of each at most 32 cells. Throws `E_FILE` when none has one.
 */
export async function cellsOfMasks(
  { performer, config }: TrainedExplainer,
  images: readonly { row: number; path: string }[],
  folder: string,
): Promise<LabelledPhotograph[]> {
  const grid = gridOf(performer);
  const random = new Random(config.options.seed, 'evaluate/masks');
  const found: LabelledPhotograph[] = [];
  for (const i of random.permutation(images.length)) {
    const { row, path } = images[i] ?? { row: 0, path: '' };
    const mask = await readMask(maskPath(folder, path));
    if (!mask) continue;
    const all = Array.from({ length: grid.rows * grid.columns }, (_, cell) => {
      return { cell, label: labelAt(mask, cellCentre(grid, cell), performer.preprocessing.size) };
    });
    const shown = all.filter(({ label }) => label > 0);
    const some = sampleOf(shown, CELLS_EACH, random.split(path));
    if (some.length === 0) continue;
    const [cells, labels] = [some.map(({ cell }) => cell), some.map(({ label }) => label)];
    if (found.push({ row, cells, labels }) === PHOTOGRAPHS) break;
  }
  if (found.length > 0) return found.sort((a, b) => a.row - b.row);
  throw new PartlensError(
    'E_FILE',
    `[masks] Expected a PNG of labels for at least one photograph but received none in ${folder}.\n` +
      'Masks have the paths of the photographs, with the extension png.',
    { op: 'masks' },
  );
}

/**
 * The same from landmarks, each the cell whose centre is nearest; parts of equal names are one label. Undefined
 * where there are fewer than two parts: nothing to be told apart.
 */
export function cellsOfLandmarks(
  { performer, config }: TrainedExplainer,
  rows: readonly number[],
  { parts, y, x }: Annotations,
): LabelledPhotograph[] | undefined {
  const grid = gridOf(performer);
  const all = rows.flatMap((row, n) => {
    const labels = [...parts.keys()].filter((p) => !Number.isNaN(y[n * parts.length + p] ?? NaN));
    const cells = labels.map((p) => {
      const at = n * parts.length + p;
      return nearestCell(grid, [y[at] ?? NaN, x[at] ?? NaN]);
    });
    return labels.length > 0 ? { row, cells, labels: labels.map((p) => p + 1) } : [];
  });
  const different = new Set(all.flatMap(({ labels }) => labels));
  if (different.size < 2) return undefined;
  return sampleOf(all, PHOTOGRAPHS, new Random(config.options.seed, 'evaluate/landmarks'));
}

function nearestCell({ rows, columns, stride, first }: Grid, [y, x]: [number, number]): number {
  const index = (at: number, i: 0 | 1, count: number): number =>
    Math.min(count - 1, Math.max(0, Math.round((at - first[i]) / stride[i])));
  return index(y, 0, rows) * columns + index(x, 1, columns);
}

/**
 * How well each set's filters tell the parts apart: `metrics.partClusters` of their maps at labelled cells, each
 * filter divided by its mean peak over these photographs; and how well a linear readout of them does. Throws the
 * signal's reason.
 */
export async function scoreClusters(
  explainer: TrainedExplainer,
  store: FeatureStore,
  photographs: readonly LabelledPhotograph[],
  options: {
    sources?: readonly MapSource[] | undefined;
    signal?: AbortSignal | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
  } = {},
): Promise<Omit<PartClusters, 'from'>> {
  const { sources = [], signal, onProgress } = options;
  const labels = photographs.flatMap((photograph) => photograph.labels);
  const collected = Object.entries(setSizes({ explainer, sources })).map(
    ([name, filters]) => new Collector(name, filters, labels.length),
  );
  const { cells } = explainer;
  for (let start = 0; start < photographs.length; start += BATCH) {
    signal?.throwIfAborted();
    const part = photographs.slice(start, start + BATCH);
    const { features } = await readBatch(
      store,
      part.map(({ row }) => row),
      { targets: 0, bypass: 0, output: false },
    );
    const own = { performer: features, ...(await explainer.maps(features, part.length)) };
    const maps = await mapsOfSets(sources, own, { count: part.length, cells });
    for (const set of collected) set.take(maps[set.name], part, cells);
    onProgress?.(start + part.length, photographs.length);
  }
  const sets: Record<string, ClusterScores[]> = {};
  const probes: Record<string, ProbeScores> = {};
  const of = photographs.flatMap(({ cells: shown }, n) => shown.map(() => n));
  const { seed } = explainer.config.options;
  for (const set of collected) {
    const responses = set.responses(photographs.length);
    sets[set.name] = partClusters(responses, labels);
    await setImmediate();
    probes[set.name] = await linearProbe(responses, labels, { photographs: of, seed });
    await setImmediate();
  }
  return {
    photographs: photographs.length,
    cells: labels.length,
    labels: new Set(labels).size,
    sets,
    probes,
  };
}

/** Values of one set at the labelled cells, and the sum of its peaks. */
class Collector {
  readonly #values: Float32Array;
  readonly #peaks: Float64Array;
  #cells = 0;

  constructor(
    readonly name: string,
    readonly filters: number,
    cells: number,
  ) {
    this.#values = new Float32Array(cells * filters);
    this.#peaks = new Float64Array(filters);
  }

  take(
    maps: Float32Array | undefined,
    photographs: readonly LabelledPhotograph[],
    cells: number,
  ): void {
    const { filters } = this;
    photographs.forEach((photograph, i) => {
      for (let f = 0; f < filters; f++) {
        const map = maps?.subarray((i * filters + f) * cells, (i * filters + f + 1) * cells);
        let peak = 0;
        for (const value of map ?? []) if (value > peak) peak = value;
        this.#peaks[f] = (this.#peaks[f] ?? 0) + peak;
        photograph.cells.forEach((cell, c) => {
          this.#values[(this.#cells + c) * filters + f] = map?.[cell] ?? 0;
        });
      }
      this.#cells += photograph.cells.length;
    });
  }

  responses(photographs: number): Responses {
    const scale = this.#peaks.map((peak) => peak / photographs);
    return { values: this.#values, filters: this.filters, scale };
  }
}
