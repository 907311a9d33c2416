import { sizeOf, type Shape } from '../engine/tensor.js';
import type { Atom, NetValue, View } from './network.js';

export type { Atom, View };

/** The axes of a value as it is: (N, C, H, W) or (N, F). */
export function plain(value: NetValue, batch: number): View {
  return { value, axes: [batch, ...value.shape].map((size, axis) => whole(axis, size)) };
}

/** One whole axis. */
export function whole(axis: number, size: number): Atom[] {
  return size === 1 ? [] : [{ axis, size, stride: 1 }];
}

/** Sizes of the tensor. */
export function dimsOf({ axes }: View): number[] {
  return axes.map(lengthOf);
}

/** Number of indices of an axis. */
export function lengthOf(axis: readonly Atom[]): number {
  return axis.reduce((product, { size }) => product * size, 1);
}

/** True where two axes are made of the same factors. */
export function sameAtoms(a: readonly Atom[], b: readonly Atom[]): boolean {
  return (
    a.length === b.length &&
    a.every((atom, i) => {
      const other = b[i];
      return atom.axis === other?.axis && atom.size === other.size && atom.stride === other.stride;
    })
  );
}

/** True for an axis that is the whole axis `axis` of the value, of any size. */
export function isWhole({ value }: View, atoms: readonly Atom[], axis: number): boolean {
  return sameAtoms(atoms, whole(axis, value.shape[axis - 1] ?? 1));
}

/** Factors that follow each other as one. */
export function coalesce(atoms: readonly Atom[]): Atom[] {
  const joined: Atom[] = [];
  for (const atom of atoms) {
    const last = joined.at(-1);
    if (last?.axis === atom.axis && last.stride === atom.stride * atom.size) {
      joined[joined.length - 1] = { ...atom, size: last.size * atom.size };
    } else joined.push(atom);
  }
  return joined;
}

/** The same elements under other sizes, or undefined where that cuts through a factor. */
export function regroup(axes: View['axes'], dims: Shape): Atom[][] | undefined {
  const rest = axes.flat().reverse();
  const result: Atom[][] = [];
  for (const size of dims) {
    const taken: Atom[] = [];
    for (let open = size; open > 1;) {
      const atom = rest.pop();
      if (!atom) return undefined;
      if (open % atom.size === 0) {
        taken.push(atom);
        open /= atom.size;
        continue;
      }
      if (atom.size % open !== 0) return undefined;
      const inner = atom.size / open;
      taken.push({ ...atom, size: open, stride: atom.stride * inner });
      rest.push({ ...atom, size: inner });
      open = 1;
    }
    result.push(coalesce(taken));
  }
  return rest.length === 0 ? result : undefined;
}

/** The view of rows that were flattened from maps as a view of those maps. */
export function lifted(view: View, batch: number): View {
  const { value } = view;
  const { op, inputs } = value.step ?? {};
  const [source] = inputs ?? [];
  if (op?.kind !== 'flatten' || !source) return view;
  const features = view.axes.flat().filter(({ axis }) => axis !== 0);
  const [only] = features;
  if (features.length !== 1 || only?.size !== value.shape[0]) return view;
  const atoms = plain(source, batch).axes.slice(1).flat();
  const axes = view.axes.map((axis) => axis.flatMap((atom) => (atom === only ? atoms : [atom])));
  return { value: source, axes };
}

/** True where images lie along one axis of their own, the first (or there is one image only). */
export function imagesFirst({ axes }: View, batch: number): boolean {
  const [first = [], ...others] = axes;
  if (others.some((axis) => axis.some((atom) => atom.axis === 0))) return false;
  return sameAtoms(first, whole(0, batch)) || (batch === 1 && others.length < axes.length);
}

/** (N, F) or (F) that holds every element of an image along one axis. */
export function isVector(view: View, batch: number): boolean {
  const { axes, value } = view;
  if (axes.length > 2 || !imagesFirst(view, batch)) return false;
  return lengthOf(axes.at(-1) ?? []) === sizeOf(value.shape) && (axes.length === 2 || batch === 1);
}

/**
 * For each element of the value (C, H, W) the index along a tensor axis: what is needed to bring
 * numbers that lie as the tensor does into the value's order.
 */
export function indexAlong(atoms: readonly Atom[], place: readonly number[]): number {
  let index = 0;
  for (const { axis, size, stride } of atoms) {
    index = index * size + (Math.floor((place[axis - 1] ?? 0) / stride) % size);
  }
  return index;
}

/** How the tensor's axes are the value's own (`NetValue.axes`), undefined where they are not. */
export function permutationOf({ value, axes }: View): number[] | undefined {
  const rank = value.shape.length + 1;
  if (rank === 2 && axes.length > 2) return isFlat(axes, value) ? [0, 1] : undefined;
  if (axes.length !== rank) return undefined;
  const found = axes.map((atoms): number | undefined => {
    const [atom] = atoms;
    if (!atom || atoms.length > 1 || atom.stride !== 1) return undefined;
    const full = atom.axis === 0 || atom.size === value.shape[atom.axis - 1];
    return full ? atom.axis : NaN;
  });
  const used = new Set(found);
  const free = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !used.has(axis));
  const result = found.map((axis, i) =>
    axis === undefined && axes[i]?.length === 0 ? (free.shift() ?? NaN) : (axis ?? NaN),
  );
  return result.some(Number.isNaN) || new Set(result).size < rank ? undefined : result;
}

/** True for images along the first axis and a vector's features in their order along the others. */
function isFlat([images = [], ...rest]: View['axes'], value: NetValue): boolean {
  const features = coalesce(rest.flat());
  return (
    images.every(({ axis }) => axis === 0) && sameAtoms(features, whole(1, sizeOf(value.shape)))
  );
}

/** Which of channels, rows and columns some tensor axes hold whole; undefined where only in part. */
export function wholeAxes({ value }: View, over: readonly Atom[]): Set<number> | undefined {
  const result = new Set<number>();
  for (const axis of [1, 2, 3]) {
    const size = lengthOf(over.filter((atom) => atom.axis === axis));
    if (size === 1) continue;
    if (size !== value.shape[axis - 1]) return undefined;
    result.add(axis);
  }
  return over.some((atom) => atom.axis === 0) ? undefined : result;
}

/** Numbers of `count` images that lie as the view's value does, in the order of the tensor. */
export function inFileOrder(
  { value, axes }: View,
  data: Float32Array,
  count: number,
): Float32Array {
  const [C = 1, H = 1, W = 1] = value.shape;
  const length = C * H * W;
  const image = axes.map((atoms) => atoms.filter(({ axis }) => axis !== 0));
  const to = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const place = [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W];
    to[i] = image.reduce((index, atoms) => index * lengthOf(atoms) + indexAlong(atoms, place), 0);
  }
  const result = new Float32Array(data.length);
  for (let n = 0; n < count; n++) {
    to.forEach((at, i) => (result[n * length + at] = data[n * length + i] ?? 0));
  }
  return result;
}

/** Which of the value's axes a tensor axis is; for one of size 1 the one that no other axis has. */
export function ownAxis({ axes, value }: View, axis: number): number {
  const own = axes[axis]?.[0]?.axis;
  if (own !== undefined) return own;
  const used = new Set(axes.flat().map((atom) => atom.axis));
  if (axes.length === value.shape.length + 1 && !used.has(axis)) return axis;
  return [1, 2, 3].find((one) => !used.has(one)) ?? 0;
}
