import { readFeatureIndex } from '../data/feature_index.js';
import { FeatureStore, type FeatureRow } from '../data/feature_store.js';
import { fingerprint, fingerprintImages } from '../data/fingerprint.js';
import {
  emptySummary,
  FORMATS,
  listNotices,
  readImages,
  type ImageFile,
  type ImageList,
  type ImageSummary,
} from '../data/images.js';
import { expected, PartlensError } from '../errors.js';
import type { Performer } from '../performer/index.js';
import { join } from 'node:path';

/** Names of the tensors of a run's feature store. */
export const LAYER = 'layer';
export const OUTPUT = 'output';
export const targetName = (l: number): string => `target_${String(l + 1)}`;
export const bypassName = (i: number): string => `bypass_${String(i + 1)}`;

export interface ExtractOptions {
  performer: Performer;
  images: readonly ImageFile[];
  /** Folder of the store. */
  folder: string;
  mirror: boolean;
  dtype: 'float32' | 'float16';
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  onWarning?: ((text: string) => void) | undefined;
  /** Called before a store of other features in the folder is replaced; may throw to keep it. */
  onOtherStore?: (() => void) | undefined;
}

/**
 * The performer's features of all images (and their mirrored copies): the layer's maps, the targets and
 * the output, extracted once into a store and reused when model, images and preprocessing are the same.
 * An extraction that was stopped goes on. The caller closes the store.
 */
export async function extractFeatures(
  options: ExtractOptions,
): Promise<{ store: FeatureStore; summary: ImageSummary }> {
  const { performer, images, folder, mirror, dtype, signal } = options;
  const key = fingerprint({
    model: performer.fingerprint,
    layer: performer.layer.name,
    targets: performer.targets.map(({ name }) => name),
    bypass: performer.bypass.map(({ name }) => name),
    output: performer.output.name,
    preprocessing: performer.preprocessing,
    images: await fingerprintImages(images, { cache: join(folder, 'hashes.json'), signal }),
    mirror,
    dtype,
  });
  const summary = emptySummary();
  const known = await openStore(folder, key);
  if (known) {
    summary.used = known.rows.filter(({ mirrored }) => !mirrored).length;
    return { store: known, summary };
  }
  const old = await readFeatureIndex(folder).catch(() => undefined);
  if (old && old.fingerprint !== key) options.onOtherStore?.();
  const store = await FeatureStore.create(folder, {
    fingerprint: key,
    tensors: shapes(performer),
    dtype,
  });
  try {
    await fill(store, options, summary);
    await store.finish();
  } catch (error) {
    await store.close().catch(() => undefined);
    throw error;
  }
  return { store, summary };
}

/** The complete store of these features, if there is one. Throws `E_FILE` with the remedy where it is damaged. */
async function openStore(folder: string, key: string): Promise<FeatureStore | undefined> {
  try {
    return await FeatureStore.open(folder, key);
  } catch (error) {
    if (!(error instanceof PartlensError) || error.code !== 'E_FILE') throw error;
    const remedy = `Remove ${folder} to extract the features again.`;
    const [what = ''] = error.message.split('\n');
    throw new PartlensError('E_FILE', `${what}\n${remedy}`, {
      details: error.details,
      cause: error,
    });
  }
}

async function fill(
  store: FeatureStore,
  { performer, images, mirror, signal, onProgress, onWarning }: ExtractOptions,
  summary: ImageSummary,
): Promise<void> {
  const seen = new Set(store.rows.map(({ image }) => image));
  const left = images.filter(({ path }) => !seen.has(path));
  summary.used = seen.size;
  const batches = readImages(left, performer.preprocessing, {
    batch: performer.batch,
    mirror,
    summary,
    ...(signal ? { signal } : {}),
    ...(onWarning ? { onWarning } : {}),
  });
  for await (const { images: loaded, pixels, mirrored } of batches) {
    const copies: { rows: FeatureRow[]; data: Record<string, Float32Array> }[] = [];
    for (const [copy, data] of [pixels, mirrored].entries()) {
      if (!data) continue;
      const { layer, bypass, targets, output } = await performer.features(data, loaded.length);
      const rows = loaded.map(({ path, className, width, height }) => ({
        image: path,
        mirrored: copy === 1,
        className,
        width,
        height,
      }));
      const named = [
        ...targets.map((target, l) => [targetName(l), target] as const),
        ...bypass.map((value, i) => [bypassName(i), value] as const),
      ];
      const all = { [LAYER]: layer, [OUTPUT]: output, ...Object.fromEntries(named) };
      copies.push({ rows, data: all });
    }
    await store.appendTogether(copies);
    onProgress?.(summary.used + summary.skipped.length, images.length);
  }
}

function shapes({ layer, targets, bypass, output }: Performer): Record<string, number[]> {
  const named = [
    ...targets.map(({ shape }, l) => [targetName(l), [...shape]] as const),
    ...bypass.map(({ shape }, i) => [bypassName(i), [...shape]] as const),
  ];
  return {
    [LAYER]: [layer.channels, layer.height, layer.width],
    [OUTPUT]: [output.size],
    ...Object.fromEntries(named),
  };
}

/** Rows of the store that belong to one side of the split. */
export function rowsOf(
  store: FeatureStore,
  images: readonly string[],
  mirrored: boolean,
): number[] {
  const wanted = new Set(images);
  return store.rows.flatMap((row, i) =>
    wanted.has(row.image) && (mirrored || !row.mirrored) ? [i] : [],
  );
}

/**
 * The images of some classes, default all. Throws `E_ARGUMENT` for a class that is not there, `E_FILE` for a
 * folder without images.
 */
export function chooseImages(list: ImageList, wanted: readonly string[] | undefined): ImageFile[] {
  const { root, images, classes } = list;
  if (images.length === 0) {
    const what = `at least one usable image (${FORMATS})`;
    const remedy = listNotices(list).join('\n');
    throw expected(what, root, 'none', { code: 'E_FILE', op: 'train', remedy });
  }
  if (wanted?.length === 0) throw expected('at least one name', 'classes', 'none', { op: 'train' });
  const unknown = wanted?.find((name) => !classes.includes(name));
  if (unknown !== undefined) {
    throw expected(`one of ${classes.join(', ')}`, 'classes', unknown, { op: 'train' });
  }
  return images.filter(({ className }) => wanted?.includes(className) ?? true);
}
