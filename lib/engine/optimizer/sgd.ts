import type { Value } from '../graph.js';
import { sgdStep, type SgdStepOptions } from '../ops/index.js';
import { applyStep, type Gradients, type StepOptions } from './apply.js';

/** SGD with momentum over a set of parameters; `lrScale` by parameter name. */
export type SgdOptions = Omit<SgdStepOptions, 'lrScale'> & StepOptions;

/**
 * Appends one SGD step for each parameter to its graph; velocities are states `sgd.v/<name>`.
 * hyper (3): the learning rate first. Returns the new value of each parameter.
 */
export function sgd(
  gradients: Gradients,
  hyper: Value,
  { lrScale, ...options }: SgdOptions = {},
): Map<string, Value> {
  return applyStep(gradients, ['sgd.v', 'sgd.v'], (w, grad, [v]) =>
    sgdStep({ w, grad, v, hyper }, { ...options, lrScale: lrScale?.(w.node.name) ?? 1 }),
  );
}
