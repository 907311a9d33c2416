import { ACTIVATIONS, type Activation } from './activation.js';

/** Functions that do not leave 0 where it is: the lanes beyond the channels must stay 0. */
const MOVES_ZERO: readonly Activation[] = [
  'sigmoid',
  'hard_sigmoid',
  'softplus',
  'exp',
  'log',
  'reciprocal',
  'power',
];

/** The attributes with which a convolution ends: native/ops/epilogue.h numbers the functions alike. */
export interface Ending {
  activation: number;
  alpha: number;
  beta: number;
}

const [RELU, CLIP, FUNCTIONS] = [1, 2, 3] as const;

/** What a call of one input makes of each element, as the end of a convolution; undefined where it cannot be that. */
export function endingOf(
  kernel: string,
  attrs: Readonly<Record<string, number>>,
): Ending | undefined {
  const { lo = NaN, hi = NaN, kind = NaN, alpha = 0, beta = 0 } = attrs;
  if (kernel === 'relu_forward') return { activation: RELU, alpha: 0, beta: 0 };
  if (kernel === 'clip_forward') {
    return lo <= 0 && hi >= 0 ? { activation: CLIP, alpha: lo, beta: hi } : undefined;
  }
  const name = kernel === 'activation_forward' ? ACTIVATIONS[kind] : undefined;
  if (name === undefined || MOVES_ZERO.includes(name)) return undefined;
  return { activation: FUNCTIONS + kind, alpha, beta };
}
