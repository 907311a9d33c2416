import { clipNorm } from '../ops/index.js';
import type { Gradients } from './apply.js';

/** The same parameters with gradients whose norm together is at most `most`: see `clipNorm`. */
export function clipGradients(gradients: Gradients, most: number): Gradients {
  const clipped = clipNorm(
    gradients.map(([, grad]) => grad),
    { most },
  );
  return gradients.map(([w, grad], i) => [w, clipped[i] ?? grad]);
}
