import { PartlensError } from '../../errors.js';

/** A landmark as a file has it. */
export interface LandmarkRow {
  /** Where in the file: a line, or words for what has no lines. */
  at: number | string;
  /** Path of the image, as the file names it. */
  image: string;
  /** Empty: the class of the image. */
  category: string;
  part: string;
  /** 0-based pixels of the upright image, the centre of the top left one at (0, 0). */
  y: number;
  x: number;
}

/** What a landmark file holds. */
export interface LandmarkRows {
  rows: LandmarkRow[];
  /** Entries that say that a part is not there or cannot be seen. */
  unmarked: number;
}

/** The error for a place in a landmark file: `points.csv, line 3: Expected ... but received ....` */
export function badLandmark(
  path: string,
  at: number | string,
  what: string,
  received: string,
): PartlensError {
  const place = typeof at === 'number' ? `line ${String(at)}` : at;
  return new PartlensError('E_FILE', `${path}, ${place}: ${what} but received ${received}.`, {
    details: { path, ...(typeof at === 'number' ? { line: at } : {}) },
  });
}

/** Takes the category from the rows of images to which a file gives several. */
export function withOneCategory(rows: readonly LandmarkRow[]): LandmarkRow[] {
  const categories = new Map<string, Set<string>>();
  for (const { image, category } of rows) {
    categories.set(image, (categories.get(image) ?? new Set()).add(category));
  }
  return rows.map((row) =>
    (categories.get(row.image)?.size ?? 0) > 1 ? { ...row, category: '' } : row,
  );
}
