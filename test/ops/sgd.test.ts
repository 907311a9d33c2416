import type { Layout } from '../../lib/engine/tensor.js';
import { sgdStep, type SgdStepOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { uniform } from '../support/draw.js';

type Inputs = 'w' | 'grad' | 'v' | 'hyper';

function of(shape: number[], attrs: SgdStepOptions, large = false): OpCase<Inputs, SgdStepOptions> {
  return { shapes: { w: shape, grad: shape, v: shape, hyper: [3] }, attrs, large };
}

function check(layout: Layout, cases: OpCase<Inputs, SgdStepOptions>[]): void {
  const like = { layout };
  checkOp<Inputs, SgdStepOptions>(
    {
      name: `sgd_step on ${layout}`,
      inputs: {
        w: { ...like, state: true },
        grad: like,
        v: { ...like, state: true },
        hyper: { draw: uniform(0.1, 1) },
      },
      build: ({ w, grad, v, hyper }, attrs) => ({ w_out: sgdStep({ w, grad, v, hyper }, attrs) }),
      wrong: [
        { shapes: { v: [2, 2] }, text: /\[sgd_step\] Expected v of the shape of w/ },
        { shapes: { grad: [4] }, text: /\[sgd_step\] Expected grad of the shape of w/ },
      ].filter(() => layout === 'rows'),
    },
    // v = momentum v + grad + weightDecay w, w -= lr lrScale v
    ({ w, grad, v, hyper }, { lrScale = 1, momentum = 0.9, weightDecay = 0 }, f) => {
      const v_out = v.map((old, i) => {
        const decayed = f(Math.fround(weightDecay) * (w.data[i] ?? NaN));
        return f(f(f(Math.fround(momentum) * old) + (grad.data[i] ?? NaN)) + decayed);
      });
      const rate = f(hyper.at(0) * Math.fround(lrScale));
      const w_out = w.map((old, i) => f(old - f(rate * (v_out.data[i] ?? NaN))));
      return { w_out, w: w_out, v: v_out };
    },
    cases,
  );
}

describe('ops: sgd_step', () => {
  check('rows', [
    of([5], {}),
    of([], { lrScale: 30 }),
    of([3, 17], { momentum: 0, weightDecay: 0.01 }),
  ]);
  check('conv_weight', [of([5, 3, 3, 2], {}), of([40, 33, 3, 3], { weightDecay: 1e-3 }, true)]);
  check('linear_weight', [of([5, 7], {}), of([40, 700], { lrScale: 0.3 }, true)]);
});
