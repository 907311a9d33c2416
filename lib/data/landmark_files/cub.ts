import { badLandmark, type LandmarkRow, type LandmarkRows } from './row.js';

/** The three text files of a CUB-200-2011 folder that tell where parts are. */
export const CUB_FILES = ['images.txt', 'parts/parts.txt', 'parts/part_locs.txt'] as const;

export type CubTexts = Record<(typeof CUB_FILES)[number], string>;

/**
 * CUB-200-2011: lines `image part x y visible` of `parts/part_locs.txt`, with the ids of `images.txt` and
 * `parts/parts.txt`; `visible` 0 marks nothing. x and y are pixels from the left and the top, taken as 0-based.
 */
export function cubLandmarks(texts: CubTexts, folder: string): LandmarkRows {
  const names = (file: 'images.txt' | 'parts/parts.txt'): Map<string, string> =>
    new Map(
      lines(texts[file]).map(({ line, text }) => {
        const [, id, name] = /^(\S+)\s+(.+)$/.exec(text) ?? [];
        if (id !== undefined && name !== undefined) return [id, name];
        throw badLandmark(`${folder}/${file}`, line, 'Expected an id and a name', show(text));
      }),
    );
  const [images, parts] = [names('images.txt'), names('parts/parts.txt')];
  const path = `${folder}/parts/part_locs.txt`;
  const rows: LandmarkRow[] = [];
  let unmarked = 0;
  for (const { line, text } of lines(texts['parts/part_locs.txt'])) {
    const fields = text.split(/\s+/);
    const [image = '', part = ''] = fields;
    const [x = NaN, y = NaN, visible = NaN] = fields.slice(2).map(Number);
    if (fields.length !== 5 || ![x, y, visible].every(Number.isFinite)) {
      throw badLandmark(path, line, 'Expected image, part, x, y, visible', show(text));
    }
    const [name, label] = [images.get(image), parts.get(part)];
    if (name === undefined || label === undefined) {
      throw badLandmark(path, line, 'Expected ids of images.txt and parts.txt', show(text));
    }
    if (visible === 0) unmarked++;
    else rows.push({ at: line, image: `images/${name}`, category: '', part: label, y, x });
  }
  return { rows, unmarked };
}

function lines(text: string): { line: number; text: string }[] {
  return text
    .split(/\r\n|\n/)
    .map((one, i) => ({ line: i + 1, text: one.trim() }))
    .filter((one) => one.text !== '');
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
