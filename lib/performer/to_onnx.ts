import { PartlensError } from '../errors.js';
import { lowerModel } from './lower.js';
import type { NetValue, PoolOp, Step } from './network.js';
import { nodeError } from './onnx_error.js';
import type { OnnxBuilder } from './onnx_builder.js';
import { readOnnx } from './onnx_read.js';
import type { Performer } from './performer.js';

/**
 * Adds a performer from its input to the explained layer to an ONNX graph of opset 17 or later, whatever
 * opset its file has: what is written is the network as it was read (constants folded, batch
 * normalization as scale and shift). Its values are called `performer/<name>`. Returns the layer's name.
 * Throws `E_FILE`, `E_ONNX`, and `E_STATE` when the file is another one than was loaded.
 */
export async function addPerformer(
  builder: OnnxBuilder,
  performer: Performer,
  image: string,
): Promise<string> {
  const { path, fingerprint, layer, preprocessing } = performer;
  const network = lowerModel(await readOnnx(path), {
    wanted: [layer.name],
    size: preprocessing.size,
  });
  if (network.fingerprint !== fingerprint) {
    throw new PartlensError('E_STATE', `${path} has changed since it was loaded.`);
  }
  const names = new Map<NetValue, string>([[network.input, image]]);
  for (const value of network.values) {
    if (value.step) names.set(value, addStep(builder, value, value.step, names));
  }
  const [output] = network.outputs;
  const name = output && names.get(output);
  if (name === undefined) throw new PartlensError('E_INTERNAL', `${layer.name} was not written`);
  return name;
}

/** One layer over maps; what makes rows cannot lie before maps. */
function addStep(
  builder: OnnxBuilder,
  { name: valueName }: NetValue,
  { op, inputs: values, node }: Step,
  names: ReadonlyMap<NetValue, string>,
): string {
  const name = `performer/${valueName}`;
  const inputs = values.map((value) => names.get(value) ?? '');
  const [x = ''] = inputs;
  switch (op.kind) {
    case 'conv': {
      const { kernel, stride: strides, pad: pads, weight, weightShape, bias } = op;
      const w = builder.weight(`${name}.weight`, weightShape, weight);
      const b = bias ? [builder.weight(`${name}.bias`, [bias.length], bias)] : [];
      return builder.node('Conv', name, [x, w, ...b], { kernel_shape: kernel, strides, pads });
    }
    case 'affine': {
      const dims = [1, op.scale.length, 1, 1];
      const scale = builder.weight(`${name}.scale`, dims, op.scale);
      const shift = builder.weight(`${name}.shift`, dims, op.shift);
      return builder.node('Add', name, [builder.node('Mul', `${name}.scaled`, [x, scale]), shift]);
    }
    case 'maxpool':
      return builder.node('MaxPool', name, [x], poolAttributes(op));
    case 'avgpool': {
      const attributes = { ...poolAttributes(op), count_include_pad: Number(op.countIncludePad) };
      return builder.node('AveragePool', name, [x], attributes);
    }
    case 'clip': {
      const bound = (which: string, value: number): string =>
        Number.isFinite(value)
          ? builder.weight(`${name}.${which}`, [], Float32Array.of(value))
          : '';
      return builder.node('Clip', name, [x, bound('min', op.lo), bound('max', op.hi)]);
    }
    case 'lrn': {
      const { size, alpha, beta, k } = op;
      const attributes = {
        size,
        alpha: { float: alpha },
        beta: { float: beta },
        bias: { float: k },
      };
      return builder.node('LRN', name, [x], attributes);
    }
    case 'relu':
      return builder.node('Relu', name, [x]);
    case 'add':
      return inputs
        .slice(1)
        .reduce(
          (sum, input, i, rest) =>
            builder.node('Add', i + 1 < rest.length ? `${name}.${String(i)}` : name, [sum, input]),
          x,
        );
    case 'concat':
      return builder.node('Concat', name, inputs, { axis: 1 });
    default:
      throw nodeError(node, 'an op over maps', op.kind);
  }
}

/** Attributes of a pooling, in ONNX's words. */
export function poolAttributes({
  kernel,
  stride,
  pad,
  ceil,
}: Omit<PoolOp, 'kind' | 'countIncludePad'>): {
  kernel_shape: readonly number[];
  strides: readonly number[];
  pads: readonly number[];
  ceil_mode: number;
} {
  return { kernel_shape: kernel, strides: stride, pads: pad, ceil_mode: Number(ceil) };
}
