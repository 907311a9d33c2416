import type { ValueType } from '../engine/tensor.js';
import { inPieces, pacer } from '../pace.js';
import { Random } from '../random.js';
import { sizeOf } from '../engine/tensor.js';
import type { TrainOptions } from './options.js';

/**
 * Directions of the performer's features that filters start from:
 * D rows of C numbers, row-major, each of norm 1.
 */
export type InitialFilters = Float32Array;

/** w_p where the ordinary track starts from directions: p = 0.12. */
const QUIET_PARTS = -2;

/** Directions that layers start from; undefined for random filters. */
export interface InitialDirections {
  interpretable?: InitialFilters | undefined;
  ordinary?: InitialFilters | undefined;
  /** Of `conv_interp_0`, as they are. */
  context?: InitialFilters | undefined;
  /** Of `conv_code` and of `conv_ordin` beside it, as they are. */
  code?: InitialFilters | undefined;
  ordinaryCode?: InitialFilters | undefined;
}

/**
 * Initial parameters by name: He-normal (standard deviation sqrt(2 / fan-in)), biases and w_p 0, from
 * the seed. With `interpretable` directions the centre taps of `conv_interp_1` are these, and those of
 * `conv_interp_2` the identity, both scaled to the norm that He-normal filters have on average; with
 * `ordinary` ones so are those of `conv_ordin`, and p starts at 0.12: filters that mean nothing yet would
 * hide from the decoder what the ordinary track knows.
 */
export async function initialWeights(
  shapes: ReadonlyMap<string, ValueType>,
  { seed }: Pick<TrainOptions, 'seed'>,
  { interpretable, ordinary, context, code, ordinaryCode }: InitialDirections = {},
): Promise<Record<string, Float32Array>> {
  const pace = pacer();
  const weights: Record<string, Float32Array> = {};
  for (const [name, { shape }] of shapes) {
    const values = new Float32Array(sizeOf(shape));
    if (name.endsWith('.weight')) {
      const random = new Random(seed, `initial/${name}`);
      const deviation = Math.sqrt(2 / sizeOf(shape.slice(1)));
      const draw = (from: number, to: number): void => {
        for (let i = from; i < to; i++) values[i] = deviation * random.normal();
      };
      await inPieces(values.length, draw, pace);
    }
    weights[name] = values;
  }
  if (interpretable) {
    setCentreTaps(weights, shapes, 'conv_interp_1.weight', interpretable);
    setCentreTaps(weights, shapes, 'conv_interp_2.weight', undefined);
  }
  if (ordinary) {
    setCentreTaps(weights, shapes, 'conv_ordin.weight', ordinary);
    weights['mix.w_p']?.fill(QUIET_PARTS);
  }
  if (context) weights['conv_interp_0.weight']?.set(context);
  if (code) weights['conv_code.weight']?.set(code);
  if (ordinaryCode) weights['conv_ordin.weight']?.set(ordinaryCode);
  return weights;
}

/** Adds sqrt(2) times a direction to the centre tap of each filter; default: the identity. */
function setCentreTaps(
  weights: Record<string, Float32Array>,
  shapes: ReadonlyMap<string, ValueType>,
  name: string,
  directions: InitialFilters | undefined,
): void {
  const w = weights[name];
  const [D = 1, C = 1, k = 1] = shapes.get(name)?.shape ?? [];
  if (!w) return;
  const centre = (k * k - 1) / 2;
  for (let f = 0; f < D; f++) {
    for (let c = 0; c < C; c++) {
      const direction = directions ? (directions[f * C + c] ?? 0) : Number(f === c);
      const at = (f * C + c) * k * k;
      for (let tap = 0; tap < k * k; tap++) w[at + tap] = 0.1 * (w[at + tap] ?? 0);
      w[at + centre] = (w[at + centre] ?? 0) + Math.SQRT2 * direction;
    }
  }
}

/** Euclidean norm of each of the `filters` filters of a weight, row-major (O, ...). */
export function filterNorms(w: Float32Array, filters: number): Float32Array {
  const norms = new Float32Array(filters);
  const length = w.length / filters;
  for (let f = 0; f < filters; f++) {
    let sum = 0;
    for (let i = f * length; i < (f + 1) * length; i++) sum += (w[i] ?? 0) ** 2;
    norms[f] = Math.sqrt(sum);
  }
  return norms;
}
