import { sizeOf } from '../engine/tensor.js';
import { writeActivation } from './activation_onnx.js';
import type {
  AffineOp,
  BinaryKind,
  ConvOp,
  LinearOp,
  NetValue,
  PadOp,
  PoolOp,
  Range,
  ResizeTable,
  Sides,
  SliceOp,
  Step,
  StepOp,
} from './network.js';
import type { OnnxBuilder } from './onnx_builder.js';
import { nodeError } from './onnx_error.js';

const BINARY: Readonly<Record<BinaryKind, string>> = {
  add: 'Add',
  sub: 'Sub',
  mul: 'Mul',
  div: 'Div',
  max: 'Max',
  min: 'Min',
  pow: 'Pow',
};

/** One step under way: where it is written, its name, its inputs and their shapes for one image. */
interface Writing {
  builder: OnnxBuilder;
  name: string;
  inputs: readonly string[];
  x: string;
  /** Shape of the first input. */
  shape: readonly number[];
}

/** Adds the nodes of one step (opset 17 or later) as `performer/<name>`; gives the result's name. */
export function writeStep(
  builder: OnnxBuilder,
  { name: valueName, shape }: NetValue,
  { op, inputs: values, node }: Step,
  inputs: readonly string[],
): string {
  if (op.kind === 'foreign') throw nodeError(node, 'an op that partlens computes', 'another');
  const whole = `performer/${valueName}`;
  const [first] = values;
  // What ends in a flattening, as `to_ops` does it.
  const flattens = shape.length === 1 && op.kind !== 'flatten' && first?.shape.length === 3;
  const name = flattens ? `${whole}.maps` : whole;
  const [x = ''] = inputs;
  const result = write({ builder, name, inputs, x, shape: first?.shape ?? [] }, op);
  return flattens ? builder.node('Flatten', whole, [result], { axis: 1 }) : result;
}

function write(w: Writing, op: Exclude<StepOp, { kind: 'foreign' }>): string {
  const { builder, name, inputs, x, shape } = w;
  switch (op.kind) {
    case 'conv':
      return writeConv(w, op);
    case 'linear':
      return writeLinear(w, op);
    case 'affine':
      return writeAffine(w, op);
    case 'binary':
      return builder.node(BINARY[op.name], name, inputs);
    case 'binary_constant': {
      const dims = shape.length === 1 ? [1, op.shape[0]] : [1, ...op.shape];
      const constant = builder.weight(`${name}.constant`, dims, op.data);
      return builder.node(BINARY[op.name], name, op.constantFirst ? [constant, x] : [x, constant]);
    }
    case 'prelu': {
      const { slope } = op;
      const dims = shape.length === 1 ? [slope.length] : [slope.length, 1, 1];
      return builder.node('PRelu', name, [x, builder.weight(`${name}.slope`, dims, slope)]);
    }
    case 'add':
      return inputs.slice(1).reduce((sum, input, i, rest) => {
        const last = i + 1 === rest.length;
        return builder.node('Add', last ? name : `${name}.${String(i)}`, [sum, input]);
      }, x);
    case 'concat':
      return builder.node('Concat', name, inputs, { axis: 1 });
    case 'resize':
      return stretch(
        { ...w, x: stretch({ ...w, name: `${name}.tall` }, 2, op.rows) },
        3,
        op.columns,
      );
    case 'pad':
      return writePad(w, op);
    case 'slice':
      return writeSlice(w, op);
    case 'channel_norm':
    case 'group_norm':
      return writeNorm(w, op);
    default:
      return writeUnary(w, op);
  }
}

type Unary = Extract<
  StepOp,
  {
    kind:
      | 'relu'
      | 'clip'
      | 'activation'
      | 'maxpool'
      | 'avgpool'
      | 'lrn'
      | 'gather'
      | 'softmax'
      | 'flatten'
      | 'as_maps';
  }
>;

/** Steps of one input that are one node. */
function writeUnary({ builder, name, x, shape }: Writing, op: Unary): string {
  switch (op.kind) {
    case 'relu':
      return builder.node('Relu', name, [x]);
    case 'clip': {
      const bound = (which: string, value: number): string =>
        Number.isFinite(value)
          ? builder.weight(`${name}.${which}`, [], Float32Array.of(value))
          : '';
      return builder.node('Clip', name, [x, bound('min', op.lo), bound('max', op.hi)]);
    }
    case 'activation':
      return writeActivation(builder, name, x, op);
    case 'maxpool': {
      const attributes = { ...poolAttributes(op), dilations: op.dilation };
      return builder.node('MaxPool', name, [x], attributes);
    }
    case 'avgpool': {
      const attributes = { ...poolAttributes(op), count_include_pad: Number(op.countIncludePad) };
      return builder.node('AveragePool', name, [x], attributes);
    }
    case 'lrn': {
      const { size, alpha, beta, k } = op;
      const numbers = { alpha: { float: alpha }, beta: { float: beta }, bias: { float: k } };
      return builder.node('LRN', name, [x], { size, ...numbers });
    }
    case 'gather': {
      const index = builder.ints(`${name}.index`, [...op.index]);
      return builder.node('Gather', name, [x, index], { axis: 1 });
    }
    case 'softmax':
      return builder.node('Softmax', name, [x], { axis: 1 });
    case 'flatten':
      return builder.node('Flatten', name, [x], { axis: 1 });
    case 'as_maps':
      return reshape(builder, name, x, [0, shape[0] ?? 1, 1, 1]);
  }
}

function reshape(builder: OnnxBuilder, name: string, x: string, dims: readonly number[]): string {
  return builder.node('Reshape', name, [x, builder.ints(`${name}.shape`, dims)]);
}

function writeConv({ builder, name, x }: Writing, op: ConvOp): string {
  const { kernel, stride: strides, pad: pads, dilation: dilations, groups: group } = op;
  const { weight, weightShape, bias } = op;
  const w = builder.weight(`${name}.weight`, weightShape, weight);
  const b = bias ? [builder.weight(`${name}.bias`, [bias.length], bias)] : [];
  const attributes = { kernel_shape: kernel, strides, pads, dilations, group };
  return builder.node('Conv', name, [x, w, ...b], attributes);
}

function writeLinear({ builder, name, x }: Writing, op: LinearOp): string {
  const { weight, outSize, inSize, bias } = op;
  const w = builder.weight(`${name}.weight`, [outSize, inSize], weight);
  const b = bias ? [builder.weight(`${name}.bias`, [bias.length], bias)] : [];
  return builder.node('Gemm', name, [x, w, ...b], { transB: 1 });
}

function writeAffine({ builder, name, x, shape }: Writing, op: AffineOp): string {
  const C = op.scale.length;
  const dims = shape.length === 1 ? [1, C] : [1, C, 1, 1];
  const scale = builder.weight(`${name}.scale`, dims, op.scale);
  const shift = builder.weight(`${name}.shift`, dims, op.shift);
  return builder.node('Add', name, [builder.node('Mul', `${name}.scaled`, [x, scale]), shift]);
}

/** One axis resized: cells gathered twice and mixed. */
function stretch({ builder, name, x }: Writing, axis: 2 | 3, table: ResizeTable): string {
  const stem = `${name}.${String(axis)}`;
  const cells = (which: 'low' | 'high', to: string): string =>
    builder.node('Gather', to, [x, builder.ints(`${stem}.${which}`, [...table[which]])], { axis });
  if (table.share.every((share) => share === 0)) return cells('low', name);
  const dims = axis === 2 ? [1, 1, table.low.length, 1] : [1, 1, 1, table.low.length];
  const part = (which: 'low' | 'high', shares: Float32Array): string => {
    const weight = builder.weight(`${stem}.${which}.share`, dims, shares);
    return builder.node('Mul', `${stem}.${which}.part`, [
      cells(which, `${stem}.${which}.cells`),
      weight,
    ]);
  };
  const parts = [
    part(
      'low',
      table.share.map((share) => 1 - share),
    ),
    part('high', table.share),
  ];
  return builder.node('Add', name, parts);
}

function writePad(w: Writing, { pad, mode, value }: PadOp): string {
  const { builder, name, x } = w;
  if (mode === 'wrap')
    return wrapped({ ...w, x: wrapped({ ...w, name: `${name}.tall` }, 2, pad) }, 3, pad);
  const [top, left, bottom, right] = pad;
  const pads = builder.ints(`${name}.pads`, [0, 0, top, left, 0, 0, bottom, right]);
  const number = builder.weight(`${name}.value`, [], Float32Array.of(value));
  return builder.node('Pad', name, mode === 'constant' ? [x, pads, number] : [x, pads], { mode });
}

/** One axis with its other end on either side (Pad knows no `wrap` before opset 19). */
function wrapped({ builder, name, x, shape }: Writing, axis: 2 | 3, pad: Sides): string {
  const size = shape[axis - 1] ?? 1;
  const [before, after] = axis === 2 ? [pad[0], pad[2]] : [pad[1], pad[3]];
  const index = Array.from(
    { length: before + size + after },
    (_, i) => (i - before + before * size) % size,
  );
  return builder.node('Gather', name, [x, builder.ints(`${name}.index`, index)], { axis });
}

function writeSlice({ builder, name, x }: Writing, { channels, rows, columns }: SliceOp): string {
  const ranges = [channels, rows, columns];
  const end = ({ first, step, count }: Range): number => {
    const past = first + step * count;
    return past < 0 ? -(2 ** 31) : past;
  };
  const ints = (which: string, values: number[]): string =>
    builder.ints(`${name}.${which}`, values);
  const starts = ints(
    'starts',
    ranges.map(({ first }) => first),
  );
  const steps = ints(
    'steps',
    ranges.map(({ step }) => step),
  );
  const inputs = [x, starts, ints('ends', ranges.map(end)), ints('axes', [1, 2, 3]), steps];
  return builder.node('Slice', name, inputs);
}

function writeNorm(
  { builder, name, x, shape }: Writing,
  op: Extract<StepOp, { kind: 'channel_norm' | 'group_norm' }>,
): string {
  const epsilon = { float: op.epsilon };
  const weights = (size: number): string[] => [
    builder.weight(`${name}.ones`, [size], new Float32Array(size).fill(1)),
    builder.weight(`${name}.zeros`, [size], new Float32Array(size)),
  ];
  const [C = 1] = shape;
  if (op.kind === 'channel_norm') {
    const normalise = (input: string, to: string): string =>
      builder.node('LayerNormalization', to, [input, ...weights(C)], { axis: -1, epsilon });
    if (shape.length === 1) return normalise(x, name);
    const last = builder.node('Transpose', `${name}.last`, [x], { perm: [0, 2, 3, 1] });
    const perm = [0, 3, 1, 2];
    return builder.node('Transpose', name, [normalise(last, `${name}.normed`)], { perm });
  }
  const { groups } = op;
  const grouped = reshape(builder, `${name}.grouped`, x, [0, groups, sizeOf(shape) / groups]);
  const inputs = [grouped, ...weights(groups)];
  const normed = builder.node('InstanceNormalization', `${name}.normed`, inputs, { epsilon });
  return reshape(builder, name, normed, [0, ...shape]);
}

/** Attributes of a pooling, in ONNX's words. */
export function poolAttributes({
  kernel,
  stride,
  pad,
  ceil,
}: Pick<PoolOp, 'kernel' | 'stride' | 'pad' | 'ceil'>): {
  kernel_shape: readonly number[];
  strides: readonly number[];
  pads: readonly number[];
  ceil_mode: number;
} {
  return { kernel_shape: kernel, strides: stride, pads: pad, ceil_mode: Number(ceil) };
}
