import { expected } from '../errors.js';
import type { Random } from '../random.js';
import { sidesOf, type ImageSize } from './image_size.js';

/** Where a whole image lies in the network's input, pixels of it, multiples of 1 / supersample. */
export interface Placement {
  top: number;
  left: number;
  height: number;
  width: number;
}

/** What placements have to fit. */
export interface PlacementFrame {
  size: ImageSize;
  supersample: number;
}

/** Least and largest side of a placed image, share of the input's. */
export const PLACED_SIDES = [0.5, 0.9] as const;

/**
 * A random placement: the image with both sides at 0.5 to 0.9 of the input's, anywhere in it. The whole image
 * stays in the frame, so that no part can leave it.
 */
export function drawPlacement(
  { size, supersample }: PlacementFrame,
  random: Random,
  [least, most]: readonly [number, number] = PLACED_SIDES,
): Placement {
  const share = random.uniform(least, most);
  const [height, width] = sidesOf(size).map((side) =>
    Math.max(2, Math.round(share * side * supersample)),
  ) as [number, number];
  const [rows, columns] = sidesOf(size);
  const top = random.int(rows * supersample - height + 1);
  const left = random.int(columns * supersample - width + 1);
  return {
    top: top / supersample,
    left: left / supersample,
    height: height / supersample,
    width: width / supersample,
  };
}

/**
 * Where a point [y, x] of the input (0-based pixels, the centre of the first at 0) that shows an image in
 * placement `from` lies with the image in placement `to`:
 *
 *   T(z) = (z + 0.5 - from.start) to.side / from.side + to.start - 0.5     in each direction
 */
export function movePoint(
  [y, x]: readonly [number, number],
  from: Placement,
  to: Placement,
): [number, number] {
  return [
    ((y + 0.5 - from.top) * to.height) / from.height + to.top - 0.5,
    ((x + 0.5 - from.left) * to.width) / from.width + to.left - 0.5,
  ];
}

/** Pixels of the stretched image (supersample times the input), whole numbers. Throws `E_ARGUMENT`. */
export function placedPixels(
  { size, supersample }: PlacementFrame,
  placement: Placement,
): Placement & { bottom: number; right: number } {
  const [rows, columns] = sidesOf(size).map((side) => side * supersample) as [number, number];
  const { top, left, height, width } = placement;
  const [t, l, h, w] = [top, left, height, width].map((side) => side * supersample) as [
    number,
    number,
    number,
    number,
  ];
  const whole = [t, l, h, w].every((side) => Number.isInteger(side) && side >= 0);
  const bottom = rows - t - h;
  const right = columns - l - w;
  if (!whole || h < 1 || w < 1 || bottom < 0 || right < 0) {
    throw expected(
      'multiples of 1 / supersample within the input',
      'placement',
      [top, left, height, width],
      { op: 'placement' },
    );
  }
  return { top: t, left: l, height: h, width: w, bottom, right };
}
