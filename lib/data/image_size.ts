/** Size of the network's input, pixels: the side of a square, or [height, width]. */
export type ImageSize = number | readonly [height: number, width: number];

/** [height, width]. */
export function sidesOf(size: ImageSize): readonly [height: number, width: number] {
  return typeof size === 'number' ? [size, size] : size;
}

/** Length of the diagonal, pixels. */
export function diagonalOf(size: ImageSize): number {
  return typeof size === 'number' ? size * Math.SQRT2 : Math.hypot(...size);
}
