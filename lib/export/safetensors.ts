import { writeSafetensors } from '../data/safetensors.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { metadataOf } from './onnx.js';

/**
 * Writes the explainer's parameters and running means as a safetensors file, float32, with the names
 * and shapes that `docs/export.md` lists; the metadata tell the rest of the network. Throws `E_FILE`.
 */
export async function exportSafetensors(
  explainer: TrainedExplainer,
  path: string,
): Promise<{ path: string; tensors: number }> {
  const tensors = await explainer.parameters();
  await writeSafetensors(path, tensors, metadataOf(explainer));
  return { path, tensors: Object.keys(tensors).length };
}
