import type { OnnxModel } from '../onnx_model.js';
import { activations } from './activations.js';
import { norms } from './norms.js';
import { quantised } from './quantised.js';
import { vendor } from './vendor.js';
import { GraphView, type Replacements } from './view.js';
import { windowMeans } from './window_mean.js';

/**
 * Makes the spellings of one thing the same: vendors' nodes, quantised activations, and activations
 * and normalisations that exporters write out become single nodes. A single node takes the place of
 * the last node of its pattern and keeps that one's name and output; the others stay for whoever else
 * reads them or asks for them by name.
 */
export function normalise(model: OnnxModel): OnnxModel {
  let result = replaced(model, vendor(model.nodes));
  const dequantised = quantised(new GraphView(result), result.nodes);
  if (dequantised.size > 0) {
    const many = dequantised.size > 1 ? 's are' : ' is';
    const count = `${String(dequantised.size)} quantised activation${many}`;
    const note = `${count} computed in float, without the rounding.`;
    result = { ...replaced(result, dequantised), notes: [...result.notes, note] };
  }
  const view = new GraphView(result);
  const passes = [norms, activations, windowMeans];
  const found = passes.flatMap((pass) => [...pass(view, result.nodes)]);
  return replaced(result, new Map(found));
}

function replaced(model: OnnxModel, replacements: Replacements): OnnxModel {
  if (replacements.size === 0) return model;
  return { ...model, nodes: model.nodes.flatMap((node) => replacements.get(node) ?? [node]) };
}
