import type { OnnxNode } from '../onnx_model.js';
import type { GraphView } from './view.js';

/** scale * factors[0] * factors[1] * ... */
export interface Product {
  scale: number;
  factors: string[];
}

/** A value as a product, through Mul, Div by numbers and whole powers, not looking behind `stops`. */
export function productOf(
  view: GraphView,
  name: string,
  stops: ReadonlySet<string>,
  depth = 5,
): Product {
  const known = stops.has(name) ? undefined : view.scalar(name);
  if (known !== undefined) return { scale: known, factors: [] };
  const node =
    stops.has(name) || depth === 0 ? undefined : view.producer(name, 'Mul', 'Div', 'Pow');
  const [a = '', b = ''] = node?.inputs ?? [];
  const inner = (one: string): Product => productOf(view, one, stops, depth - 1);
  if (node?.opType === 'Mul') {
    const [left, right] = [inner(a), inner(b)];
    return { scale: left.scale * right.scale, factors: [...left.factors, ...right.factors] };
  }
  const number = node && view.scalar(b);
  if (number !== undefined && node?.opType === 'Div') {
    const { scale, factors } = inner(a);
    return { scale: scale / number, factors };
  }
  if (node?.opType === 'Pow' && (number === 2 || number === 3)) {
    const { scale, factors } = inner(a);
    const again = Array.from({ length: number }, () => factors);
    return { scale: scale ** number, factors: again.flat() };
  }
  return { scale: 1, factors: [name] };
}

/** True if the factors of a product are those, in any order. */
export function hasFactors({ factors }: Product, ...wanted: readonly string[]): boolean {
  return (
    factors.length === wanted.length &&
    [...factors].sort().join('\0') === [...wanted].sort().join('\0')
  );
}

/** The nodes that multiply `name`, the nearest first, up to `levels` of them in a row. */
export function* multiplesOf(view: GraphView, name: string, levels = 4): Generator<OnnxNode> {
  let front = [name];
  for (let level = 0; level < levels; level++) {
    const next: string[] = [];
    for (const value of front) {
      for (const node of view.readers(value, 'Mul', 'Div')) {
        if (node.opType === 'Div' && node.inputs[0] !== value) continue;
        yield node;
        if (next.length < 8) next.push(node.outputs[0] ?? '');
      }
    }
    front = next;
  }
}
