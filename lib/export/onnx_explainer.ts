import type { TensorToStore } from '../data/safetensors.js';
import { PartlensError } from '../errors.js';
import { pooledSize } from '../explainer/network.js';
import { networkSpec, type RunConfig } from '../explainer/run_folder.js';
import { poolAttributes, type OnnxBuilder } from '../performer/index.js';

/** What the explainer's part of a graph is made of. */
export interface OnnxSource {
  builder: OnnxBuilder;
  config: RunConfig;
  /** Parameters and running means by name. */
  tensors: Readonly<Record<string, TensorToStore>>;
}

/** Names of the values behind the interpretable layers. */
export interface PartMapNames {
  /** The performer's maps over their training mean. */
  scaled: string;
  layer1: string;
  layer2: string;
  masked: string;
}

/** Scale of the features and both interpretable layers with their masks. */
export function addPartMaps(source: OnnxSource, features: string): PartMapNames {
  const { builder, config } = source;
  const { network, options } = config;
  const factor = builder.weight('feature_scale', [], Float32Array.of(network.featureScale));
  const scaled = builder.node('Mul', 'scaled_features', [features, factor]);
  const mask = (x: string, name: string): string =>
    options.mask ? addMask(source, x, name) : builder.node('Identity', name, [x]);
  const layer1 = addConvolution(source, scaled, 'conv_interp_1', 'part_maps_1');
  const masked1 = mask(layer1, 'masked_maps_1');
  const layer2 = addConvolution(source, masked1, 'conv_interp_2', 'part_maps_2');
  return { scaled, layer1, layer2, masked: mask(layer2, 'masked_maps') };
}

/** Pooling, norm layers, ordinary track and mix: `x_enc`. */
export function addEncoder(
  source: OnnxSource,
  { scaled, masked }: PartMapNames,
  p: number,
): string {
  const { builder } = source;
  const track = (x: string, name: string, share: number): string => {
    const weight = builder.weight(`${name}.share`, [], Float32Array.of(share));
    return builder.node('Mul', `${name}.mixed`, [addNorm(source, x, name), weight]);
  };
  const ordinary = addConvolution(source, scaled, 'conv_ordin', 'ordinary_maps');
  const tracks = [track(masked, 'norm_interp', p), track(ordinary, 'norm_ordin', 1 - p)];
  return builder.node('Add', 'x_enc', tracks);
}

/**
 * What the decoder rebuilds: `rebuilt_maps`, which the performer's later layers read, or with the decoder
 * `learned` the fully connected layers `rebuilt_1` ...
 */
export function addDecoder(source: OnnxSource, encoding: string): string[] {
  const { site } = source.config.network;
  return site ? [addRebuiltMaps(source, encoding, site.relu)] : addRebuiltVectors(source, encoding);
}

function addRebuiltMaps(source: OnnxSource, encoding: string, relu: boolean): string {
  const { builder, config } = source;
  const { decoderKernel: k } = config.options;
  const pad = (k - 1) / 2;
  const attributes = { kernel_shape: [k, k], pads: [pad, pad, pad, pad] };
  const z = builder.node(
    'Conv',
    'conv_dec',
    [encoding, ...weights(source, 'conv_dec')],
    attributes,
  );
  const scaled = relu ? builder.node('Relu', 'conv_dec.relu', [z]) : z;
  const unit = builder.weight(
    'conv_dec.unit',
    [],
    Float32Array.of(1 / config.network.featureScale),
  );
  return builder.node('Mul', 'rebuilt_maps', [scaled, unit]);
}

function addRebuiltVectors({ builder, config, tensors }: OnnxSource, encoding: string): string[] {
  let x = builder.node('Flatten', 'x_enc.rows', [encoding], { axis: 1 });
  return config.network.targets.map(({ relu }, l) => {
    const [layer, output] = [`fc_dec_${String(l + 1)}`, `rebuilt_${String(l + 1)}`];
    const inputs = [x, ...weights({ builder, tensors }, layer)];
    const z = builder.node('Gemm', relu ? layer : output, inputs, { transB: 1 });
    x = relu ? builder.node('Relu', output, [z]) : z;
    return x;
  });
}

/** relu(conv(x)) with the side kept. */
function addConvolution(source: OnnxSource, x: string, layer: string, output: string): string {
  const { builder, config } = source;
  const { kernel } = config.options;
  const pad = (kernel - 1) / 2;
  const attributes = { kernel_shape: [kernel, kernel], pads: [pad, pad, pad, pad] };
  const z = builder.node('Conv', layer, [x, ...weights(source, layer)], attributes);
  return builder.node('Relu', output, [z]);
}

/**
 * y = x * max(1 - beta (|i - mu_i| + |j - mu_j|) / s, 0), mu = argmax x, s the root of n m: ArgMax over the
 * flattened map (of equals the first), its row and column by division, and for each a row of a table
 * t[m][i] = 1/2 - beta |i - m| / s by Gather. The two rows added as column and row are the mask before max.
 */
function addMask({ builder, config }: OnnxSource, x: string, name: string): string {
  const { height, width } = config.network;
  const slope = config.options.beta / Math.sqrt(height * width);
  const columns = builder.ints(`${name}.width`, width);
  const shape = builder.ints(`${name}.shape`, [0, 0, -1]);
  const cells = builder.node('Reshape', `${name}.cells`, [x, shape]);
  const peak = builder.node('ArgMax', `${name}.peak`, [cells], { axis: 2, keepdims: 0 });
  const along = (opType: 'Div' | 'Mod', n: number, axis: number): string => {
    const table = builder.weight(
      `${name}.${opType}.table`,
      [n, n],
      Float32Array.from({ length: n * n }, (_, at) => {
        return 0.5 - slope * Math.abs((at % n) - Math.floor(at / n));
      }),
    );
    const index = builder.node(opType, `${name}.${opType}`, [peak, columns]);
    const row = builder.node('Gather', `${name}.${opType}.row`, [table, index], { axis: 0 });
    const axes = builder.ints(`${name}.${opType}.axes`, [axis]);
    return builder.node('Unsqueeze', `${name}.${opType}.line`, [row, axes]);
  };
  const inputs = [along('Div', height, 3), along('Mod', width, 2)];
  const sum = builder.node('Add', `${name}.slope`, inputs);
  return builder.node('Mul', name, [x, builder.node('Relu', `${name}.mask`, [sum])]);
}

/** Pooling and norm layer: x_k * sqrt(positions) / max(alpha_k, floor * mean alpha). */
function addNorm({ builder, config, tensors }: OnnxSource, x: string, name: string): string {
  const { network, options } = config;
  const { pool } = network;
  const pooled = pool ? builder.node('MaxPool', `${name}.pooled`, [x], poolAttributes(pool)) : x;
  const alpha = data(tensors, `${name}.alpha`);
  const floor = (options.normFloor * alpha.reduce((sum, a) => sum + a, 0)) / alpha.length;
  const [q, r] = pooledSize(networkSpec(config));
  const scale = Math.sqrt(q * r);
  const factor = alpha.map((a) => {
    const strength = Math.max(a, floor);
    return strength > 0 ? scale / strength : 0;
  });
  const weight = builder.weight(`${name}.factor`, [1, factor.length, 1, 1], factor);
  return builder.node('Mul', name, [pooled, weight]);
}

/** Weight and bias of a layer as initializers. */
function weights({ builder, tensors }: Omit<OnnxSource, 'config'>, layer: string): string[] {
  return ['weight', 'bias'].map((kind) => {
    const name = `${layer}.${kind}`;
    return builder.weight(name, tensors[name]?.shape ?? [], data(tensors, name));
  });
}

function data(tensors: OnnxSource['tensors'], name: string): Float32Array {
  const found = tensors[name]?.data;
  if (found instanceof Float32Array) return found;
  throw new PartlensError('E_INTERNAL', `The explainer has no ${name}.`);
}
