import { realpath } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { readLandmarkFile, type LandmarkFile } from './landmark_files/read.js';
import { badLandmark, type LandmarkRow } from './landmark_files/row.js';
import { mapOrdered } from './ordered.js';
import { sidesOf, type ImageSize } from './image_size.js';

/** An image that landmarks may belong to. */
export interface LandmarkImage {
  /** Real path: see `ImageFile`. */
  file: string;
  /** Category of an image to which the landmarks give none. */
  className: string;
  /** Size of the upright image (EXIF orientation applied), pixels. */
  width: number;
  height: number;
}

/**
 * Part positions of N images, for P parts. The frame is the network's input: 0-based pixels, the centre
 * of the top left pixel at (0, 0), y downwards.
 */
export interface Annotations {
  /** Of the network's input, pixels. */
  size: ImageSize;
  /** Names of the categories, sorted. */
  categories: readonly string[];
  /** (N) index into `categories`. */
  category: Int32Array;
  /** Names of the parts, sorted. Equal names of two categories are one part here. */
  parts: readonly string[];
  /** (N, P), NaN where the part is not annotated. */
  y: Float64Array;
  x: Float64Array;
}

/** What became of the rows of a landmark file. */
export interface LandmarkReport {
  /** Landmarks that the file marks. */
  rows: number;
  /** Entries that say that a part is not there or cannot be seen. */
  unmarked: number;
  /** Landmarks taken. */
  used: number;
  /** Images with at least one of them. */
  images: number;
  /** Rows for images that are not in the set. */
  otherImages: number;
  /** Images of rows for which there is no file, as the rows name them. */
  missingFiles: string[];
  /** Rows with a point outside of its image; left out. */
  outside: number;
  /** Parts with several different points in one image; left out. */
  ambiguous: number;
}

/**
 * Reads landmarks in any of the forms of `readLandmarkFile` (docs/landmarks.md). An image is named relative to
 * the file's folder and matched by its real path, else by the end of its path in the set, if only one image has
 * it; y and x are 0-based pixels of the upright image as it is stored (EXIF orientation applied, before any
 * resizing) and become pixels of the network's input: y' = (y + 0.5) * input height / height - 0.5, so that pixel
 * centres meet pixel centres. Without a category a row's image has the category of its folder.
 * Throws `E_FILE` with the line for what cannot be read, and for two categories of one image. Rows that cannot be
 * used are counted; `onWarning` is told of each kind.
 */
export async function readLandmarks(
  path: string,
  images: readonly LandmarkImage[],
  { size, onWarning = () => undefined }: { size: ImageSize; onWarning?: (text: string) => void },
): Promise<{ annotations: Annotations; report: LandmarkReport }> {
  const file = await readLandmarkFile(path);
  const { rows, unmarked } = file;
  const found = await matchImages(file, images);
  const report: LandmarkReport = {
    rows: rows.length,
    unmarked,
    used: 0,
    images: 0,
    otherImages: rows.filter(({ image }) => found.get(image) === 'other').length,
    missingFiles: [...found.keys()].filter((image) => found.get(image) === 'missing'),
    outside: 0,
    ambiguous: 0,
  };
  const annotations = place({ rows, images, found, path, size, report });
  warn(report, path, onWarning);
  return { annotations, report };
}

/** The annotations of some of the images, in the order of `indexes`. */
export function selectImages(all: Annotations, indexes: ArrayLike<number>): Annotations {
  const P = all.parts.length;
  const pick = (values: Float64Array): Float64Array => {
    const result = new Float64Array(indexes.length * P);
    Array.from(indexes).forEach((n, i) => {
      result.set(values.subarray(n * P, (n + 1) * P), i * P);
    });
    return result;
  };
  const category = Int32Array.from(indexes, (n) => all.category[n] ?? 0);
  return { ...all, category, y: pick(all.y), x: pick(all.x) };
}

/** Indexes of the images with at least one landmark. */
export function annotatedImages({ category, parts, y }: Annotations): Int32Array {
  const P = parts.length;
  return Int32Array.from(category.keys()).filter((n) =>
    y.subarray(n * P, (n + 1) * P).some((value) => !Number.isNaN(value)),
  );
}

/** For each image that rows name: its index in the set, or why there is none. */
async function matchImages(
  { rows, folder }: LandmarkFile,
  images: readonly LandmarkImage[],
): Promise<Map<string, number | 'other' | 'missing'>> {
  const indexes = new Map(images.map(({ file }, n) => [file, n]));
  const byEnd = endsOf(images);
  const names = new Set(rows.map(({ image }) => image));
  const match = async (image: string): Promise<[string, number | 'other' | 'missing']> => {
    const slashes = image.replaceAll('\\', '/');
    for (const name of new Set([image, slashes])) {
      try {
        return [image, indexes.get(await realpath(resolve(folder, name))) ?? 'other'];
      } catch {
        // not there under this name
      }
    }
    return [image, byEnd(slashes) ?? 'missing'];
  };
  const found = new Map<string, number | 'other' | 'missing'>();
  for await (const [image, index] of mapOrdered(names, match, { concurrency: 4, ahead: 64 })) {
    found.set(image, index);
  }
  return found;
}

/** Finds the one image whose path ends with some folders and a name. */
function endsOf(images: readonly LandmarkImage[]): (name: string) => number | undefined {
  const byName = new Map<string, number[]>();
  images.forEach(({ file }, n) => {
    const name = basename(file);
    byName.set(name, [...(byName.get(name) ?? []), n]);
  });
  return (name) => {
    const end = `/${name.replace(/^(\.?\/)+/, '')}`;
    const [first, second] = (byName.get(basename(name)) ?? []).filter((n) =>
      images[n]?.file.replaceAll('\\', '/').endsWith(end),
    );
    return second === undefined ? first : undefined;
  };
}

interface Placing {
  rows: readonly LandmarkRow[];
  images: readonly LandmarkImage[];
  found: ReadonlyMap<string, number | 'other' | 'missing'>;
  path: string;
  size: ImageSize;
  report: LandmarkReport;
}

function place({ rows, images, found, path, size, report }: Placing): Annotations {
  const named: (string | undefined)[] = images.map(() => undefined);
  const parts = [...new Set(rows.map(({ part }) => part))].sort();
  const P = parts.length;
  const partAt = new Map(parts.map((part, p) => [part, p]));
  const y = new Float64Array(images.length * P).fill(NaN);
  const x = new Float64Array(images.length * P).fill(NaN);
  const ambiguous = new Set<number>();
  const [inputHeight, inputWidth] = sidesOf(size);
  for (const row of rows) {
    const n = found.get(row.image);
    if (typeof n !== 'number') continue;
    if (row.category !== '' && row.category !== (named[n] ??= row.category)) {
      throw badLandmark(path, row.at, `Expected the category ${named[n]} as before`, row.category);
    }
    const { width = 1, height = 1 } = images[n] ?? {};
    if (!(row.y >= -0.5 && row.y <= height - 0.5 && row.x >= -0.5 && row.x <= width - 0.5)) {
      report.outside++;
      continue;
    }
    const at = n * P + (partAt.get(row.part) ?? 0);
    const [oldY, oldX] = [y[at] ?? NaN, x[at] ?? NaN];
    const newY = ((row.y + 0.5) * inputHeight) / height - 0.5;
    const newX = ((row.x + 0.5) * inputWidth) / width - 0.5;
    if (!Number.isNaN(oldY) && (oldY !== newY || oldX !== newX)) ambiguous.add(at);
    [y[at], x[at]] = [newY, newX];
  }
  for (const at of ambiguous) y[at] = x[at] = NaN;
  const perImage = images.map(({ className }, n) => named[n] ?? className);
  const categories = [...new Set(perImage)].sort();
  const category = Int32Array.from(perImage, (name) => categories.indexOf(name));
  const result = { size, categories, category, parts, y, x };
  report.ambiguous = ambiguous.size;
  report.used = y.reduce((sum, value) => sum + Number(!Number.isNaN(value)), 0);
  report.images = annotatedImages(result).length;
  return result;
}

function warn(report: LandmarkReport, path: string, onWarning: (text: string) => void): void {
  const { missingFiles: missing, outside, ambiguous, otherImages } = report;
  const tell = (count: number, text: string): void => {
    if (count > 0) onWarning(`${path}: ${String(count)} ${text}`);
  };
  const names = `${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ', ...' : ''}`;
  tell(missing.length, `images of landmarks do not exist: ${names}`);
  tell(otherImages, 'landmarks are of images outside the set');
  tell(outside, 'landmarks lie outside of their image and are left out');
  tell(ambiguous, 'parts have several landmarks in one image and are left out');
}
