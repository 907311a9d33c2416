import type { Geometry } from './layer_info.js';
import type { Performer } from './performer.js';

/** A rectangle on the upright photograph, its corner at 0, 0, one unit a pixel. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Where a filter answers in a photograph: 0-based pixels of the upright photograph. */
export interface Place {
  /** Centre of the strongest cell. */
  y: number;
  x: number;
  /** What that cell of the performer's layer sees, cut at the photograph's border. */
  field: Box;
}

/** What places a map of the performer's layer on a photograph. */
export interface Frame {
  /** Cells of the maps. */
  rows: number;
  columns: number;
  /** Of the performer's layer, in pixels of the network's input. */
  geometry: Geometry;
  /** Size of the network's input, pixels. */
  input: Readonly<{ height: number; width: number }>;
  /** Size of the upright photograph, pixels; it is stretched to the input. */
  width: number;
  height: number;
}

/** How maps of the performer's layer lie on a photograph of that size (pixels, upright). */
export function frameOf(
  { layer, input }: Performer,
  { width, height }: { width: number; height: number },
): Frame {
  const { height: rows, width: columns, geometry } = layer;
  return { rows, columns, geometry, input, width, height };
}

/** Where a cell (row-major) lies in the photograph. */
export function placeOf(cell: number, frame: Frame): Place {
  const { columns, geometry, input, width, height } = frame;
  const [x, y] = toPhotograph(frame, cell % columns, Math.floor(cell / columns));
  const halfHeight = ((geometry.size[0] / 2) * height) / input.height;
  const halfWidth = ((geometry.size[1] / 2) * width) / input.width;
  const [left, right] = [Math.max(0, x - halfWidth), Math.min(width, x + halfWidth)];
  const [top, bottom] = [Math.max(0, y - halfHeight), Math.min(height, y + halfHeight)];
  const field: Box = { left, top, width: right - left, height: bottom - top };
  return { y: y - 0.5, x: x - 0.5, field };
}

/**
 * A position among cells (column, row; the centre of the first cell at 0, 0) as a point [x, y] of the
 * photograph: its corner at 0, 0, one unit a pixel, so that pixel centres lie at whole numbers plus 0.5.
 */
export function toPhotograph(
  { geometry: { stride, firstCentre }, input, width, height }: Frame,
  column: number,
  row: number,
): [number, number] {
  return [
    ((firstCentre[1] + stride[1] * column + 0.5) * width) / input.width,
    ((firstCentre[0] + stride[0] * row + 0.5) * height) / input.height,
  ];
}
