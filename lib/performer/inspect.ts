import { bridge } from './cut.js';
import { featureInfo, layerInfo, type FeatureInfo, type LayerInfo } from './layer_info.js';
import { lowerModel } from './lower.js';
import { elements, isMaps, type NetValue, type Network } from './network.js';
import { readOnnx } from './onnx_read.js';
import {
  completePreprocessing,
  parsePreprocessing,
  readSidecar,
  type Preprocessing,
  type Sidecar,
} from './preprocessing.js';
import { explainableLayers, mapsProblem, propose } from './propose.js';

/** A layer with the features that can be rebuilt from it. */
export interface ExplainableLayer extends LayerInfo {
  targets: FeatureInfo[];
}

/** What `inspectModel` finds in a model. */
export interface Inspection {
  path: string;
  opset: number;
  /** sha256 (hex) of the model with its external data. */
  fingerprint: string;
  /** Pixels. */
  input: { name: string; channels: number; height: number; width: number };
  outputs: { name: string; size: number }[];
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

/**
 * Lists every layer of an ONNX model that can be explained (square maps of at least 4 x 4 cells, one
 * max pooling at most before the fully connected layers), the features that can be rebuilt from it,
 * and the default choice. `preprocessing` as in `loadPerformer`. Throws `E_ONNX`, `E_FILE`.
 */
export async function inspectModel(
  path: string,
  options: { preprocessing?: Partial<Preprocessing> } = {},
): Promise<Inspection> {
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const network = lowerModel(model, size === undefined ? {} : { size });
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const found = explainableLayers(network);
  const proposal = propose(network);
  return {
    path,
    opset: network.opset,
    fingerprint: network.fingerprint,
    input: { name: network.input.name, channels, height, width },
    outputs: network.outputs.map((value) => ({ name: value.name, size: elements(value) })),
    layers: found.map(({ layer, found: features }) => ({
      ...layerInfo(layer),
      targets: features.map(({ value }) => featureInfo(value)),
    })),
    others: otherMaps(network, new Set(found.map(({ layer }) => layer))),
    proposal: proposal && {
      layer: proposal.layer.name,
      targets: proposal.targets.map(({ name }) => name),
      reason: proposal.reason,
    },
    preprocessing: preprocessingOf(sidecar, given, height),
    classes: sidecar.classes,
  };
}

function otherMaps(network: Network, explainable: ReadonlySet<NetValue>): Inspection['others'] {
  const [output = network.input] = network.outputs;
  return network.values
    .filter((value) => isMaps(value) && !explainable.has(value))
    .map((value) => {
      const way = bridge(network, value, output);
      const blocked = typeof way === 'string' ? way : 'no feature vector follows it';
      return { name: value.name, shape: value.shape, reason: mapsProblem(value) ?? blocked };
    });
}

function preprocessingOf(
  sidecar: Sidecar,
  given: Partial<Preprocessing>,
  size: number,
): Inspection['preprocessing'] {
  try {
    return completePreprocessing(sidecar, given, size);
  } catch (error) {
    return { missing: error instanceof Error ? error.message : String(error) };
  }
}
