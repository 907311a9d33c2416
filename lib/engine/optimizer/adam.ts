import type { Value } from '../graph.js';
import { adamStep, type AdamStepOptions } from '../ops/index.js';
import { applyStep, type Gradients, type StepOptions } from './apply.js';

/** Adam over a set of parameters; `lrScale` by parameter name. */
export type AdamOptions = Omit<AdamStepOptions, 'lrScale'> & StepOptions;

/**
 * Appends one Adam step for each parameter to its graph; moments are states `adam.m/<name>` and
 * `adam.v/<name>`. hyper (3): see `hyperParameters`. Returns the new value of each parameter.
 */
export function adam(
  gradients: Gradients,
  hyper: Value,
  { lrScale, ...options }: AdamOptions = {},
): Map<string, Value> {
  return applyStep(gradients, ['adam.m', 'adam.v'], (w, grad, [m, v]) =>
    adamStep({ w, grad, m, v, hyper }, { ...options, lrScale: lrScale?.(w.node.name) ?? 1 }),
  );
}
