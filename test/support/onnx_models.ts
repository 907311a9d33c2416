import {
  encodeModel,
  type AttributeValue,
  type ModelSpec,
  type NodeSpec,
  type TensorSpec,
} from '../../lib/performer/onnx_write.js';

/** A generated network and the names that tests cut it at. */
export interface GeneratedModel {
  spec: ModelSpec;
  /** Side of the square input, pixels. */
  size: number;
  layer: string;
  targets: string[];
  output: string;
}

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Standard normal numbers from a seed. */
export function randomNormals(seed: number): () => number {
  const next = randomNumbers(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

/** Images (count, 3, size, size) of standard normal numbers. */
export function randomImages(count: number, size: number, seed = 5): Float32Array {
  return Float32Array.from({ length: count * 3 * size * size }, randomNormals(seed));
}

export interface NetOptions {
  size: number;
  opset?: number;
  seed?: number;
  /** Declared batch dimension, default `'N'`. */
  batch?: number | string;
}

/** Writes a network node by node; every method returns the name of the new value. */
export class NetBuilder {
  readonly nodes: NodeSpec[] = [];
  readonly initializers: Record<string, TensorSpec> = {};
  readonly options: NetOptions;
  readonly normal: () => number;

  constructor(options: NetOptions) {
    this.options = options;
    this.normal = randomNormals(options.seed ?? 1);
  }

  node(
    opType: string,
    name: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    this.nodes.push({ opType, name: `${name}_node`, inputs, outputs: [name], attributes });
    return name;
  }

  /** Random numbers, or given ones; returns the initializer's name. */
  weight(name: string, dims: readonly number[], make: () => number = this.normal): string {
    const length = dims.reduce((product, size) => product * size, 1);
    this.initializers[name] = { dims, data: Float32Array.from({ length }, make) };
    return name;
  }

  ints(name: string, values: readonly number[], dims: readonly number[] = [values.length]): string {
    this.initializers[name] = { dims, data: BigInt64Array.from(values.map(BigInt)) };
    return name;
  }

  /** He-normal weights (O, C, k, k), bias unless `bias` is false. */
  conv(
    x: string,
    name: string,
    [O, C, k]: readonly [number, number, number],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    bias = true,
  ): string {
    const deviation = Math.sqrt(2 / (C * k * k));
    const w = this.weight(`${name}.w`, [O, C, k, k], () => this.normal() * deviation);
    const b = bias ? [this.weight(`${name}.b`, [O], () => this.normal() * 0.1)] : [];
    return this.node('Conv', name, [x, w, ...b], { kernel_shape: [k, k], ...attributes });
  }

  relu(x: string): string {
    return this.node('Relu', `${x}_relu`, [x]);
  }

  /** Fully connected layer with PyTorch's (out, in) weights. */
  gemm(
    x: string,
    name: string,
    [O, F]: readonly [number, number],
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string {
    const deviation = Math.sqrt(2 / F);
    const w = this.weight(`${name}.w`, [O, F], () => this.normal() * deviation);
    const b = this.weight(`${name}.b`, [O], () => this.normal() * 0.1);
    return this.node('Gemm', name, [x, w, b], { transB: 1, ...attributes });
  }

  batchNorm(x: string, name: string, C: number): string {
    const make = [
      () => 1 + 0.2 * this.normal(),
      () => 0.2 * this.normal(),
      () => 0.2 * this.normal(),
      () => 0.5 + Math.abs(this.normal()),
    ];
    const stats = make.map((f, i) => this.weight(`${name}.${String(i)}`, [C], f));
    return this.node('BatchNormalization', name, [x, ...stats]);
  }

  maxPool(
    x: string,
    name: string,
    kernel: number,
    attributes: Record<string, AttributeValue> = {},
  ): string {
    const pair = [kernel, kernel];
    return this.node('MaxPool', name, [x], { kernel_shape: pair, strides: [2, 2], ...attributes });
  }

  spec(...outputs: readonly string[]): ModelSpec {
    const { size, opset = 13, batch = 'N' } = this.options;
    return {
      opset,
      inputs: [{ name: 'image', dims: [batch, 3, size, size] }],
      outputs: outputs.map((name) => ({ name, dims: [] })),
      nodes: this.nodes,
      initializers: this.initializers,
    };
  }
}

/** Large first kernel, LRN, overlapping pooling, and the Shape-Gather-Concat flattening of PyTorch. */
export function alexNet(): GeneratedModel {
  const net = new NetBuilder({ size: 131, opset: 9, seed: 11 });
  let x = net.relu(
    net.conv('image', 'conv1', [16, 3, 11], { strides: [4, 4], pads: [2, 2, 2, 2] }),
  );
  x = net.node('LRN', 'norm1', [x], { size: 5, alpha: 0.02, beta: 0.75, bias: { float: 2 } });
  x = net.maxPool(x, 'pool1', 3);
  x = net.relu(net.conv(x, 'conv2', [32, 16, 5], { pads: [2, 2, 2, 2] }));
  x = net.maxPool(net.node('LRN', 'norm2', [x], { size: 3, alpha: 0.05 }), 'pool2', 3);
  for (const [name, C] of [
    ['conv3', 32],
    ['conv4', 48],
    ['conv5', 48],
  ] as const) {
    x = net.relu(net.conv(x, name, [name === 'conv5' ? 32 : 48, C, 3], { pads: [1, 1, 1, 1] }));
  }
  x = net.maxPool(x, 'pool5', 3);
  x = net.node('AveragePool', 'adaptive', [x], { kernel_shape: [1, 1], strides: [1, 1] });
  const shape = net.node('Shape', 'shape', [x]);
  const first = net.node('Gather', 'first', [shape, net.ints('zero', [0], [])], { axis: 0 });
  const batch = net.node('Unsqueeze', 'batch', [first], { axes: [0] });
  const wanted = net.node('Concat', 'wanted', [batch, net.ints('rest', [-1])], { axis: 0 });
  x = net.node('Dropout', 'drop5', [net.node('Reshape', 'flat', [x, wanted])]);
  x = net.relu(net.gemm(x, 'fc6', [64, 288]));
  x = net.relu(net.gemm(net.node('Dropout', 'drop6', [x]), 'fc7', [48, 64]));
  net.gemm(x, 'fc8', [10, 48]);
  return {
    spec: net.spec('fc8'),
    size: 131,
    layer: 'conv5_relu',
    targets: ['fc6_relu', 'fc7_relu'],
    output: 'fc8',
  };
}

/** 3 x 3 convolutions, Gemm with alpha and beta, MatMul + Add, transposed weights, Softmax. */
export function vgg(): GeneratedModel {
  const net = new NetBuilder({ size: 32, opset: 13, seed: 12 });
  const same = { pads: [1, 1, 1, 1] };
  let x = net.relu(net.conv('image', 'conv1', [16, 3, 3], same));
  x = net.maxPool(net.relu(net.conv(x, 'conv2', [16, 16, 3], same)), 'pool2', 2);
  x = net.maxPool(net.relu(net.conv(x, 'conv3', [24, 16, 3], same)), 'pool3', 2);
  x = net.relu(net.conv(x, 'conv4', [32, 24, 3], same));
  x = net.maxPool(net.relu(net.conv(x, 'conv5', [40, 32, 3], same)), 'pool5', 2);
  x = net.node('Reshape', 'flat', [x, net.ints('flat.shape', [-1, 640])]);
  x = net.relu(net.gemm(x, 'fc6', [64, 640], { alpha: 0.5, beta: { float: 2 } }));
  const w = net.node(
    'Transpose',
    'fc7.wt',
    [net.weight('fc7.w', [48, 64], () => net.normal() / 6)],
    { perm: [1, 0] },
  );
  const product = net.node('MatMul', 'fc7.product', [x, w]);
  x = net.relu(net.node('Add', 'fc7', [product, net.weight('fc7.b', [48])]));
  x = net.node('Gemm', 'fc8', [x, net.weight('fc8.w', [48, 12], () => net.normal() / 6)]);
  net.node('Softmax', 'probability', [x]);
  return {
    spec: net.spec('probability'),
    size: 32,
    layer: 'conv5_relu',
    targets: ['fc6_relu', 'fc7_relu'],
    output: 'probability',
  };
}

/** Fire modules, pooling in ceil mode, a convolution as classifier, global average pooling. */
export function squeezeNet(): GeneratedModel {
  const net = new NetBuilder({ size: 70, opset: 7, seed: 13 });
  const fire = (x: string, name: string, C: number, squeeze: number, expand: number): string => {
    const s = net.relu(net.conv(x, `${name}_squeeze`, [squeeze, C, 1]));
    const a = net.relu(net.conv(s, `${name}_a`, [expand, squeeze, 1]));
    const b = net.relu(net.conv(s, `${name}_b`, [expand, squeeze, 3], { pads: [1, 1, 1, 1] }));
    return net.node('Concat', `${name}_concat`, [a, b], { axis: 1 });
  };
  let x = net.relu(net.conv('image', 'conv1', [16, 3, 3], { strides: [2, 2] }));
  x = net.maxPool(x, 'pool1', 3, { pads: [0, 0, 1, 1] });
  x = fire(x, 'fire2', 16, 8, 16);
  x = fire(net.maxPool(x, 'pool2', 3, { pads: [0, 0, 1, 1] }), 'fire3', 32, 8, 20);
  x = fire(x, 'fire4', 40, 12, 20);
  x = net.relu(net.conv(net.node('Dropout', 'drop9', [x]), 'conv10', [20, 40, 1]));
  x = net.node('GlobalAveragePool', 'pool10', [x]);
  net.node('Softmax', 'probability', [net.node('Flatten', 'flat', [x])]);
  return {
    spec: net.spec('probability'),
    size: 70,
    layer: 'conv10_relu',
    targets: ['flat'],
    output: 'probability',
  };
}

/** Batch normalization after and before convolutions, residual sums, a strided first layer. */
export function resNet(): GeneratedModel {
  const net = new NetBuilder({ size: 64, opset: 17, seed: 14, batch: 1 });
  const unit = (
    x: string,
    name: string,
    O: number,
    C: number,
    k: number,
    stride: number,
  ): string => {
    const pad = (k - 1) / 2;
    const attributes = { strides: [stride, stride], pads: [pad, pad, pad, pad] };
    return net.batchNorm(net.conv(x, name, [O, C, k], attributes, false), `${name}_bn`, O);
  };
  const block = (x: string, name: string, O: number, C: number, stride: number): string => {
    const a = net.relu(unit(x, `${name}_a`, O, C, 3, stride));
    const b = unit(a, `${name}_b`, O, O, 3, 1);
    const way = O === C ? x : unit(x, `${name}_way`, O, C, 1, stride);
    return net.relu(net.node('Add', name, [b, way]));
  };
  let x = net.relu(unit('image', 'conv1', 16, 3, 7, 2));
  x = net.maxPool(x, 'pool1', 3, { pads: [1, 1, 1, 1] });
  x = block(block(x, 'block1', 16, 16, 1), 'block2', 32, 16, 2);
  x = net.relu(net.batchNorm(x, 'post_bn', 32));
  x = net.node('GlobalAveragePool', 'pooled', [x]);
  net.gemm(net.node('Flatten', 'flat', [x], { axis: 1 }), 'logits', [10, 32]);
  return {
    spec: net.spec('logits'),
    size: 64,
    layer: 'post_bn_relu',
    targets: ['flat'],
    output: 'logits',
  };
}

/** Conv, pooling, fully connected: the smallest model that can be explained; to be broken in tests. */
export function smallNet(options: Partial<NetOptions> = {}): NetBuilder {
  const net = new NetBuilder({ size: 8, seed: 15, ...options });
  const x = net.relu(net.conv('image', 'conv', [4, 3, 3], { pads: [1, 1, 1, 1] }));
  const flat = net.node('Flatten', 'flat', [net.maxPool(x, 'pool', 2)]);
  net.gemm(net.relu(net.gemm(flat, 'fc', [6, 64])), 'logits', [5, 6]);
  return net;
}

/** The bytes of `smallNet`. */
export function smallModel(options: Partial<NetOptions> = {}): Uint8Array {
  return encodeModel(smallNet(options).spec('logits'));
}
