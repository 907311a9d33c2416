import { expect } from 'chai';
import { foldNode, FOLDED_TYPES } from '../../lib/performer/fold.js';
import { DataType } from '../../lib/performer/onnx_proto.js';
import {
  constantOf,
  list,
  nodeOf,
  numbersFrom,
  runNode,
  type NodeCase,
  type Numbers,
} from '../support/onnx_case.js';
import { randomNumbers } from '../support/onnx_models.js';
import { loadOnnxRuntime } from '../support/onnxruntime.js';
import { failure } from '../support/performer.js';

const { floats, positive, ints, bools, int8, uint8, int32 } = numbersFrom(randomNumbers(5));
const scalar = (value: number, type?: number): Numbers => ({
  dims: [],
  data: [value],
  ...(type === undefined ? {} : { type }),
});
const INT64 = DataType.INT64;

type Case = [
  opType: string,
  inputs: NodeCase['inputs'],
  attributes?: NodeCase['attributes'],
  rest?: { opset?: number; outputs?: number },
];

const binary = (opType: string): Case[] => [
  [opType, [floats(2, 1, 4), positive(3, 1)]],
  [opType, [floats(2, 3), scalar(0.5)]],
  [opType, [floats(5), floats(5)]],
];
const whole = (opType: string): Case[] => [
  [opType, [ints(2, 3), { dims: [3], data: [3, -2, 5], type: INT64 }]],
];
const reductions = (opType: string): Case[] => [
  [opType, [positive(2, 3, 4)], { axes: [1], keepdims: 0 }, { opset: 11 }],
  [opType, [positive(2, 3, 4)], { axes: [-1, 0] }, { opset: 11 }],
  [opType, [positive(2, 3)], {}, { opset: 11 }],
  [opType, [positive(2, 3, 4), list(2)], { keepdims: 0 }, { opset: 18 }],
  [opType, [positive(2, 3)], { noop_with_empty_axes: 1 }, { opset: 18 }],
];

const CASES: Case[] = [
  ...['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Equal', 'Less', 'Greater'].flatMap(binary),
  ...['LessOrEqual', 'GreaterOrEqual'].flatMap(binary),
  ...['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min', 'Equal', 'Less', 'Mod'].flatMap(whole),
  ['Max', [floats(2, 3), floats(3), floats(2, 1)]],
  ['Sum', [floats(2, 3), floats(3), floats(1)]],
  ['Pow', [positive(2, 3), floats(3)]],
  ['Pow', [ints(4), scalar(3, INT64)]],
  ['Mod', [floats(6), positive(6)], { fmod: 1 }],
  ['Mod', [ints(6), { dims: [1], data: [3], type: INT64 }], { fmod: 1 }],
  ...['And', 'Or', 'Xor'].map((opType): Case => [opType, [bools(2, 3), bools(3)]]),
  ['Not', [bools(7)]],
  ...['Neg', 'Abs', 'Sign', 'Floor', 'Ceil', 'Exp', 'Reciprocal', 'Relu'].map((opType): Case => [
    opType,
    [floats(2, 5)],
  ]),
  ['Neg', [ints(5)]],
  ['Abs', [ints(5)]],
  ['Round', [{ dims: [6], data: [0.5, 1.5, 2.5, -0.5, -1.5, 2.4] }]],
  ['Sqrt', [positive(2, 5)]],
  ['Log', [positive(2, 5)]],
  ['Clip', [floats(9), scalar(-0.5), scalar(1)]],
  ['Clip', [floats(9), undefined, scalar(1)]],
  ['Clip', [floats(9)], { min: { float: -1 } }, { opset: 10 }],
  ['Where', [bools(2, 1), floats(2, 3), floats(3)]],
  ['Where', [bools(3), ints(2, 3), scalar(4, INT64)]],
  ['Cast', [floats(6)], { to: INT64 }],
  ['Cast', [floats(6)], { to: DataType.BOOL }],
  ['Cast', [ints(6)], { to: DataType.FLOAT }],
  ['CastLike', [floats(6), ints(1)]],
  ['Identity', [floats(2, 3)]],
  ['Shape', [floats(2, 3, 4)], { start: 1, end: -1 }, { opset: 15 }],
  ['Size', [floats(2, 3, 4)]],
  ['ConstantOfShape', [list(2, 3)]],
  ['ConstantOfShape', [list(3)], { value: { tensor: { dims: [1], data: BigInt64Array.of(7n) } } }],
  ['Range', [scalar(1, INT64), scalar(8, INT64), scalar(3, INT64)]],
  ['Range', [scalar(2), scalar(-1), scalar(-0.5)]],
  ['NonZero', [bools(3, 4)]],
  ...['ReduceProd', 'ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceL1', 'ReduceL2'].flatMap(
    reductions,
  ),
  ...reductions('ReduceSumSquare'),
  ...reductions('ReduceSum'),
  ['ReduceSum', [positive(2, 3), list(0)], {}, { opset: 13 }],
  ['ReduceProd', [ints(2, 3)], { axes: [1], keepdims: 0 }, { opset: 13 }],
  ['Reshape', [floats(2, 3, 4), list(0, -1)]],
  ...[-3, -1, 0, 1, 3].map((axis): Case => ['Flatten', [floats(2, 3, 4)], { axis }]),
  ['Squeeze', [floats(2, 1, 3, 1), list(-1)]],
  ['Squeeze', [floats(2, 1, 3, 1)]],
  ['Unsqueeze', [floats(2, 3), list(0, -1)]],
  ['Transpose', [floats(2, 3, 4, 5)], { perm: [2, 0, 3, 1] }],
  ['Transpose', [ints(2, 3)]],
  ['Gather', [floats(3, 4), { dims: [2, 2], data: [0, -1, 2, 1], type: INT64 }], { axis: 1 }],
  ['Gather', [floats(3, 4), scalar(-2, INT64)]],
  ['Slice', [floats(4, 5), list(3, 4), list(-(2 ** 40), 1), list(0, 1), list(-1, -2)]],
  ['Slice', [floats(4, 5), list(1, -3), list(2 ** 40, -1)]],
  ['Slice', [floats(4, 5)], { starts: [1], ends: [3], axes: [1] }, { opset: 9 }],
  ['Slice', [floats(4, 5), list(3), list(1)]],
  ['Concat', [floats(2, 3), floats(2, 1), floats(2, 2)], { axis: -1 }],
  ['Concat', [ints(2, 3), ints(1, 3)], { axis: 0 }],
  ['Split', [floats(2, 6)], { axis: 1 }, { outputs: 3 }],
  ['Split', [floats(5, 2), list(1, 4)], {}, { outputs: 2 }],
  ['Split', [floats(2, 6)], { axis: 1, split: [2, 4] }, { outputs: 2, opset: 11 }],
  ['Split', [floats(7)], { num_outputs: 3 }, { outputs: 3, opset: 18 }],
  ['Expand', [floats(3, 1), list(2, 1, 4)]],
  ['Tile', [floats(2, 3), list(2, 3)]],
  ['Pad', [floats(2, 3), list(1, 0, 0, 2), scalar(9)]],
  ['Pad', [floats(3, 4), list(0, 2, 1, 1)], { mode: 'reflect' }],
  ['Pad', [floats(3, 4), list(2, 2, 1, 1)], { mode: 'edge' }],
  ['Pad', [floats(3, 4), list(0, -1, 0, 2)]],
  ['Pad', [floats(2, 3), list(1, 2), undefined, list(1)], {}, { opset: 18 }],
  ['Pad', [floats(3, 4), list(1, 2, 3, 3)], { mode: 'wrap' }, { opset: 19 }],
  ['Pad', [floats(2, 3)], { pads: [1, 0, 0, 2], value: { float: 4 } }, { opset: 10 }],
  ['DequantizeLinear', [int8(2, 3), scalar(0.25), scalar(3, DataType.INT8)]],
  ['DequantizeLinear', [int8(3, 2, 2), positive(3), int8(3)], { axis: 0 }],
  ['DequantizeLinear', [int32(2, 4), positive(4)], { axis: -1 }],
  ['DequantizeLinear', [int8(2, 4), positive(2, 2)], { axis: 1, block_size: 2 }, { opset: 21 }],
  ['QuantizeLinear', [floats(2, 9), scalar(0.011), scalar(7, DataType.INT8)]],
  ['QuantizeLinear', [floats(2, 9), scalar(0.011)]],
  ['QuantizeLinear', [floats(3, 4), positive(3), uint8(3)], { axis: 0 }],
];

describe('performer: folding', () => {
  it('computes every op type as onnxruntime does', async function () {
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    for (const [opType, inputs, attributes = {}, rest = {}] of CASES) {
      const one: NodeCase = { opType, inputs, attributes, ...rest };
      const sizes = inputs.map((input) => input?.dims.join('x'));
      const title = `${opType} (${sizes.join(', ')}) ${Object.keys(attributes).join()} ${JSON.stringify(rest)}`;
      const wanted = await runNode(one);
      const got = foldNode(
        nodeOf(one),
        inputs.map((input) => input && constantOf(input)),
      );
      expect(got?.length, title).to.equal(wanted.length);
      for (const [i, { dims, data }] of wanted.entries()) {
        expect(got?.[i]?.dims, title).to.deep.equal(dims);
        const values = got?.[i]?.data ?? [];
        expect(values.length, title).to.equal(data.length);
        data.forEach((value, k) => {
          expect(values[k], `${title} [${String(k)}]`).to.be.closeTo(
            value,
            1e-5 * Math.abs(value) + 1e-6,
          );
        });
      }
    }
    const untested = FOLDED_TYPES.filter((type) => !CASES.some(([opType]) => opType === type));
    expect(untested).to.have.members(['Constant', 'Dropout']);
  });

  it('refuses what does not fit, before anything is made', async () => {
    const refused = (message: RegExp, opType: string, inputs: Numbers[], attributes = {}) =>
      failure('E_ONNX', message, () =>
        foldNode(nodeOf({ opType, inputs, attributes }), inputs.map(constantOf)),
      );
    await refused(/shapes that broadcast/, 'Add', [floats(2), floats(3)]);
    await refused(/at most 1048576 elements/, 'Expand', [floats(1), list(2 ** 30)]);
    await refused(/at most 1048576 elements/, 'Tile', [floats(1), list(2 ** 31)]);
    await refused(/at most 1048576/, 'Range', [scalar(0), scalar(1e9), scalar(1)]);
    await refused(/at most 1048576/, 'Range', [scalar(0), scalar(1), scalar(0)]);
    await refused(/at most 1048576/, 'Pad', [floats(1), list(2 ** 30, 0)]);
    await refused(/at most 1048576/, 'Mul', [floats(2000, 1), floats(1, 2000)]);
    await refused(/at most 1048576/, 'ConstantOfShape', [list(-1)]);
    await refused(/pieces of 5/, 'Split', [floats(5), list(2, 2)]);
    await refused(/an axis from -2 to 1/, 'Gather', [floats(2, 2), list(0)], { axis: 2 });
    await refused(/of one length/, 'Slice', [floats(4), list(0), list(1, 2)]);
    await refused(/differ in one axis/, 'Concat', [floats(2, 2), floats(3, 3)], { axis: 0 });
    await refused(/one scale/, 'DequantizeLinear', [int8(2, 3), positive(2)], { axis: 1 });
  });
});
