import { PartlensError } from '../errors.js';
import { lowerModel } from './lower.js';
import type { NetValue, Network } from './network.js';
import type { OnnxBuilder } from './onnx_builder.js';
import { readOnnx } from './onnx_read.js';
import type { Performer } from './performer.js';
import { writeStep } from './step_onnx.js';

/**
 * Adds a performer from its input to the explained layer to an ONNX graph of opset 17 or later, whatever
 * opset its file has: what is written is the network as it was read (constants folded, batch
 * normalization as scale and shift). Its values are called `performer/<name>`. Returns the layer's name.
 * Throws `E_FILE`, `E_ONNX`, and `E_STATE` when the file is another one than was loaded.
 */
export async function addPerformer(
  builder: OnnxBuilder,
  performer: Performer,
  image: string,
): Promise<string> {
  const { path, fingerprint, layer, preprocessing } = performer;
  const network = lowerModel(await readOnnx(path), {
    wanted: [layer.name],
    size: preprocessing.size,
  });
  if (network.fingerprint !== fingerprint) {
    throw new PartlensError('E_STATE', `${path} has changed since it was loaded.`);
  }
  const names = writeNetwork(builder, network, image);
  const [output] = network.outputs;
  const name = output && names.get(output);
  if (name === undefined) throw new PartlensError('E_INTERNAL', `${layer.name} was not written`);
  return name;
}

/** Adds every step of a network; gives the names of its values, maps as (N, C, H, W). */
export function writeNetwork(
  builder: OnnxBuilder,
  network: Network,
  image: string,
): Map<NetValue, string> {
  const names = new Map<NetValue, string>([[network.input, image]]);
  for (const value of network.values) {
    if (!value.step) continue;
    const inputs = value.step.inputs.map((input) => names.get(input) ?? '');
    names.set(value, writeStep(builder, value, value.step, inputs));
  }
  return names;
}
