import type { TensorToStore } from '../data/safetensors.js';
import { PartlensError } from '../errors.js';
import { pooledSize } from '../explainer/network_spec.js';
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
  const normed = options.imageNorm ? addImageNorm(source, scaled, options.imageNorm) : scaled;
  const seen = options.contextChannels
    ? builder.node('Conv', 'conv_interp_0', [
        normed,
        ...weights(source, 'conv_interp_0', ['weight']),
      ])
    : normed;
  const { context } = options;
  const layer1 = addConvolution(
    source,
    seen,
    { layer: 'conv_interp_1', side: context },
    'part_maps_1',
  );
  const masked1 = mask(layer1, 'masked_maps_1');
  const layer2 = addConvolution(source, masked1, { layer: 'conv_interp_2' }, 'part_maps_2');
  return { scaled, layer1, layer2, masked: mask(layer2, 'masked_maps') };
}

/** Pooling, norm layers, ordinary track, with appearance the gated code, and mix: `x_enc`. */
export function addEncoder(source: OnnxSource, maps: PartMapNames, p: number): string {
  const { builder, config } = source;
  const weighted = (x: string, share: number): string => {
    const weight = builder.weight(`${x}.share`, [], Float32Array.of(share));
    return builder.node('Mul', `${x}.mixed`, [x, weight]);
  };
  const interp = weighted(
    addNorm(source, addPool(source, maps.masked, 'norm_interp'), 'norm_interp'),
    p,
  );
  if (!config.options.appearance) {
    const ordinary = addConvolution(source, maps.scaled, { layer: 'conv_ordin' }, 'ordinary_maps');
    const ordin = addNorm(source, addPool(source, ordinary, 'norm_ordin'), 'norm_ordin');
    return builder.node('Add', 'x_enc', [interp, weighted(ordin, 1 - p)]);
  }
  const site = addPool(source, maps.scaled, 'site');
  const code = builder.node('Conv', 'conv_code', [
    site,
    ...weights(source, 'conv_code', ['weight']),
  ]);
  const gated = builder.node('Mul', 'gated_code', [code, addGates(source, maps.layer2)]);
  const tracks = [interp, weighted(gated, p)];
  if (config.options.ordinaryChannels > 0) {
    const inputs = [site, ...weights(source, 'conv_ordin', ['weight'])];
    tracks.push(weighted(builder.node('Conv', 'ordinary_code', inputs), 1 - p));
  }
  return builder.node('Concat', 'x_enc', tracks, { axis: 1 });
}

/** Features of each image over the root of their mean square, times `target`. */
function addImageNorm({ builder }: OnnxSource, x: string, target: number): string {
  const squares = builder.node('Mul', 'image_norm.squares', [x, x]);
  const mean = builder.node('ReduceMean', 'image_norm.mean', [squares], { axes: [1, 2, 3] });
  const least = builder.weight('image_norm.least', [], Float32Array.of(1e-12));
  const root = builder.node('Sqrt', 'image_norm.root', [mean]);
  const norm = builder.node('Max', 'image_norm.norm', [root, least]);
  const factor = builder.weight('image_norm.target', [], Float32Array.of(target));
  const scaled = builder.node('Mul', 'image_norm.scaled', [x, factor]);
  return builder.node('Div', 'image_norm', [scaled, norm]);
}

/**
 * G = S / (S + floor^t), S = sum_d max(s_d cone_d, 1e-6)^t behind the pooling: where some part is, 0..1.
 * s_d is the peak of the map over its usual height, cone_d = max(1 - (|i - mu_i| + |j - mu_j|) / radius, 0).
 */
function addGates(source: OnnxSource, layer2: string): string {
  const { builder, config, tensors } = source;
  const { gatePower, gateFloor, gateRadius = 9 } = config.options;
  const peak = builder.node('ReduceMax', 'gate.peak', [layer2], { axes: [2, 3] });
  const factor = normFactors(source, data(tensors, 'gate.peak'), 1);
  const usual = builder.weight('gate.factor', [1, factor.length, 1, 1], factor);
  const strength = builder.node('Mul', 'gate.strength', [peak, usual]);
  const cone = addCone(source, layer2, { name: 'gate', slope: 1 / gateRadius });
  const constant = (name: string, value: number): string =>
    builder.weight(`gate.${name}`, [], Float32Array.of(value));
  const open = builder.node('Mul', 'gate.open', [strength, cone]);
  const least = builder.node('Max', 'gate.bounded', [open, constant('least', 1e-6)]);
  const powers = builder.node('Pow', 'gate.powers', [least, constant('power', gatePower)]);
  const sum = builder.node('ReduceSum', 'gate.sum', [powers, builder.ints('gate.filters', [1])]);
  const all = builder.node('Add', 'gate.all', [sum, constant('nobody', gateFloor ** gatePower)]);
  return addPool(source, builder.node('Div', 'gate.share', [sum, all]), 'gate');
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
function addConvolution(
  source: OnnxSource,
  x: string,
  { layer, side }: { layer: string; side?: number | undefined },
  output: string,
): string {
  const { builder, config } = source;
  const k = side ?? config.options.kernel;
  const pad = (k - 1) / 2;
  const attributes = { kernel_shape: [k, k], pads: [pad, pad, pad, pad] };
  const z = builder.node('Conv', layer, [x, ...weights(source, layer)], attributes);
  return builder.node('Relu', output, [z]);
}

/** y = x * max(1 - beta (|i - mu_i| + |j - mu_j|) / s, 0), mu = argmax x, s the root of n m. */
function addMask(source: OnnxSource, x: string, name: string): string {
  const { height, width } = source.config.network;
  const slope = source.config.options.beta / Math.sqrt(height * width);
  return source.builder.node('Mul', name, [x, addCone(source, x, { name, slope })]);
}

/**
 * max(1 - slope (|i - mu_i| + |j - mu_j|), 0), mu = argmax x: ArgMax over the flattened map (of equals the
 * first), its row and column by division, and for each a row of a table t[m][i] = 1/2 - slope |i - m| by
 * Gather. The two rows added as column and row are the cone before max.
 */
function addCone(
  { builder, config }: OnnxSource,
  x: string,
  { name, slope }: { name: string; slope: number },
): string {
  const { height, width } = config.network;
  const columns = builder.ints(`${name}.width`, width);
  const shape = builder.ints(`${name}.shape`, [0, 0, -1]);
  const cells = builder.node('Reshape', `${name}.cells`, [x, shape]);
  const peak = builder.node('ArgMax', `${name}.argmax`, [cells], { axis: 2, keepdims: 0 });
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
  const sum = builder.node('Add', `${name}.slope`, [
    along('Div', height, 3),
    along('Mod', width, 2),
  ]);
  return builder.node('Relu', `${name}.mask`, [sum]);
}

/** The performer's pooling between the layer and what is rebuilt, where there is one. */
function addPool({ builder, config }: OnnxSource, x: string, name: string): string {
  const { pool } = config.network;
  return pool ? builder.node('MaxPool', `${name}.pooled`, [x], poolAttributes(pool)) : x;
}

/** Norm layer: x_k * sqrt(positions) / max(alpha_k, floor * mean alpha). */
function addNorm(source: OnnxSource, x: string, name: string): string {
  const { builder, config, tensors } = source;
  const [q, r] = pooledSize(networkSpec(config));
  const factor = normFactors(source, data(tensors, `${name}.alpha`), Math.sqrt(q * r));
  const weight = builder.weight(`${name}.factor`, [1, factor.length, 1, 1], factor);
  return builder.node('Mul', name, [x, weight]);
}

function normFactors({ config }: OnnxSource, alpha: Float32Array, scale: number): Float32Array {
  const mean = alpha.reduce((sum, a) => sum + a, 0) / alpha.length;
  return alpha.map((a) => {
    const strength = Math.max(a, config.options.normFloor * mean);
    return strength > 0 ? scale / strength : 0;
  });
}

/** Weight and bias of a layer as initializers. */
function weights(
  { builder, tensors }: Omit<OnnxSource, 'config'>,
  layer: string,
  kinds: readonly string[] = ['weight', 'bias'],
): string[] {
  return kinds.map((kind) => {
    const name = `${layer}.${kind}`;
    return builder.weight(name, tensors[name]?.shape ?? [], data(tensors, name));
  });
}

function data(tensors: OnnxSource['tensors'], name: string): Float32Array {
  const found = tensors[name]?.data;
  if (found instanceof Float32Array) return found;
  throw new PartlensError('E_INTERNAL', `The explainer has no ${name}.`);
}
