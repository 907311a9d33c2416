import { emptySummary, imageFiles, readImages, type ImageFile } from '../data/images.js';
import { writeNpz } from '../data/npz.js';
import { expected, requireNames } from '../errors.js';
import { frameOf, toPhotograph } from '../performer/place.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { stoppable } from '../explainer/stop.js';
import { peaksOf } from '../evaluate/metrics/index.js';

export interface ExportMapsOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** Images that are skipped. */
  onWarning?: ((text: string) => void) | undefined;
}

/** Bytes of part maps that are held in memory. */
const MAX_BYTES = 2 ** 31;

/**
 * Writes the part maps of photographs (files, or folders of them) as an `.npz` file; `docs/export.md`
 * lists the arrays. Photographs that cannot be used are skipped with a warning. Throws `E_ARGUMENT` for
 * none or too many, `E_FILE`, and `E_STATE` when the signal stops it.
 */
export async function exportMaps(
  explainer: TrainedExplainer,
  paths: readonly string[],
  path: string,
  options: ExportMapsOptions = {},
): Promise<{ path: string; images: number }> {
  requireNames(paths, 'images', 'export');
  const files = await imageFiles(paths);
  const { filters } = explainer.config.network;
  const bytes = files.length * filters * explainer.cells * 8;
  if (files.length === 0)
    throw expected('at least one photograph', 'images', 'none', { op: 'export' });
  if (bytes > MAX_BYTES) {
    throw expected('photographs with at most 2 GiB of part maps', 'images', bytes, {
      op: 'export',
      remedy: 'Export them in several files.',
    });
  }
  const stop = { op: 'export', message: 'The export was stopped.' };
  const images = await stoppable(options.signal, stop, () =>
    exportFiles(explainer, files, path, options),
  );
  return { path, images };
}

async function exportFiles(
  explainer: TrainedExplainer,
  files: readonly ImageFile[],
  path: string,
  { signal, onProgress, onWarning }: ExportMapsOptions,
): Promise<number> {
  const { performer, config } = explainer;
  const { filters, height, width } = config.network;
  const cells = height * width;
  const maps = [1, 2].map(() => new Float32Array(files.length * filters * cells));
  const peaks = new Float32Array(files.length * filters * 2);
  const sizes = new Int32Array(files.length * 2);
  const names: string[] = [];
  const summary = emptySummary();
  const batches = readImages(files, performer.preprocessing, {
    batch: performer.batch,
    summary,
    signal,
    ...(onWarning ? { onWarning } : {}),
  });
  for await (const { images, pixels } of batches) {
    const { layer } = await performer.features(pixels, images.length);
    const { layer1, layer2 } = await explainer.maps(layer, images.length);
    [layer1, layer2].forEach((data, l) => maps[l]?.set(data, names.length * filters * cells));
    const { cell } = peaksOf(layer2, { images: images.length, filters, cells });
    for (const [i, image] of images.entries()) {
      const frame = frameOf(performer, image);
      for (let f = 0; f < filters; f++) {
        const at = cell[i * filters + f] ?? 0;
        const [x, y] = toPhotograph(frame, at % width, Math.floor(at / width));
        peaks.set([y - 0.5, x - 0.5], (names.length * filters + f) * 2);
      }
      sizes.set([image.height, image.width], names.length * 2);
      names.push(image.path);
    }
    onProgress?.(summary.used + summary.skipped.length, files.length);
  }
  const N = names.length;
  const [first, second] = maps.map((data) => ({
    shape: [N, filters, height, width],
    data: data.subarray(0, N * filters * cells),
  }));
  await writeNpz(path, {
    images: { shape: [N], data: names },
    sizes: { shape: [N, 2], data: sizes.subarray(0, N * 2) },
    ...(first && second ? { part_maps_1: first, part_maps_2: second } : {}),
    peaks: { shape: [N, filters, 2], data: peaks.subarray(0, N * filters * 2) },
  });
  return N;
}
