import { expected } from '../../errors.js';

/** The strongest activation of each filter in each image. */
export interface Peaks {
  images: number;
  filters: number;
  /** (images, filters): maximum of the map, the "activation" of the filter in the image. */
  value: Float32Array;
  /** (images, filters): its cell, row-major; of equal maxima the first. */
  cell: Int32Array;
}

/** Where the cells of a map lie in the network's input. */
export interface Grid {
  rows: number;
  columns: number;
  /** Distance of neighbouring centres, [vertical, horizontal], pixels. */
  stride: readonly [number, number];
  /** Centre of the first cell, [y, x], 0-based pixels. */
  first: readonly [number, number];
}

/** Peaks of no image yet, to be filled batch by batch with `peaksOf`. */
export function emptyPeaks(images: number, filters: number): Peaks {
  const length = images * filters;
  return { images, filters, value: new Float32Array(length), cell: new Int32Array(length) };
}

/**
 * Peaks of maps (images, filters, cells), row-major; of longer `maps` the rest is ignored. With `into`
 * they are written there from image `first` on. A NaN in a map becomes its peak. Throws `E_SHAPE`.
 */
export function peaksOf(
  maps: Float32Array,
  { images, filters, cells }: { images: number; filters: number; cells: number },
  { into = emptyPeaks(images, filters), first = 0 }: { into?: Peaks; first?: number } = {},
): Peaks {
  if (maps.length < images * filters * cells || cells < 1) {
    const what = `${String(images)} x ${String(filters)} x ${String(cells)} values`;
    throw expected(what, 'maps', maps, { code: 'E_SHAPE', op: 'peaks' });
  }
  if (into.filters !== filters || first < 0 || first + images > into.images) {
    const what = `peaks of ${String(filters)} filters and ${String(first + images)} images`;
    throw expected(what, 'into', [into.images, into.filters], { code: 'E_SHAPE', op: 'peaks' });
  }
  for (let map = 0; map < images * filters; map++) {
    const start = map * cells;
    let best = start;
    let value = maps[start] ?? NaN;
    for (let i = start + 1; i < start + cells && !Number.isNaN(value); i++) {
      const next = maps[i] ?? NaN;
      if (next > value || Number.isNaN(next)) {
        value = next;
        best = i;
      }
    }
    into.value[first * filters + map] = value;
    into.cell[first * filters + map] = best - start;
  }
  return into;
}

/** Centre of a cell, [y, x], in pixels of the network's input. */
export function cellCentre(grid: Grid, cell: number): [number, number] {
  const { columns, stride, first } = grid;
  return [
    first[0] + stride[0] * Math.floor(cell / columns),
    first[1] + stride[1] * (cell % columns),
  ];
}

/** Throws `E_SHAPE` unless peaks are of `images` images on this grid, `E_STATE` unless all are finite. */
export function checkPeaks(peaks: Peaks, images: number, grid: Grid): void {
  const length = peaks.images * peaks.filters;
  if (peaks.images !== images || peaks.value.length !== length || peaks.cell.length !== length) {
    throw expected(`peaks of ${String(images)} images`, 'peaks', [peaks.images, peaks.filters], {
      code: 'E_SHAPE',
      op: 'metrics',
    });
  }
  const cells = grid.rows * grid.columns;
  const outside = peaks.cell.find((cell) => !(cell >= 0 && cell < cells));
  if (outside !== undefined) {
    throw expected(`cells below ${String(cells)}`, 'peaks', outside, { op: 'metrics' });
  }
  const wrong = peaks.value.findIndex((value) => !Number.isFinite(value));
  if (wrong < 0) return;
  const filter = wrong % peaks.filters;
  throw expected(`finite activations of filter ${String(filter)}`, 'peaks', peaks.value[wrong], {
    code: 'E_STATE',
    op: 'metrics',
  });
}
