import { show, withMemoryErrors } from '../errors.js';
import { featureInfo, layerInfo, type FeatureInfo, type LayerInfo } from './layer_info.js';
import { elements, isMaps, type NetValue, type Network } from './network.js';
import type { OnnxModel } from './onnx_model.js';
import { readOnnx } from './onnx_read.js';
import { tryOutputs, type UnreadableOutput } from './outputs.js';
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
import {
  requireRuntime,
  withRuntime,
  type RuntimeChoice,
  type RuntimeUse,
} from './with_runtime.js';

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
  /** What computes it, and why. */
  runtime: RuntimeUse;
  /** What a user should know of how the file is read, in sentences. */
  notes: readonly string[];
  /** Those that can be read; the layers below are those of the first, or of the one that was named. */
  outputs: FeatureInfo[];
  /** Outputs that are left out, and why. */
  unreadable: UnreadableOutput[];
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
  /** The output that the layers lead to, or any other value; default the first that can be read. */
  output?: string;
  /** What computes it, see `loadPerformer`. */
  runtime?: RuntimeChoice | undefined;
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
  return withMemoryErrors('inspect', () => inspect(path, options));
}

async function inspect(path: string, options: InspectOptions): Promise<Inspection> {
  requireRuntime(options.runtime ?? 'auto', 'inspect');
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const { network, outputs, runtime, unreadable } = await openNetwork(model, options, size);
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const [output = network.input] = network.outputs;
  const layers = explainableLayers(network, output);
  const proposal = propose(network, output);
  return {
    path,
    opset: network.opset,
    fingerprint: network.fingerprint,
    input: { name: network.input.name, channels, height, width },
    runtime,
    notes: model.notes,
    outputs: outputs.map(featureInfo),
    unreadable,
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

interface Opened {
  /** Before the first output. */
  network: Network;
  outputs: readonly NetValue[];
  runtime: RuntimeUse;
  unreadable: UnreadableOutput[];
}

/**
 * The network before the outputs to look at: those that partlens can read; where it can read none, all of
 * them by onnxruntime, or else the values that stand in for them.
 */
async function openNetwork(
  model: OnnxModel,
  { output, runtime = 'auto' }: InspectOptions,
  size: Preprocessing['size'] | undefined,
): Promise<Opened> {
  const open = async (
    names: readonly string[],
    unreadable: UnreadableOutput[] = [],
  ): Promise<Opened> => {
    const asked = { runtime, names, size };
    const { result, host, ...read } = await withRuntime(model, asked, (lower) => {
      // What leads to one output is read alone, as `loadPerformer` reads it.
      const network = lower(names.slice(0, 1));
      return { network, outputs: names.length > 1 ? lower(names).outputs : network.outputs };
    });
    host?.dispose();
    return { ...result, runtime: read.runtime, unreadable };
  };
  if (output !== undefined) return open([output]);
  if (runtime === 'onnxruntime') return open(model.outputs);
  const { readable = [], unreadable = [] } = tryOutputs(model, size) ?? {};
  if (readable.length > 0) return open(readable, unreadable);
  const [first] = unreadable.filter(({ instead }) => instead !== undefined);
  if (!first || (runtime === 'auto' && !first.isIndex)) {
    try {
      return await open(model.outputs);
    } catch (error) {
      if (!first) throw error;
    }
  }
  return open([first.instead ?? first.name], unreadable);
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
    .filter((value) => isMaps(value) && value.axes !== undefined && !explainable.has(value))
    .map((value) => {
      const unused = used.has(value)
        ? 'it is the output itself'
        : `${show(output.name)} does not depend on it`;
      return {
        name: value.name,
        shape: value.shape,
        reason: mapsProblem(network, value) ?? unused,
      };
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
