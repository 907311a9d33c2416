import { z } from 'zod';
import { badLandmark, withOneCategory, type LandmarkRow, type LandmarkRows } from './row.js';

const id = z.union([z.number(), z.string()]);

/** The parts of a COCO keypoints file that are read; all else is passed over. */
export const cocoKeypoints = z.looseObject({
  images: z.array(z.looseObject({ id, file_name: z.string().min(1) })),
  categories: z.array(
    z.looseObject({ id, name: z.string(), keypoints: z.array(z.string()).optional() }),
  ),
  annotations: z.array(
    z.looseObject({ image_id: id, category_id: id, keypoints: z.array(z.number()).optional() }),
  ),
});

/**
 * COCO keypoints (cocodataset.org, format data): `keypoints` of an annotation is x, y, v for each name of its
 * category, x and y 0-based pixels; v = 0 is not labelled, 1 labelled but hidden, 2 visible: 1 and 2 are taken.
 */
export function cocoLandmarks(json: z.output<typeof cocoKeypoints>, path: string): LandmarkRows {
  const images = new Map(json.images.map((image) => [image.id, image.file_name]));
  const categories = new Map(json.categories.map((category) => [category.id, category]));
  const rows: LandmarkRow[] = [];
  let unmarked = 0;
  for (const [i, annotation] of json.annotations.entries()) {
    const { keypoints } = annotation;
    if (!keypoints) continue;
    const at = `annotation ${String(i + 1)}`;
    const image = images.get(annotation.image_id);
    const category = categories.get(annotation.category_id);
    if (image === undefined || !category) {
      const wrong = image === undefined ? annotation.image_id : annotation.category_id;
      const what = `Expected ${image === undefined ? 'an image' : 'a category'} of the file`;
      throw badLandmark(path, at, what, `the id ${String(wrong)}`);
    }
    const parts = category.keypoints ?? [];
    if (keypoints.length !== 3 * parts.length) {
      const what = `Expected 3 numbers for each of ${String(parts.length)} keypoints`;
      throw badLandmark(path, at, what, `${String(keypoints.length)} numbers`);
    }
    for (const [k, part] of parts.entries()) {
      const [x = NaN, y = NaN, v = 0] = keypoints.slice(3 * k);
      if (v === 0) unmarked++;
      else rows.push({ at, image, category: category.name, part, y, x });
    }
  }
  return { rows: withOneCategory(rows), unmarked };
}
