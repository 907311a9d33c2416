import type { Dimension, OnnxInput, OnnxModel } from './onnx_model.js';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { isFieldSet } from '@bufbuild/protobuf';
import { isSystemError, PartlensError, show } from '../errors.js';
import { inlineExternalData } from './external_data.js';
import { domainOf, flattenGraph } from './normalise/inline.js';
import { normalise } from './normalise/normalise.js';
import { modelError } from './onnx_error.js';
import { DataType, DimensionSchema, type GraphProto } from './onnx_proto.js';
import type { ModelProto, OperatorSetIdProto, ValueInfoProto } from './onnx_proto.js';
import { decodeModel } from './onnx_wire.js';

/** Opsets of the default domain that are read. */
export const OPSETS = { first: 7, last: 26 } as const;

/** Last version of the file format that is read. */
const LAST_IR = 13;

/**
 * Reads an ONNX file, opset 7 to 26, with its external data. Throws `E_FILE` when the file cannot be
 * read and `E_ONNX` when it is no model that this package understands.
 */
export async function readOnnx(path: string): Promise<OnnxModel> {
  const bytes = await readModelFile(path);
  const proto = decodeModel(bytes, path);
  const graph = graphOf(proto);
  const external = await inlineExternalData(proto, graph, path);
  const print = await sha256([bytes, ...external.map(({ rawData }) => rawData)]);
  return parseModel(proto, path, print);
}

/** Hashes in pieces of about 10 ms, so that the event loop stays free. */
async function sha256(parts: readonly Uint8Array[]): Promise<string> {
  const piece = 2 ** 24;
  const hash = createHash('sha256');
  for (const part of parts) {
    for (let start = 0; start < part.length; start += piece) {
      hash.update(part.subarray(start, start + piece));
      await setImmediate();
    }
  }
  return hash.digest('hex');
}

async function readModelFile(path: string): Promise<Uint8Array> {
  try {
    const stats = await stat(path);
    if (!stats.isFile()) throw new PartlensError('E_FILE', `${show(path)} is not a file.`);
    if (stats.size >= 2 ** 31) {
      throw modelError('fewer than 2^31 bytes', path, stats.size, {
        remedy: 'Protobuf ends there: save the weights as external data.',
      });
    }
    return await readFile(path);
  } catch (error) {
    if (error instanceof PartlensError || !isSystemError(error)) throw error;
    const message = `Cannot read the model ${show(path)}: ${error.code ?? error.message}.`;
    throw new PartlensError('E_FILE', message, { cause: error, details: { path } });
  }
}

/** Checks a decoded model. `fingerprint` is what the caller knows of its bytes. */
export function parseModel(proto: ModelProto, path: string, fingerprint: string): OnnxModel {
  const graph = graphOf(proto);
  if (proto.irVersion > BigInt(LAST_IR)) {
    throw modelError(`IR version 3 to ${String(LAST_IR)}`, path, Number(proto.irVersion), {
      remedy: 'Export the model again with an older release of onnx.',
    });
  }
  const opset = opsetOf(proto.opsetImport, path);
  const stored = new Set(graph.initializer.map((tensor) => tensor.name));
  if (stored.size !== graph.initializer.length || stored.has('')) {
    throw modelError('initializers of different names', path, 'a name twice or none');
  }
  const { nodes, initializers } = flattenGraph(proto, graph, opset, opsetOf);
  const inputs = graph.input.filter(({ name }) => !stored.has(name)).map(parseInput);
  return normalise({
    path,
    opset,
    inputs,
    outputs: graph.output.map(({ name }) => name),
    nodes,
    initializers,
    fingerprint,
    proto,
    notes: inputs
      .filter(({ elementType }) => elementType === DataType.UINT8)
      .map(({ name }) => `Input ${show(name)} takes bytes: scale 1, mean 0 and std 1 fit it.`),
  });
}

function graphOf(proto: ModelProto): GraphProto {
  if (proto.graph) return proto.graph;
  throw modelError('a graph', 'the model', undefined);
}

function opsetOf(imports: readonly OperatorSetIdProto[], name: string): number {
  const { first, last } = OPSETS;
  const standard = imports.find(({ domain }) => domainOf(domain) === '');
  const version = standard === undefined ? undefined : Number(standard.version);
  if (version !== undefined && version >= first && version <= last) return version;
  throw modelError(`opset ${String(first)} to ${String(last)}`, name, version, {
    remedy: 'Export the model again with another opset_version.',
  });
}

function parseInput({ name, type }: ValueInfoProto): OnnxInput {
  const tensor = type?.tensorType;
  const dims = tensor?.shape?.dim.map((dim, axis): Dimension => {
    if (!isFieldSet(dim, DimensionSchema.field.dimValue)) return undefined;
    const size = Number(dim.dimValue);
    if (axis === 0 && (size === 0 || size === -1)) return undefined;
    if (size >= 1 && size < 2 ** 31) return size;
    throw modelError(
      'sizes from 1 to 2^31 - 1',
      `input ${show(name)}`,
      tensor.shape?.dim.map(showDim),
    );
  });
  return { name, elementType: tensor?.elemType ?? 0, dims };
}

function showDim(dim: { dimValue: bigint; dimParam: string }): string | number {
  return dim.dimParam === '' ? Number(dim.dimValue) : dim.dimParam;
}
