import { depthwiseConv2d } from '../../lib/engine/ops/index.js';
import { checkOp, type OpCase } from '../support/check_op.js';
import { convolved, type ConvolutionAttrs } from '../support/convolution.js';

type Inputs = 'x' | 'w' | 'b';

function of(
  x: [number, number, number, number],
  [R, S]: [number, number],
  attrs: ConvolutionAttrs,
  rest: Partial<OpCase<Inputs, ConvolutionAttrs>> = {},
): OpCase<Inputs, ConvolutionAttrs> {
  return { shapes: { x, w: [x[1], 1, R, S], b: [x[1]] }, attrs, ...rest };
}

const same: ConvolutionAttrs = { pad: [1, 1, 1, 1] };

describe('ops: depthwiseConv2d', () => {
  checkOp<Inputs, ConvolutionAttrs>(
    {
      name: 'depthwise_conv2d',
      inputs: { x: {}, w: { layout: 'conv_weight' }, b: {} },
      wrt: ['x'],
      build: ({ x, w, b }, { bias, ...options }) => ({
        y: depthwiseConv2d(x, w, bias === false ? undefined : b, options),
      }),
      wrong: [
        { shapes: { w: [4, 1, 3, 3] }, text: /\[depthwise_conv2d\] Expected w of shape .*C = 5/ },
        { shapes: { w: [5, 2, 3, 3] }, text: /\[depthwise_conv2d\] Expected w of shape/ },
        { shapes: { b: [6] }, text: /\[depthwise_conv2d\] Expected b of shape/ },
        { shapes: {}, text: /dilation/, attrs: { dilation: [0, 1] }, code: 'E_ARGUMENT' },
      ],
    },
    convolved,
    [
      of([2, 5, 5, 6], [3, 3], { ...same, relu: true }),
      of([1, 1, 1, 1], [1, 1], {}),
      of([1, 1, 2, 2], [5, 5], { pad: [2, 2, 2, 2], bias: false }),
      of([2, 17, 9, 23], [3, 3], same),
      of([1, 18, 9, 24], [3, 3], { ...same, stride: [2, 2] }),
      of([1, 3, 11, 19], [5, 5], { pad: [2, 2, 2, 2] }),
      of([1, 3, 12, 11], [5, 5], { pad: [1, 2, 2, 1], stride: [2, 2], bias: false }),
      of([1, 2, 9, 17], [7, 7], { pad: [3, 3, 3, 3] }),
      of([1, 2, 8, 9], [2, 3], { stride: [2, 3], pad: [2, 4, 3, 0], dilation: [2, 2] }),
      of([1, 2, 11, 12], [3, 2], { stride: [4, 6], pad: [5, 1, 4, 6], dilation: [6, 4] }),
      of([2, 3, 3, 3], [3, 3], { pad: [4, 4, 4, 4] }),
      // wide rows: their sides alone are copied
      of([2, 18, 5, 47], [3, 3], { ...same, relu: true }, { samples: 8 }),
      of([1, 3, 7, 95], [5, 5], { pad: [2, 2, 2, 2], stride: [2, 2] }, { samples: 8 }),
      of([1, 2, 4, 60], [3, 3], { pad: [0, 0, 0, 3], dilation: [1, 2] }, { samples: 8 }),
      // strips of rows
      of([2, 20, 60, 40], [3, 3], { ...same, relu: true }, { large: true, samples: 4 }),
    ],
  );
});
