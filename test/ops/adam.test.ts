import { adamStep, type AdamStepOptions } from '../../lib/engine/ops/index.js';
import type { Layout } from '../../lib/engine/tensor.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { uniform } from '../support/draw.js';
import type { Grid } from '../support/grid.js';

type Inputs = 'w' | 'grad' | 'm' | 'v' | 'hyper';

function of(
  shape: number[],
  attrs: AdamStepOptions,
  large = false,
): OpCase<Inputs, AdamStepOptions> {
  return { shapes: { w: shape, grad: shape, m: shape, v: shape, hyper: [3] }, attrs, large };
}

function check(layout: Layout, cases: OpCase<Inputs, AdamStepOptions>[]): void {
  const like = { layout };
  checkOp<Inputs, AdamStepOptions>(
    {
      name: `adam_step on ${layout}`,
      inputs: {
        w: { ...like, state: true },
        grad: like,
        m: { ...like, state: true },
        v: { ...like, state: true, draw: uniform(0, 2) },
        hyper: { draw: uniform(0.1, 1) },
      },
      build: ({ w, grad, m, v, hyper }, attrs) => ({
        w_out: adamStep({ w, grad, m, v, hyper }, attrs),
      }),
      wrong: [
        { shapes: { m: [2, 2] }, text: /\[adam_step\] Expected m of the shape of w/ },
        { shapes: { hyper: [2] }, text: /\[adam_step\] Expected hyper of shape \(3\)/ },
      ].filter(() => layout === 'rows'),
    },
    ({ w, grad, m, v, hyper }, options, f) => {
      const { lrScale = 1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0 } = options;
      const [b1, b2, decay] = [beta1, beta2, weightDecay].map(Math.fround) as [
        number,
        number,
        number,
      ];
      const element = (grid: Grid, i: number): number => grid.data[i] ?? NaN;
      const g = grad.map((value, i) => f(value + f(decay * element(w, i))));
      const m_out = m.map((old, i) => f(f(b1 * old) + f(f(1 - b1) * element(g, i))));
      const v_out = v.map((old, i) =>
        f(f(b2 * old) + f(f(f(1 - b2) * element(g, i)) * element(g, i))),
      );
      const rate = f(hyper.at(0) * Math.fround(lrScale));
      const w_out = w.map((old, i) => {
        const root = f(Math.sqrt(f(element(v_out, i) * hyper.at(2))));
        const step = f(f(element(m_out, i) * hyper.at(1)) / f(root + Math.fround(eps)));
        return f(old - f(rate * step));
      });
      return { w_out, w: w_out, m: m_out, v: v_out };
    },
    cases,
  );
}

describe('ops: adam_step', () => {
  check('rows', [
    of([5], {}),
    of([], { lrScale: 30 }),
    of([3, 17], { beta1: 0.5, beta2: 0.9, eps: 0.1, weightDecay: 0.01 }),
  ]);
  check('conv_weight', [of([5, 3, 3, 2], {}), of([40, 33, 3, 3], { weightDecay: 1e-3 }, true)]);
  check('linear_weight', [of([5, 7], {}), of([40, 700], { lrScale: 0.3 }, true)]);
});
