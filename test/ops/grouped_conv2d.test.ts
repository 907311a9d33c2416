import { groupedConv2d } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { convolved, type ConvolutionAttrs } from '../support/convolution.js';

type Inputs = 'x' | 'w' | 'b';
interface Attrs extends ConvolutionAttrs {
  groups: number;
}

/** x (N, C, H, W), outputs and window [O, R, S]. */
function of(
  x: [number, number, number, number],
  [O, R, S]: [number, number, number],
  attrs: Attrs,
  rest: Partial<OpCase<Inputs, Attrs>> = {},
): OpCase<Inputs, Attrs> {
  return { shapes: { x, w: [O, x[1] / attrs.groups, R, S], b: [O] }, attrs, ...rest };
}

const pad = [1, 1, 1, 1] as const;

describe('ops: groupedConv2d', () => {
  checkOp<Inputs, Attrs>(
    {
      name: 'grouped_conv2d',
      inputs: { x: {}, w: { layout: 'conv_weight' }, b: {} },
      wrt: ['x'],
      build: ({ x, w, b }, { bias, ...options }) => ({
        y: groupedConv2d(x, w, bias === false ? undefined : b, options),
      }),
      wrong: [
        {
          shapes: { w: [6, 3, 3, 3] },
          text: /\[groupedConv2d\] Expected C \/ groups = 2 channels/,
        },
        { shapes: { b: [5] }, text: /\[grouped_conv2d\] Expected b of shape/ },
        {
          shapes: {},
          attrs: { groups: 3 },
          text: /\[groupedConv2d\] Expected a divisor of C = 4 and O = 6 for groups/,
          code: 'E_ARGUMENT',
        },
      ],
    },
    convolved,
    [
      of([2, 4, 5, 6], [6, 3, 3], { groups: 2, pad, relu: true }),
      of([1, 3, 4, 4], [6, 2, 2], { groups: 3, bias: false }), // two filters for each channel
      of([1, 20, 5, 4], [40, 3, 1], { groups: 4, pad: [1, 0, 1, 0] }), // groups across blocks
      of([2, 36, 4, 3], [12, 1, 1], { groups: 12 }),
      of([1, 66, 3, 4], [33, 1, 2], { groups: 3, bias: false }),
      of([1, 64, 5, 5], [64, 3, 3], { groups: 2, pad }, { samples: 6 }),
      of([1, 8, 8, 9], [12, 2, 3], {
        groups: 4,
        stride: [2, 3],
        pad: [2, 4, 3, 0],
        dilation: [2, 2],
      }),
      of([1, 4, 11, 12], [4, 3, 2], {
        groups: 2,
        stride: [4, 6],
        pad: [5, 1, 4, 6],
        dilation: [6, 4],
      }),
      // without ReLU: of so many outputs one lies nearer to its kink than the differences' step
      of([2, 32, 20, 20], [32, 3, 3], { groups: 8, pad }, { large: true, samples: 3 }),
    ],
  );
});
