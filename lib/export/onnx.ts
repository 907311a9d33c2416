import { writeFileAtomic } from '../data/atomic.js';
import { expected } from '../errors.js';
import { pooledSize } from '../explainer/network_spec.js';
import { codeChannels } from '../explainer/appearance.js';
import { networkSpec } from '../explainer/run_folder.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { addPerformer, encodeModel, OnnxBuilder, type ValueSpec } from '../performer/index.js';
import { sizeOf } from '../engine/tensor.js';
import { VERSION } from '../version.js';
import { addDecoder, addEncoder, addPartMaps } from './onnx_explainer.js';

/** ONNX opset of what is written. */
export const OPSET = 17;

/** Protobuf ends at 2^31 bytes; names and nodes need some of them. */
const MAX_BYTES = 2 ** 31 - 2 ** 24;

export interface ExportedModel {
  path: string;
  bytes: number;
  inputs: ValueSpec[];
  outputs: ValueSpec[];
}

export interface ExportOnnxOptions {
  /** From the image to the part maps, instead of from the layer's maps to the rebuilt features. */
  fused?: boolean | undefined;
}

/**
 * Writes the explainer as an ONNX file (opset 17, float32, open batch dimension N):
 *
 * - by default from the performer's maps `features` (N, C, n, m) to `part_maps_1`, `part_maps_2`,
 *   `masked_maps` (N, D, n, m), `x_enc` (N, E, q, r), with E as `codeChannels` says, and `rebuilt_maps`
 *   (N, S, q, r), which the performer's later layers read, or with the decoder `learned` `rebuilt_1` ... (N, size);
 * - fused, from `image` (N, 3, H, W), preprocessed as the performer wants it, to the three maps.
 *
 * `docs/export.md` tells what they hold. Throws `E_ARGUMENT` for a model that protobuf cannot hold,
 * `E_FILE`, and for a fused one `E_STATE` when the performer's file has changed.
 */
export async function exportOnnx(
  explainer: TrainedExplainer,
  path: string,
  { fused = false }: ExportOnnxOptions = {},
): Promise<ExportedModel> {
  const { performer, config } = explainer;
  const { channels, height, width, filters, site } = config.network;
  const builder = new OnnxBuilder();
  const tensors = await explainer.parameters();
  const { input } = performer;
  const given: ValueSpec = fused
    ? { name: 'image', dims: ['N', input.channels, input.height, input.width] }
    : { name: 'features', dims: ['N', channels, height, width] };
  const layer = fused ? await addPerformer(builder, performer, given.name) : given.name;
  const source = { builder, config, tensors };
  const maps = addPartMaps(source, layer);
  const outputs: ValueSpec[] = [maps.layer1, maps.layer2, maps.masked].map((name) => ({
    name,
    dims: ['N', filters, height, width],
  }));
  if (!fused) {
    const pooled = pooledSize(networkSpec(config));
    const encoding = addEncoder(source, maps, explainer.p);
    const channels = codeChannels(networkSpec(config), config.options);
    outputs.push({ name: encoding, dims: ['N', channels, ...pooled] });
    addDecoder(source, encoding).forEach((name, l) => {
      const size = config.network.targets[l]?.size ?? 0;
      outputs.push({ name, dims: site ? ['N', site.channels, ...pooled] : ['N', size] });
    });
  }
  checkSize(builder, path);
  const bytes = encodeModel({
    opset: OPSET,
    graphName: fused ? 'part_maps' : 'explainer',
    inputs: [given],
    outputs,
    nodes: builder.nodes,
    initializers: builder.initializers,
    metadata: metadataOf(explainer),
  });
  await writeFileAtomic(path, bytes);
  return { path, bytes: bytes.length, inputs: [given], outputs };
}

/** What a reader of an exported file needs to know, as strings. */
export function metadataOf({
  config,
  performer,
  p,
  step,
}: TrainedExplainer): Record<string, string> {
  const { layer, targets, preprocessing, fingerprint } = performer;
  return {
    partlens: VERSION,
    performer: fingerprint,
    layer: layer.name,
    targets: JSON.stringify(targets.map(({ name }) => name)),
    preprocessing: JSON.stringify(preprocessing),
    geometry: JSON.stringify(layer.geometry),
    network: JSON.stringify(config.network),
    options: JSON.stringify(config.options),
    p: String(p),
    step: String(step),
  };
}

function checkSize({ initializers }: OnnxBuilder, path: string): void {
  const bytes = Object.values(initializers).reduce((sum, { dims }) => sum + 4 * sizeOf(dims), 0);
  if (bytes <= MAX_BYTES) return;
  throw expected('weights of fewer than 2^31 bytes', path, bytes, {
    op: 'export',
    remedy: 'Protobuf ends there: take the format safetensors.',
  });
}
