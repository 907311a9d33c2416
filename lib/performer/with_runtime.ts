import type { ImageSize } from '../data/image_size.js';
import { expected, PartlensError, show } from '../errors.js';
import { FOLDED_TYPES } from './fold.js';
import type { TensorSizes } from './foreign.js';
import { imageInput } from './image_input.js';
import { lowerModel, OP_TYPES, valueName } from './lower.js';
import type { NetValue, Network } from './network.js';
import { orderNodes } from './onnx_graph.js';
import type { OnnxModel, OnnxNode } from './onnx_model.js';
import type { ProgramSpec } from './parts.js';
import {
  describeValues,
  INSTALL,
  WorkerHost,
  type RuntimeProgram,
  type TensorRef,
} from './runtime/index.js';

/** What computes a performer: partlens, onnxruntime-node, or the one that can, partlens first. */
export const RUNTIMES = ['auto', 'native', 'onnxruntime'] as const;
export type RuntimeChoice = (typeof RUNTIMES)[number];

/** What computes a performer, and why. */
export interface RuntimeUse {
  name: Exclude<RuntimeChoice, 'auto'>;
  /** A sentence without its full stop. */
  reason: string;
}

/** Throws `E_ARGUMENT` for another word. */
export function requireRuntime(runtime: unknown, op: string): void {
  if (RUNTIMES.some((one) => one === runtime)) return;
  throw expected(`one of ${RUNTIMES.join(', ')}`, 'runtime', runtime, { op });
}

interface Read<T> {
  result: T;
  runtime: RuntimeUse;
  /** onnxruntime's thread, for the runner to come or to be disposed of; undefined for native. */
  host: WorkerHost | undefined;
}

interface Wanted {
  runtime: RuntimeChoice;
  /** Values or nodes that are to be computed. */
  names: readonly string[];
  size: ImageSize | undefined;
  /** @internal Name of onnxruntime's module, for tests. */
  module?: string;
}

/** The part of the model that some names need, as a network. */
export type Lowering = (wanted: readonly string[]) => Network;

/**
 * Reads a model as the runtime that is wanted needs it: `read` is given what lowers the part that some of
 * `names` need. `auto` reads it for the engine; where a node has no op there, again for onnxruntime, which
 * is asked for the sizes of tensors (in its worker thread). Throws what `lowerModel` throws, with what
 * onnxruntime has to say where it was asked in vain; `E_BACKEND` where it was asked for by name.
 */
export async function withRuntime<T>(
  model: OnnxModel,
  { runtime, names, size, module }: Wanted,
  read: (lower: Lowering) => T,
): Promise<Read<T>> {
  const given = size === undefined ? {} : { size };
  const native = (): Read<T> => {
    const result = read((wanted) => lowerModel(model, { wanted, ...given }));
    const reason = 'every op has one of its own';
    return { result, runtime: { name: 'native', reason }, host: undefined };
  };
  if (runtime === 'native') return native();
  let refusal: PartlensError | undefined;
  if (runtime === 'auto') {
    try {
      return native();
    } catch (error) {
      if (!isOfNode(error)) throw error;
      refusal = error;
    }
  }
  const nodes = orderNodes(
    model,
    names.map((name) => valueName(model, name)),
  );
  imageInput(model, nodes, size); // says what is missing before onnxruntime is asked
  const host = new WorkerHost(module === undefined ? {} : { module });
  try {
    const sizes = await describe(model, nodes, { size, host }).catch((error: unknown) => {
      throw refusal ? together(refusal, error, nodes) : error;
    });
    const found: Network[] = [];
    const result = read((wanted) => {
      const network = lowerModel(model, { wanted, sizes, ...given });
      found.push(network);
      return network;
    });
    const reason = refusal ? reasonOf(found, refusal) : 'asked for';
    return { result, runtime: { name: 'onnxruntime', reason }, host };
  } catch (error) {
    host.dispose();
    throw error;
  }
}

/** A node that was refused, and not the file or a name. */
function isOfNode(error: unknown): error is PartlensError {
  const isRefusal = error instanceof PartlensError && error.code === 'E_ONNX';
  return isRefusal && error.details['opType'] !== undefined;
}

/** Sizes of all tensors of the file that these nodes make. */
async function describe(
  { proto, path }: OnnxModel,
  nodes: readonly OnnxNode[],
  { size, host }: Pick<Wanted, 'size'> & { host: WorkerHost },
): Promise<TensorSizes> {
  const inFile = new Set(proto.graph?.node.flatMap(({ output }) => output));
  const made = nodes.flatMap(({ outputs }) => outputs);
  const names = made.filter((name) => name !== '' && inFile.has(name));
  const described = await describeValues(
    { path, model: proto },
    {
      names,
      ...(size === undefined ? {} : { size }),
      host,
    },
  );
  return new Map([...described].map(([name, { dims }]) => [name, dims]));
}

/** The refusal of a node with why onnxruntime does not help, and what would. */
function together(refusal: PartlensError, error: unknown, nodes: readonly OnnxNode[]): Error {
  if (!(error instanceof PartlensError)) return refusal;
  const { code, message, op, details } = refusal;
  const plain = op === undefined ? message : message.slice(`[${op}] `.length);
  const types = foreignTypes(nodes);
  const which = types.length === 0 ? '' : ` Op types without one here: ${types.join(', ')}.`;
  const why =
    error.details['missing'] === undefined
      ? `onnxruntime refuses the model, too: ${error.message}`
      : `Or onnxruntime-node computes it, which is not installed.${which}\n${INSTALL}`;
  return new PartlensError(code, `${plain}\n${why}`, {
    cause: refusal.cause ?? error,
    details,
    ...(op === undefined ? {} : { op }),
  });
}

/** Op types that partlens neither computes nor folds. */
function foreignTypes(nodes: readonly OnnxNode[]): string[] {
  const known = new Set([...OP_TYPES, ...FOLDED_TYPES, 'If', 'Shape']);
  const foreign = nodes.filter(({ opType, domain }) => domain !== '' || !known.has(opType));
  return [...new Set(foreign.map(({ opType }) => opType))].sort();
}

function reasonOf(networks: readonly Network[], refusal: PartlensError): string {
  const nodes = new Map(
    networks.flatMap(({ foreign }) => foreign?.nodes ?? []).map((one) => [one.opType, one]),
  );
  const shown = [...nodes.values()]
    .slice(0, 3)
    .map(({ name, opType }) => `${opType} ${show(name)}`);
  const more = nodes.size > 3 ? ` and ${String(nodes.size - 3)} more op types` : '';
  const [sentence = ''] = refusal.message.split('\n');
  return shown.length > 0 ? `partlens does not compute ${shown.join(', ')}${more}` : sentence;
}

/** A part of a network as onnxruntime takes it; its values are tensors of the file (`isCuttable`). */
export function runtimeProgram(network: Network, { from, outputs }: ProgramSpec): RuntimeProgram {
  const refs = (values: ProgramSpec['from']): TensorRef[] =>
    values.map(({ name, value }) => tensorRef(network, name, value));
  return { inputs: refs(from), outputs: refs(outputs) };
}

function tensorRef({ foreign }: Network, name: string, value: NetValue): TensorRef {
  const order = (value.axes ?? [0, 1, 2, 3]).slice(1).map((axis) => axis - 1);
  const own = order.map((axis) => value.shape[axis] ?? 1);
  const dims = foreign?.sizes.get(value.name)?.slice(1) ?? own;
  const moved = order.some((axis, i) => axis !== i);
  const permutation = value.shape.map((_, axis) => order.indexOf(axis));
  return { name, tensor: value.name, dims, ...(moved ? { permutation } : {}) };
}
