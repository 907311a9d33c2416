import { expected } from '../../errors.js';
import { defineOp, type Value } from '../graph.js';

/** The functions, in the order of native/kinds.def: a place here is the kernels' attribute `kind`. */
export const ACTIVATIONS = [
  'sigmoid',
  'tanh',
  'hard_sigmoid',
  'hard_swish',
  'silu',
  'gelu',
  'gelu_tanh',
  'leaky_relu',
  'elu',
  'celu',
  'selu',
  'softplus',
  'softsign',
  'mish',
  'exp',
  'log',
  'sqrt',
  'reciprocal',
  'abs',
  'neg',
  'erf',
  'square',
  'power',
] as const;

export type Activation = (typeof ACTIVATIONS)[number];

export interface ActivationOptions {
  /** See `activation`. */
  alpha?: number;
  /** See `activation`. */
  beta?: number;
}

const ATTRS = { kind: 'i32', alpha: 'f32', beta: 'f32' } as const;

const backward = defineOp('activation_backward', {
  inputs: { g: 'any', x: '= g' },
  outputs: { dx: '= g' },
  attrs: ATTRS,
});

const forward = defineOp('activation_forward', {
  inputs: { x: 'any' },
  outputs: { y: '= x' },
  attrs: ATTRS,
  vjp: ({ inputs: { x }, grad, attrs }) => ({ x: () => backward({ g: grad, x }, attrs).dx }),
});

/** Alpha and beta of those that have them, as ONNX has them. */
const DEFAULTS: Partial<Record<Activation, Required<ActivationOptions>>> = {
  hard_sigmoid: { alpha: 0.2, beta: 0.5 },
  leaky_relu: { alpha: 0.01, beta: 0 },
  elu: { alpha: 1, beta: 0 },
  celu: { alpha: 1, beta: 0 },
  selu: { alpha: 1.67326319217681884765625, beta: 1.05070102214813232421875 },
};

/**
 * y = f(x), maps or rows of any size. By kind:
 *
 * | kind | f(x) |
 * |---|---|
 * | `sigmoid`, `tanh`, `exp`, `log`, `sqrt`, `reciprocal`, `abs`, `neg`, `erf`, `square` | as named |
 * | `hard_sigmoid` | min(max(alpha x + beta, 0), 1), alpha 0.2, beta 0.5 |
 * | `hard_swish` | x min(max(x / 6 + 1/2, 0), 1) |
 * | `silu` | x sigmoid(x) |
 * | `gelu`, `gelu_tanh` | x (1 + erf(x / sqrt 2)) / 2, x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 |
 * | `leaky_relu` | x, alpha x below 0, alpha 0.01 |
 * | `elu`, `celu` | x, below 0 alpha (exp(x) - 1), alpha (exp(x / alpha) - 1); alpha 1, of celu above 0 |
 * | `selu` | beta elu(x), alpha 1.67326, beta 1.05070 |
 * | `softplus`, `softsign`, `mish` | log(1 + exp(x)), x / (1 + abs(x)), x tanh(softplus(x)) |
 * | `power` | x^alpha, NaN for x below 0 unless alpha is whole |
 *
 * Right over the whole range of float32: nothing overflows on the way. The gradient is exact away from
 * kinks. E_ARGUMENT: a number that is not finite, `power` without alpha, `celu` with alpha <= 0.
 */
export function activation(x: Value, kind: Activation, options: ActivationOptions = {}): Value {
  if (x.layout !== 'rows' && x.layout !== 'maps') {
    throw expected('maps or rows', 'x', x.layout, { op: 'activation', code: 'E_SHAPE' });
  }
  const number = ACTIVATIONS.indexOf(kind);
  if (number < 0) {
    throw expected(`one of ${ACTIVATIONS.join(', ')}`, 'kind', kind, { op: 'activation' });
  }
  const unset = kind === 'power' ? NaN : 0;
  const { alpha, beta } = { alpha: unset, beta: 0, ...DEFAULTS[kind], ...options };
  if (!Number.isFinite(Math.fround(alpha)) || (kind === 'celu' && !(Math.fround(alpha) > 0))) {
    const what = kind === 'celu' ? 'a number above 0' : 'a finite number';
    throw expected(what, `alpha of ${kind}`, options.alpha, { op: 'activation' });
  }
  if (!Number.isFinite(Math.fround(beta))) {
    throw expected('a finite number', `beta of ${kind}`, beta, { op: 'activation' });
  }
  return forward({ x }, { kind: number, alpha, beta }).y;
}
