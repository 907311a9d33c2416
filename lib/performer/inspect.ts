import { show } from '../errors.js';
import { featureInfo, layerInfo, type FeatureInfo, type LayerInfo } from './layer_info.js';
import { lowerModel } from './lower.js';
import { elements, isMaps, type NetValue, type Network } from './network.js';
import { readOnnx } from './onnx_read.js';
import {
  completePreprocessing,
  parsePreprocessing,
  readSidecar,
  type ModelInput,
  type Preprocessing,
  type Sidecar,
} from './preprocessing.js';
import { explainableLayers, mapsProblem, propose, proposeTargets } from './propose.js';
import { bypassOf, costOfWay, siteOf, sources } from './tail.js';

/** A layer that can be explained, what is rebuilt from it by default, and what it costs. */
export interface ExplainableLayer extends LayerInfo {
  targets: FeatureInfo[];
  /** Values that bypass it: taken from the photograph as they are. */
  bypass: FeatureInfo[];
  cost: {
    /** Weights of the decoder: as many as this for each filter, and as many more once. */
    decoderWeights: number;
    /** Bytes of stored features for each photograph (twice that with mirrored copies). */
    bytesPerPhotograph: number;
    /** Multiply-adds of the performer's later layers for one image. */
    laterLayers: number;
  };
}

/** What `inspectModel` finds in a model. */
export interface Inspection {
  path: string;
  opset: number;
  /** sha256 (hex) of the model with its external data. */
  fingerprint: string;
  /** Pixels. */
  input: { name: string; channels: number; height: number; width: number };
  /** Those of the model; the layers below are those of the first, or of the one that was named. */
  outputs: { name: string; size: number }[];
  /** The output that the layers lead to. */
  output: string;
  /** In the order of the network; rectified ones are to be preferred. */
  layers: ExplainableLayer[];
  /** Other maps, and why they cannot be explained. */
  others: { name: string; shape: readonly number[]; reason: string }[];
  /** The default of `loadPerformer`, with the reason; undefined when no layer can be explained. */
  proposal: { layer: string; targets: string[]; reason: string } | undefined;
  /** How images are prepared, or what is missing to know it. */
  preprocessing: Preprocessing | { missing: string };
  classes: readonly string[] | undefined;
}

export interface InspectOptions {
  preprocessing?: Partial<Preprocessing>;
  /** The output that the layers lead to, default the model's first. */
  output?: string;
}

/**
 * Lists every layer of an ONNX model that can be explained (maps of at least 4 x 4 cells that the output
 * depends on), what is rebuilt from it by default and what it costs, and the default choice.
 * `preprocessing` as in `loadPerformer`. Throws `E_ONNX`, `E_FILE`, `E_ARGUMENT` for an unknown output.
 */
export async function inspectModel(
  path: string,
  options: InspectOptions = {},
): Promise<Inspection> {
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const wanted = options.output === undefined ? {} : { wanted: [options.output] };
  const network = lowerModel(model, { ...wanted, ...(size === undefined ? {} : { size }) });
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const [output = network.input] = network.outputs;
  const layers = explainableLayers(network, output);
  const proposal = propose(network, output);
  return {
    path,
    opset: network.opset,
    fingerprint: network.fingerprint,
    input: { name: network.input.name, channels, height, width },
    outputs: network.outputs.map((value) => ({ name: value.name, size: elements(value) })),
    output: output.name,
    layers: layers.map((layer) => describeLayer(network, layer, output)),
    others: otherMaps(network, new Set(layers), output),
    proposal: proposal && {
      layer: proposal.layer.name,
      targets: proposal.targets.map(({ name }) => name),
      reason: proposal.reason,
    },
    preprocessing: preprocessingOf(sidecar, given, {
      channels,
      height,
      width,
      bytes: network.bytes,
    }),
    classes: sidecar.classes,
  };
}

function describeLayer(network: Network, layer: NetValue, output: NetValue): ExplainableLayer {
  const { value: site } = siteOf(network, layer);
  const targets = proposeTargets(network, layer, output);
  const bypass = bypassOf(network, site, [...targets, output]);
  const stored = [layer, output, ...targets, ...bypass];
  return {
    ...layerInfo(layer),
    targets: targets.map(featureInfo),
    bypass: bypass.map(featureInfo),
    cost: {
      decoderWeights: site.shape[0] ?? 1,
      bytesPerPhotograph: 4 * stored.reduce((sum, value) => sum + elements(value), 0),
      laterLayers: costOfWay(network, site, [output]),
    },
  };
}

function otherMaps(
  network: Network,
  explainable: ReadonlySet<NetValue>,
  output: NetValue,
): Inspection['others'] {
  const used = sources(network, [output]);
  return network.values
    .filter((value) => isMaps(value) && !explainable.has(value))
    .map((value) => {
      const unused = used.has(value)
        ? 'it is the output itself'
        : `${show(output.name)} does not depend on it`;
      return { name: value.name, shape: value.shape, reason: mapsProblem(value) ?? unused };
    });
}

function preprocessingOf(
  sidecar: Sidecar,
  given: Partial<Preprocessing>,
  input: ModelInput,
): Inspection['preprocessing'] {
  try {
    return completePreprocessing(sidecar, given, input);
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}
