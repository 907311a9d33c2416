import { expected } from '../errors.js';
import type { View } from './network.js';
import { lengthOf } from './view.js';

/** An output by name, or some of its numbers: `scores[17,:]` is every number of its row 17. */
export interface OutputName {
  name: string;
  /** For each axis after the images an index, or undefined for all; undefined for the whole output. */
  places: (number | undefined)[] | undefined;
}

/** Splits a name from its places, unless the model has a value (or node) of exactly that name. */
export function parseOutput(text: string, isKnown: (name: string) => boolean): OutputName {
  const [, name, list] = /^(.+)\[((?:\d+|:)(?:,(?:\d+|:))*)\]$/.exec(text) ?? [];
  if (isKnown(text) || name === undefined || list === undefined) {
    return { name: text, places: undefined };
  }
  const places = list.split(',').map((one) => (one === ':' ? undefined : Number(one)));
  return { name, places };
}

/**
 * Which numbers of a value (C, H, W) or (F) some places of its tensor are, in the order of the tensor.
 * Throws `E_ARGUMENT` for another number of axes, or a place beyond the end.
 */
export function indicesOf(view: View, { name, places = [] }: OutputName): Int32Array {
  const [, ...axes] = view.axes;
  const sizes = axes.map(lengthOf);
  if (
    places.length !== axes.length ||
    places.some((at, i) => at !== undefined && at >= (sizes[i] ?? 0))
  ) {
    const shown = places.map((at) => at ?? ':').join(',');
    throw expected(`places inside (${sizes.join(', ')})`, `output ${name}`, `[${shown}]`, {
      op: 'loadPerformer',
    });
  }
  const [, H = 1, W = 1] = view.value.shape;
  const strides = [0, H * W, W, 1];
  let found = [0];
  axes.forEach((atoms, i) => {
    const at = places[i];
    const chosen = at === undefined ? Array.from({ length: sizes[i] ?? 1 }, (_, k) => k) : [at];
    const offsets = chosen.map((index) => {
      let [rest, offset] = [index, 0];
      for (const { axis, size, stride } of [...atoms].reverse()) {
        offset += (rest % size) * stride * (strides[axis] ?? 0);
        rest = Math.floor(rest / size);
      }
      return offset;
    });
    found = found.flatMap((sum) => offsets.map((offset) => sum + offset));
  });
  return Int32Array.from(found);
}
