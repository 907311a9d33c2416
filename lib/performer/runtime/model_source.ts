import { readFile } from 'node:fs/promises';
import { isSystemError, PartlensError, show } from '../../errors.js';
import { inlineExternalData } from '../external_data.js';
import { EXTERNAL, type ModelProto } from '../onnx_proto.js';
import { decodeModel } from '../onnx_wire.js';
import { ModelIndex } from './model_index.js';

/** Where a model comes from. */
export interface RuntimeModel {
  /** Of the file: external data lies in its folder, errors name it. */
  path: string;
  /**
   * What is known of it already, bytes or message; without, the file is read. External tensors of a
   * message are read into it.
   */
  model?: Uint8Array | ModelProto;
}

/** Reads what is missing. Throws `E_FILE` and `E_ONNX` as `readOnnx`. */
export async function openModel({ path, model }: RuntimeModel): Promise<ModelIndex> {
  const bytes = model ?? (await readBytes(path));
  const proto = bytes instanceof Uint8Array ? decodeModel(bytes, path) : bytes;
  const index = new ModelIndex(proto, path);
  const tensors = [
    ...index.graph.initializer,
    ...index.graph.node.flatMap((node) => node.attribute.flatMap(({ t }) => t ?? [])),
  ];
  if (tensors.some(({ dataLocation }) => dataLocation === EXTERNAL)) {
    await inlineExternalData(index.graph, path);
  }
  return index;
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    if (!isSystemError(cause)) throw cause;
    const message = `Cannot read the model ${show(path)}: ${cause.code ?? cause.message}.`;
    throw new PartlensError('E_FILE', message, { cause, details: { path } });
  }
}
