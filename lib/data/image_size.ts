/** Size of the network's input, pixels: the side of a square, or [height, width]. */
export type ImageSize = number | readonly [height: number, width: number];

/** [height, width]. */
export function sidesOf(size: ImageSize): readonly [height: number, width: number] {
  return typeof size === 'number' ? [size, size] : size;
}

/** A square as its side, so that one size is written in one way. */
export function imageSizeOf(height: number, width: number): ImageSize {
  return height === width ? height : [height, width];
}

/** `224`, or `240x320`: height x width. */
export function showSize(size: ImageSize): string {
  return typeof size === 'number' ? String(size) : size.map(String).join('x');
}

/** Length of the diagonal, pixels. */
export function diagonalOf(size: ImageSize): number {
  return typeof size === 'number' ? size * Math.SQRT2 : Math.hypot(...size);
}
