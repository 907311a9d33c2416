import { defineOp, type Value } from '../graph.js';

const backward = defineOp('softmax_cross_entropy_backward', {
  inputs: { g: 'rows', probabilities: 'rows N F', labels: 'i32 rows N' },
  outputs: { dx: 'rows N F' },
});

const forward = defineOp('softmax_cross_entropy_forward', {
  inputs: { x: 'rows N F', labels: 'i32 rows N' },
  outputs: { loss: 'rows', probabilities: 'rows N F' },
  vjp: ({ inputs: { labels }, outputs: { probabilities }, grad }) => ({
    x: () => backward({ g: grad, probabilities, labels }, {}).dx,
  }),
});

/**
 * loss = -mean_n log softmax(x[n])[labels[n]]. x (N, F) logits, labels (N) int32 in 0..F-1; loss is a
 * scalar, probabilities (N, F). The gradient of the loss is exact.
 */
export function softmaxCrossEntropy(
  x: Value,
  labels: Value,
): { loss: Value; probabilities: Value } {
  return forward({ x, labels }, {});
}
