import { conv2d, type Conv2dOptions } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase, type Reference } from '../support/check_op.js';
import { Grid, sizes } from '../support/grid.js';

type Inputs = 'x' | 'w' | 'b';
interface Attrs {
  stride: readonly [number, number];
  /** top, left, bottom, right */
  pad: readonly [number, number, number, number];
  dilation?: readonly [number, number];
  relu?: boolean;
  bias?: boolean;
}

/** y[n,o,p,q] = b[o] + sum_crs x[n, c, p*stride + r*dilation - pad, q*stride + s*dilation - pad] w[o,c,r,s] */
const reference: Reference<Inputs, Attrs> = ({ x, w, b }, attrs, f) => {
  const { stride, pad, dilation = [1, 1], relu, bias } = attrs;
  const [N, C, H, W] = sizes(x);
  const [O, , R, S] = sizes(w);
  const P = Math.floor((H + pad[0] + pad[2] - (R - 1) * dilation[0] - 1) / stride[0]) + 1;
  const Q = Math.floor((W + pad[1] + pad[3] - (S - 1) * dilation[1] - 1) / stride[1]) + 1;
  const y = new Grid([N, O, P, Q]);
  for (const [n, o, p, q] of y.cells()) {
    let sum = bias === false ? 0 : b.at(o);
    for (let c = 0; c < C; c++) {
      for (let r = 0; r < R; r++) {
        const i = p * stride[0] + r * dilation[0] - pad[0];
        for (let s = 0; s < S; s++) {
          const j = q * stride[1] + s * dilation[1] - pad[1];
          sum = f(sum + f(x.at(n, c, i, j) * w.at(o, c, r, s)));
        }
      }
    }
    y.set(relu ? Math.max(sum, 0) : sum, n, o, p, q);
  }
  return { y };
};

const plain: Attrs = { stride: [1, 1], pad: [0, 0, 0, 0] };
const same: Attrs = { stride: [1, 1], pad: [1, 1, 1, 1] };

function of(
  x: [number, number, number, number],
  w: [number, number, number, number],
  attrs: Attrs,
  rest: Partial<OpCase<Inputs, Attrs>> = {},
): OpCase<Inputs, Attrs> {
  return { shapes: { x, w, b: [w[0]] }, attrs, ...rest };
}

describe('ops: conv2d', () => {
  checkOp(
    {
      name: 'conv2d',
      inputs: { x: {}, w: { layout: 'conv_weight' }, b: {} },
      wrt: ['x', 'w', 'b'],
      build: ({ x, w, b }, { bias, ...options }) => ({
        y: conv2d(x, w, bias === false ? undefined : b, options satisfies Conv2dOptions),
      }),
      wrong: [
        { shapes: { w: [4, 4, 3, 3] }, text: /\[conv2d\] Expected w of shape .*C = 3, as x has/ },
        { shapes: { b: [5] }, text: /\[conv2d\] Expected b of shape .*O = 4, as w has/ },
        { shapes: { x: [2, 3] }, text: /\[conv2d\] Expected x of shape \(N, C, H, W\)/ },
        {
          shapes: { x: [2, 3, 1, 6] },
          text: /\[conv2d\] .* for y but received \(2, 4, 0, 4\)/,
          attrs: plain,
        },
        { shapes: {}, text: /stride/, attrs: { ...plain, stride: [0, 1] }, code: 'E_ARGUMENT' },
        {
          shapes: {},
          text: /integers >= 1 for dilation/,
          attrs: { ...plain, dilation: [1, 0] },
          code: 'E_ARGUMENT',
        },
        { shapes: {}, text: /pad/, attrs: { ...plain, pad: [-1, 0, 0, 0] }, code: 'E_ARGUMENT' },
      ],
    },
    reference,
    [
      of([2, 3, 5, 6], [4, 3, 3, 3], { ...same, relu: true }),
      of([1, 1, 1, 1], [1, 1, 1, 1], plain),
      of([2, 5, 4, 3], [17, 5, 1, 1], { ...plain, bias: false }),
      of([2, 17, 4, 4], [3, 17, 1, 1], { ...plain, stride: [2, 2] }),
      of([1, 4, 9, 8], [5, 4, 5, 3], { stride: [2, 1], pad: [2, 0, 1, 1] }),
      of([1, 4, 8, 9], [5, 4, 2, 3], { stride: [1, 3], pad: [0, 1, 0, 2] }),
      of([1, 3, 19, 23], [6, 3, 11, 11], { stride: [4, 4], pad: [2, 2, 2, 2], relu: true }),
      of([2, 2, 3, 3], [3, 2, 3, 3], { stride: [1, 1], pad: [3, 3, 3, 3] }),
      of([3, 2, 6, 6], [33, 2, 3, 3], { stride: [2, 2], pad: [0, 0, 0, 0] }),
      // dilated: alone, with strides that share a factor with it and that do not, and padding beyond it
      of([2, 3, 9, 8], [4, 3, 3, 3], { ...same, dilation: [2, 3], relu: true }),
      of([1, 17, 8, 9], [5, 17, 2, 3], { stride: [2, 3], pad: [2, 4, 3, 0], dilation: [2, 2] }),
      of([1, 2, 11, 12], [3, 2, 3, 2], { stride: [4, 6], pad: [5, 1, 4, 6], dilation: [6, 4] }),
      of([1, 33, 6, 7], [18, 33, 3, 3], { ...same, dilation: [2, 2] }, { samples: 5 }),
      // more than 64 channels, more than 32 filters, several rows of tiles
      of([2, 70, 7, 5], [40, 70, 3, 3], same, { large: true, samples: 3 }),
      of([1, 40, 14, 14], [36, 40, 3, 3], same, { large: true, samples: 3 }),
      // strips of rows, and padded copies of more than one round
      of([2, 3, 40, 40], [4, 3, 3, 3], same, { large: true, samples: 4 }),
      of([3, 1, 420, 420], [1, 1, 2, 1], { ...same, stride: [1, 2] }, { large: true, samples: 1 }),
    ],
  );
});
