import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';
import { showShape } from '../tensor.js';

/** The functions, in the order of native/kinds.def: a place here is the kernels' attribute `kind`. */
export const BINARIES = ['add', 'sub', 'mul', 'div', 'max', 'min', 'pow'] as const;

export type Binary = (typeof BINARIES)[number];

const backward = defineOp('binary_backward', {
  inputs: { g: 'maps N C H W', a: 'maps Na Ca Ha Wa', b: 'maps Nb Cb Hb Wb' },
  outputs: { da: 'maps? Na Ca Ha Wa', db: 'maps? Nb Cb Hb Wb' },
  attrs: { kind: 'i32' },
});

const forward = defineOp('binary_forward', {
  inputs: { a: 'maps Na Ca Ha Wa', b: 'maps Nb Cb Hb Wb' },
  outputs: { y: 'maps N C H W' },
  attrs: { kind: 'i32' },
  derive: ({ Na = 1, Ca = 1, Ha = 1, Wa = 1, Nb = 1, Cb = 1, Hb = 1, Wb = 1 }) => ({
    N: Math.max(Na, Nb),
    C: Math.max(Ca, Cb),
    H: Math.max(Ha, Hb),
    W: Math.max(Wa, Wb),
  }),
  vjp({ inputs: { a, b }, grad, attrs }) {
    const parts = (): { da: Value; db: Value } => backward({ g: grad, a, b }, attrs);
    return { a: () => parts().da, b: () => parts().db };
  },
});

/**
 * y = a + b, a - b, a b, a / b, max(a, b), min(a, b) or a^b, element by element: a and b maps, each
 * axis of equal size or 1 in one of them, which is then repeated, as in NumPy. Where both have one
 * shape, `add` is cheaper. max and min of a NaN are NaN.
 *
 * The gradient of both is exact, summed over the axes along which the operand is repeated. Where max or
 * min tie it goes to a alone; that of b in a^b is 0 at a = 0.
 */
export function binary(a: Value, b: Value, kind: Binary): Value {
  const number = BINARIES.indexOf(kind);
  if (number < 0) throw expected(`one of ${BINARIES.join(', ')}`, 'kind', kind, { op: 'binary' });
  const fits = a.shape.every((size, axis) => {
    const other = b.shape[axis] ?? 1;
    return size === other || size === 1 || other === 1;
  });
  if (a.layout !== 'maps' || b.layout !== 'maps' || !fits) {
    const received = [a, b].map(({ shape, layout }) => `${showShape(shape)} in layout ${layout}`);
    throw expected('maps whose axes are equal or 1', 'a, b', received.join(', '), {
      op: 'binary',
      code: 'E_SHAPE',
    });
  }
  return forward({ a, b }, { kind: number }).y;
}
