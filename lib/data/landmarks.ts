import { readFile, realpath } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PartlensError } from '../errors.js';
import { parseCsv } from './csv.js';
import { fileError } from './file_error.js';
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
  rows: number;
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

interface Row {
  line: number;
  image: string;
  category: string;
  part: string;
  y: number;
  x: number;
}

const COLUMNS = ['image', 'category', 'part', 'y', 'x'] as const;

/**
 * Reads a landmark file: CSV with a header and the columns image, category, part, y, x in any order;
 * others are ignored. `image` is relative to the file's folder and matched by its real path; y and x are
 * 0-based pixels of the upright image as it is stored (EXIF orientation applied, before any resizing) and
 * become pixels of the network's input: y' = (y + 0.5) * input height / height - 0.5, so that pixel centres meet
 * pixel centres. Without a category a row's image has the category of its folder.
 * Throws `E_FILE` with the line for a missing column, a number that is none, or two categories of one
 * image. Rows that cannot be used are counted; `onWarning` is told of each kind.
 */
export async function readLandmarks(
  path: string,
  images: readonly LandmarkImage[],
  { size, onWarning = () => undefined }: { size: ImageSize; onWarning?: (text: string) => void },
): Promise<{ annotations: Annotations; report: LandmarkReport }> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw fileError('read', path, cause);
  }
  const rows = parseRows(text, path);
  const found = await matchImages(rows, path, images);
  const report: LandmarkReport = {
    rows: rows.length,
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

function parseRows(text: string, path: string): Row[] {
  const [header, ...lines] = parseCsv(text, path);
  const names = header?.fields.map((name) => name.trim().toLowerCase()) ?? [];
  const missing = COLUMNS.filter((column) => !names.includes(column));
  if (!header || missing.length > 0) {
    throw bad(
      path,
      header?.line ?? 1,
      `Expected the columns ${COLUMNS.join(',')}`,
      header ? `${header.fields.join(',').slice(0, 80)} (no ${missing.join(',')})` : 'nothing',
    );
  }
  const [imageAt = 0, categoryAt = 0, partAt = 0, yAt = 0, xAt = 0] = COLUMNS.map((column) =>
    names.indexOf(column),
  );
  const needed = Math.max(imageAt, categoryAt, partAt, yAt, xAt) + 1;
  return lines.map(({ line, fields }) => {
    if (fields.length < needed) {
      throw bad(path, line, `Expected ${String(needed)} fields`, `only ${String(fields.length)}`);
    }
    const field = (at: number): string => (fields[at] ?? '').trim();
    const number = (at: number): number => {
      const value = Number(field(at));
      if (field(at) !== '' && Number.isFinite(value)) return value;
      throw bad(path, line, `Expected a number for ${names[at] ?? ''}`, JSON.stringify(field(at)));
    };
    const [image, part] = [fields[imageAt] ?? '', field(partAt)];
    if (image === '' || part === '') throw bad(path, line, 'Expected an image and a part', 'none');
    return { line, image, category: field(categoryAt), part, y: number(yAt), x: number(xAt) };
  });
}

/** For each image that rows name: its index in the set, or why there is none. */
async function matchImages(
  rows: readonly Row[],
  path: string,
  images: readonly LandmarkImage[],
): Promise<Map<string, number | 'other' | 'missing'>> {
  const folder = dirname(resolve(path));
  const indexes = new Map(images.map(({ file }, n) => [file, n]));
  const names = new Set(rows.map(({ image }) => image));
  const match = async (image: string): Promise<[string, number | 'other' | 'missing']> => {
    try {
      return [image, indexes.get(await realpath(resolve(folder, image))) ?? 'other'];
    } catch {
      return [image, 'missing'];
    }
  };
  const found = new Map<string, number | 'other' | 'missing'>();
  for await (const [image, index] of mapOrdered(names, match, { concurrency: 4, ahead: 64 })) {
    found.set(image, index);
  }
  return found;
}

interface Placing {
  rows: readonly Row[];
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
      throw bad(path, row.line, `Expected the category ${named[n]} as before`, row.category);
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

function bad(path: string, line: number, what: string, received: string): PartlensError {
  return new PartlensError(
    'E_FILE',
    `${path}, line ${String(line)}: ${what} but received ${received}.`,
    {
      details: { path, line },
    },
  );
}
