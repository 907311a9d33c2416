import type { Random } from '../../lib/random.js';
import type { TensorData } from '../../lib/engine/tensor.js';
import { allowedError, indexOfLargest, largest, type Grid } from './grid.js';

const STEP = 1e-5;

export interface GradientCheck {
  name: string;
  /** The float64 reference as a function of one input. */
  evaluate: (input: Grid) => Float64Array;
  at: Grid;
  /** dL/doutput. */
  g: Float64Array;
  /** dL/dinput as the engine says. */
  got: TensorData;
  random: Random;
  /** Elements to compare beside the largest; all of them if there are fewer. */
  samples: number;
  /** Relative error allowed beside 3 times that of a naive float32 sum. */
  floor: number;
}

/**
 * Compares a gradient with central differences of the reference: single elements, and one random
 * direction through all of them.
 */
export function compareGradient(check: GradientCheck): void {
  const { name, at, g, got, random, samples, floor } = check;
  const count = at.data.length;
  if (got.length !== count) throw new Error(`${name} has ${String(got.length)} values`);
  const chosen = [
    ...new Set([indexOfLargest(got), ...random.permutation(count).subarray(0, samples)]),
  ];
  const columns = chosen.map((element) => {
    const column = difference(check, (i) => Number(i === element));
    return { element, want: dot(g, column), naive: naiveDot(g, column) };
  });
  const wanted = columns.map(({ want }) => want);
  const scale = Math.max(largest(got), largest(wanted)) || 1;
  const naiveError = largest(columns.map(({ want, naive }) => naive - want)) / scale;
  const allowed = allowedError(naiveError, floor);
  for (const { element, want } of columns) {
    const error = Math.abs((got[element] ?? NaN) - want) / scale;
    if (error <= allowed) continue;
    throw new Error(
      `${name}[${String(element)}] is ${String(got[element])}, expected ${String(want)}: ` +
        `relative error ${error.toExponential(2)} above ${allowed.toExponential(2)}`,
    );
  }

  const direction = Float64Array.from({ length: count }, () => random.normal());
  const along = dot(
    g,
    difference(check, (i) => direction[i] ?? 0),
  );
  const parts = Float64Array.from(got, (value, i) => value * (direction[i] ?? 0));
  const error = Math.abs(parts.reduce((sum, part) => sum + part, 0) - along);
  const size = parts.reduce((sum, part) => sum + Math.abs(part), 0);
  if (error <= allowed * size + 1e-9) return;
  throw new Error(`${name} along a random direction is off by ${String(error)} of ${String(size)}`);
}

/** (f(x + h v) - f(x - h v)) / 2h */
function difference({ evaluate, at }: GradientCheck, v: (index: number) => number): Float64Array {
  const plus = evaluate(at.map((value, i) => value + STEP * v(i)));
  const minus = evaluate(at.map((value, i) => value - STEP * v(i)));
  return plus.map((value, i) => (value - (minus[i] ?? NaN)) / (2 * STEP));
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0);
}

function naiveDot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => {
    const product = Math.fround(Math.fround(value) * Math.fround(b[i] ?? NaN));
    return Math.fround(sum + product);
  }, 0);
}
