import { sidesOf, type ImageSize } from '../data/image_size.js';
import { show } from '../errors.js';
import { sizeOf, type Shape } from '../engine/tensor.js';
import type { NetValue } from './network.js';
import { modelError } from './onnx_error.js';
import { DataType } from './onnx_proto.js';
import type { Dimension, OnnxInput, OnnxModel, OnnxNode } from './onnx_model.js';
import { isFloatType } from './onnx_tensor.js';

/** Grey, colour, and colour with a fourth channel. */
const CHANNELS: readonly Dimension[] = [1, 3, 4];

/** The image that a network starts from. */
export interface ImageInput {
  /** Always [C, H, W], however the tensor lies in the file. */
  value: NetValue;
  /** The batch size that the model declares, undefined if it leaves it open. */
  batch: Dimension;
  /** True where the tensor of the file is (N, H, W, C), as Keras writes it. */
  channelsLast: boolean;
  /** True where the file wants whole numbers from 0 to 255. */
  bytes: boolean;
}

/**
 * The one image input that `nodes` read, (N, C, H, W) or (N, H, W, C) with 1, 3 or 4 channels. Other
 * inputs that nothing reads are ignored. `size` (pixels) stands for an open height and width.
 */
export function imageInput(
  model: OnnxModel,
  nodes: readonly OnnxNode[],
  size: ImageSize | undefined,
): ImageInput {
  const read = new Set(nodes.flatMap((node) => node.inputs));
  const used = model.inputs.filter(({ name }) => read.has(name));
  const [input, second] = used.length > 0 ? used : model.inputs;
  if (!input || second) {
    const received = (used.length > 0 ? used : model.inputs).map(({ name }) => name);
    throw modelError('one input that is read and no initializer', model.path, received);
  }
  const { name, elementType } = input;
  const bytes = elementType === DataType.UINT8;
  if (elementType !== 0 && !isFloatType(elementType) && !(bytes && isConverted(name, nodes))) {
    throw modelError(
      'an input of floats, or of bytes that a Cast makes floats',
      `input ${show(name)}`,
      `type ${String(elementType)}`,
    );
  }
  const { shape, channelsLast } = imageShape(input, size);
  const field = { stride: 1, first: 0, last: 0 };
  const axes = channelsLast ? [0, 2, 3, 1] : [0, 1, 2, 3];
  const value: NetValue = { name, shape, step: undefined, field: [field, field], axes };
  return { value, batch: input.dims?.[0], channelsLast, bytes };
}

/** True if every reader of bytes makes other numbers of them or moves them only. */
function isConverted(name: string, nodes: readonly OnnxNode[]): boolean {
  const kept = ['Cast', 'DequantizeLinear', 'Transpose', 'Identity', 'Shape'];
  return nodes.every((node) => !node.inputs.includes(name) || kept.includes(node.opType));
}

function imageShape(
  { name, dims }: OnnxInput,
  size: ImageSize | undefined,
): { shape: Shape; channelsLast: boolean } {
  const sizes = dims ?? [undefined, 3, undefined, undefined];
  const shown = dims?.map((dim) => dim ?? 'open');
  const channelsLast = !CHANNELS.includes(sizes[1]) && CHANNELS.includes(sizes[3]);
  const [rows, columns] = size === undefined ? [] : sidesOf(size);
  const [channels, height = rows, width = columns] = channelsLast
    ? [sizes[3], sizes[1], sizes[2]]
    : sizes.slice(1);
  if (sizes.length !== 4 || channels === undefined || !CHANNELS.includes(channels)) {
    const wanted = 'images (N, C, H, W) or (N, H, W, C) with C = 1, 3 or 4';
    throw modelError(wanted, `input ${show(name)}`, shown);
  }
  if (height === undefined || width === undefined) {
    throw modelError('a height and a width', `input ${show(name)}`, shown, {
      remedy:
        'The model leaves them open: give --image-size, such as 224 or 240x320 (height x width), or ' +
        '"size" in the JSON file beside the model.',
    });
  }
  const shape = [channels, height, width];
  if (sizeOf(shape) >= 2 ** 31) {
    throw modelError('fewer than 2^31 elements', `input ${show(name)}`, shape);
  }
  return { shape, channelsLast };
}
