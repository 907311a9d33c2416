import { dirname, join } from 'node:path';
import { z } from 'zod';
import { badLandmark, type LandmarkRow } from './row.js';

/** The parts of a Labelme file that are read; all else is passed over. */
export const labelmeFile = z.looseObject({
  imagePath: z.string().min(1),
  shapes: z.array(
    z.looseObject({
      label: z.string(),
      shape_type: z.string().optional(),
      points: z.array(z.tuple([z.number(), z.number()])),
    }),
  ),
});

/**
 * The shapes `point` of one Labelme file: the label is the part, the image lies beside the file (`imagePath`).
 * Labelme counts from the corner of the top left pixel: the centre of that pixel is (0.5, 0.5).
 */
export function labelmeLandmarks(
  { imagePath, shapes }: z.output<typeof labelmeFile>,
  path: string,
): LandmarkRow[] {
  const image = join(dirname(path), imagePath.replaceAll('\\', '/'));
  return shapes.flatMap(({ label, shape_type: type, points }, i) => {
    if (type !== 'point') return [];
    const at = `shape ${String(i + 1)}`;
    const [point, more] = points;
    if (!point || more) {
      throw badLandmark(path, at, 'Expected one point', String(points.length));
    }
    const [x, y] = point;
    return [{ at, image, category: '', part: label, y: y - 0.5, x: x - 0.5 }];
  });
}
