/** Cosine decay from `lr` at step 0 to `lr * end` at the last step (`steps - 1`). */
export function cosine(step: number, steps: number, lr: number, end = 0.01): number {
  const done = steps > 1 ? Math.min(step / (steps - 1), 1) : 0;
  return lr * (end + (1 - end) * 0.5 * (1 + Math.cos(Math.PI * done)));
}

/**
 * The (3) input `hyper` of an optimizer step: learning rate and Adam's bias corrections
 * 1 / (1 - beta^t). `step` counts from 0; SGD reads the first number alone.
 */
export function hyperParameters(
  lr: number,
  step: number,
  { beta1 = 0.9, beta2 = 0.999 }: { beta1?: number; beta2?: number } = {},
): Float32Array {
  const t = step + 1;
  return Float32Array.of(lr, 1 / (1 - beta1 ** t), 1 / (1 - beta2 ** t));
}
