import { create } from '@bufbuild/protobuf';
import { expected, show } from '../../errors.js';
import type { Shape } from '../../engine/tensor.js';
import {
  AttributeSchema,
  AttributeType,
  DataType,
  GraphSchema,
  ModelSchema,
  NodeSchema,
  ValueInfoSchema,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../onnx_proto.js';
import type { ModelIndex } from './model_index.js';
import type { RuntimeProgram, TensorRef } from './runner.js';

/** The nodes and initializers that some values need. */
interface Part {
  nodes: ReadonlySet<NodeProto>;
  initializers: TensorProto[];
  /** Given values and model inputs that something reads. */
  leaves: ReadonlySet<string>;
}

/** The nodes behind `wanted`, walking back until `given` values. Model inputs end it too. */
export function partOf(index: ModelIndex, wanted: Iterable<string>, given: Set<string>): Part {
  const nodes = new Set<NodeProto>();
  const initializers: TensorProto[] = [];
  const leaves = new Set<string>();
  const seen = new Set<string>();
  const open = [...wanted];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const stored = index.initializers.get(name);
    const node = index.producer(name);
    if (given.has(name) || index.inputs.has(name)) leaves.add(name);
    else if (stored) initializers.push(stored);
    else if (node && !nodes.has(node)) {
      nodes.add(node);
      for (const read of index.reads(node)) open.push(read);
    }
  }
  return { nodes, initializers, leaves };
}

/** A model of a program, with what its inputs and outputs are called there. */
export interface CutModel {
  model: ModelProto;
  inputs: { name: string; given: string; dims: Shape; elementType: number }[];
  outputs: { name: string; given: string; dims: Shape }[];
}

/**
 * The model of one program: only the needed nodes, in the order of the file, and the initializers that
 * they read, shared with the original. Its inputs and outputs are float32 in the order that crosses the
 * runner; Cast and Transpose nodes stand between them and the model's values, whose element types
 * `elementTypes` gives (`DataType`). Dims hold `batch`.
 */
export function cutProgram(
  index: ModelIndex,
  program: RuntimeProgram,
  options: { batch: number; elementTypes: ReadonlyMap<string, number>; what: string },
): CutModel {
  const { batch, elementTypes, what } = options;
  const given = new Set(program.inputs.map(({ tensor }) => tensor));
  const part = checkedPart(index, program, given, what);
  const prefix = index.freshPrefix();
  const inputs = program.inputs.map((ref, i) => {
    const elementType = elementTypes.get(ref.tensor) ?? DataType.FLOAT;
    const dims = [batch, ...canonicalDims(ref)];
    return { ref, name: `${prefix}_in${String(i)}`, given: ref.name, dims, elementType };
  });
  const outputs = program.outputs.map((ref, i) => {
    const dims = [batch, ...canonicalDims(ref)];
    return { ref, name: `${prefix}_out${String(i)}`, given: ref.name, dims };
  });
  const before = inputs.flatMap(({ ref, name, elementType }) =>
    chain(name, name, ref.tensor, [
      ...(ref.permutation ? [transpose(inverse(ref.permutation))] : []),
      ...(elementType === DataType.FLOAT ? [] : [cast(elementType)]),
    ]),
  );
  const after = outputs.flatMap(({ ref, name }) =>
    chain(name, ref.tensor, name, [
      cast(DataType.FLOAT),
      ...(ref.permutation ? [transpose(ref.permutation)] : []),
    ]),
  );
  const nodes = index.graph.node
    .filter((node) => part.nodes.has(node))
    .map((node) => withoutOutputs(node, given, prefix));
  const model = modelOf(index, {
    nodes: [...before, ...nodes, ...after],
    initializers: part.initializers,
    inputs: inputs.map(({ name, dims }) => tensorInfo(name, DataType.FLOAT, dims)),
    outputs: outputs.map(({ name, dims }) => tensorInfo(name, DataType.FLOAT, dims)),
  });
  return { model, inputs, outputs };
}

/**
 * The whole way from the model's inputs to any of its values, which become outputs as they are; to ask
 * for their types. `whole` gives the sizes of inputs.
 */
export function cutValues(
  index: ModelIndex,
  names: readonly string[],
  whole: ReadonlyMap<string, WholeInput> = new Map(),
): ModelProto {
  const { nodes, initializers, leaves } = partOf(index, names, new Set());
  const inputs = [...index.inputs].flatMap(([name, info]) => {
    const known = whole.get(name);
    if (!leaves.has(name)) return [];
    return [known ? tensorInfo(name, known.elementType, known.dims) : info];
  });
  return modelOf(index, {
    nodes: index.graph.node.filter((node) => nodes.has(node)),
    initializers,
    inputs,
    outputs: names.map((name) => create(ValueInfoSchema, { name })),
  });
}

/** A model input as it is to be fed: its sizes with the batch, and its `DataType`. */
export interface WholeInput {
  dims: Shape;
  elementType: number;
}

/**
 * The model with the sizes of values in place of the values: output i is the int64 list of `names[i]`'s
 * dims. Its inputs are float32 and stand for the model's.
 */
export function cutShapes(
  index: ModelIndex,
  names: readonly string[],
  whole: ReadonlyMap<string, WholeInput>,
): { model: ModelProto; inputs: { name: string; dims: Shape }[]; outputs: string[] } {
  const { nodes, initializers, leaves } = partOf(index, names, new Set());
  const prefix = index.freshPrefix();
  const read = [...whole].filter(([name]) => leaves.has(name));
  const inputs = read.map(([, { dims }], i) => ({ name: `${prefix}_in${String(i)}`, dims }));
  const before = read.flatMap(([name, { elementType }], i) => {
    const from = inputs[i]?.name ?? '';
    return chain(from, from, name, elementType === DataType.FLOAT ? [] : [cast(elementType)]);
  });
  const outputs = names.map((_, i) => `${prefix}_shape${String(i)}`);
  const after = names.map((name, i) =>
    create(NodeSchema, { opType: 'Shape', input: [name], output: outputs.slice(i, i + 1) }),
  );
  const model = modelOf(index, {
    nodes: [...before, ...index.graph.node.filter((node) => nodes.has(node)), ...after],
    initializers,
    inputs: inputs.map(({ name, dims }) => tensorInfo(name, DataType.FLOAT, dims)),
    outputs: outputs.map((name) => tensorInfo(name, DataType.INT64, undefined)),
  });
  return { model, inputs, outputs };
}

/** Declares a tensor; without `dims` its sizes stay open. */
export function tensorInfo(
  name: string,
  elemType: number,
  dims: Shape | undefined,
): ValueInfoProto {
  const dim = dims?.map((size) => ({ dimValue: BigInt(size) }));
  const tensorType = { elemType, ...(dim ? { shape: { dim } } : {}) };
  return create(ValueInfoSchema, { name, type: { tensorType } });
}

/** Every output must come from the program's inputs, and from nothing that it is not given. */
function checkedPart(
  index: ModelIndex,
  program: RuntimeProgram,
  given: Set<string>,
  what: string,
): Part {
  for (const { name, tensor } of [...program.inputs, ...program.outputs]) {
    index.require(tensor, `${name} of program ${what}`);
  }
  for (const { name, tensor } of program.inputs) {
    if (!index.initializers.has(tensor)) continue;
    throw refused('a value that is computed', `${name} of program ${what}`, `constant ${tensor}`);
  }
  for (const { name, tensor } of program.outputs) {
    const { leaves } = partOf(index, [tensor], given);
    const missing = [...leaves].filter((leaf) => !given.has(leaf));
    if (missing.length > 0) {
      const received = `${tensor}, which needs ${missing.join(', ')} too`;
      const from = [...given].map(show).join(', ');
      throw refused(`a value computed from ${from}`, `${name} of program ${what}`, received);
    }
    if (leaves.size === 0) {
      const from = [...given].map(show).join(', ');
      const received = `constant ${tensor}`;
      throw refused(`a value computed from ${from}`, `${name} of program ${what}`, received);
    }
  }
  return partOf(
    index,
    program.outputs.map(({ tensor }) => tensor),
    given,
  );
}

function refused(what: string, name: string, received: string): Error {
  return expected(what, name, received, { op: 'onnxruntime' });
}

interface Parts {
  nodes: readonly NodeProto[];
  initializers: readonly TensorProto[];
  inputs: readonly ValueInfoProto[];
  outputs: readonly ValueInfoProto[];
}

/** A model with the original's opsets, functions and metadata. */
function modelOf({ model, graph }: ModelIndex, parts: Parts): ModelProto {
  // Before version 4 initializers have to be inputs as well, and may be overridden: then nothing is folded.
  const irVersion = model.irVersion < 4n ? 4n : model.irVersion;
  const made = create(ModelSchema, {
    irVersion,
    producerName: model.producerName,
    producerVersion: model.producerVersion,
    metadataProps: model.metadataProps,
    opsetImport: model.opsetImport,
    functions: model.functions,
    graph: create(GraphSchema, {
      name: graph.name === '' ? 'graph' : graph.name,
      node: [...parts.nodes],
      initializer: [...parts.initializers],
      input: [...parts.inputs],
      output: [...parts.outputs],
    }),
  });
  made.$unknown = model.$unknown;
  if (made.graph) made.graph.$unknown = graph.$unknown;
  return made;
}

/** A node of several outputs, one of which is given, computes that one under a name that nobody reads. */
function withoutOutputs(node: NodeProto, given: ReadonlySet<string>, prefix: string): NodeProto {
  if (!node.output.some((name) => given.has(name))) return node;
  const output = node.output.map((name) => (given.has(name) ? `${prefix}_old_${name}` : name));
  const { input, name, opType, attribute, domain } = node;
  const copy = create(NodeSchema, { input, output, name, opType, attribute, domain });
  copy.$unknown = node.$unknown;
  return copy;
}

interface Step {
  opType: string;
  attribute: ReturnType<typeof create<typeof AttributeSchema>>;
}

function cast(to: number): Step {
  const attribute = create(AttributeSchema, {
    name: 'to',
    type: AttributeType.INT,
    i: BigInt(to),
  });
  return { opType: 'Cast', attribute };
}

/** Of the axes after the batch. */
function transpose(permutation: readonly number[]): Step {
  const ints = [0n, ...permutation.map((axis) => BigInt(axis + 1))];
  const attribute = create(AttributeSchema, { name: 'perm', type: AttributeType.INTS, ints });
  return { opType: 'Transpose', attribute };
}

/** Nodes that lead from one name to another through some steps; Identity where there is none. */
function chain(base: string, from: string, to: string, steps: readonly Step[]): NodeProto[] {
  if (steps.length === 0) {
    return [create(NodeSchema, { opType: 'Identity', input: [from], output: [to] })];
  }
  const names = [from, ...steps.slice(1).map((_, i) => `${base}_step${String(i)}`), to];
  return steps.map(({ opType, attribute }, i) =>
    create(NodeSchema, {
      opType,
      input: names.slice(i, i + 1),
      output: names.slice(i + 1, i + 2),
      attribute: [attribute],
    }),
  );
}

function canonicalDims({ dims, permutation }: TensorRef): number[] {
  if (!permutation) return [...dims];
  return permutation.map((axis) => dims[axis] ?? 0);
}

function inverse(permutation: readonly number[]): number[] {
  return permutation.map((_, axis) => permutation.indexOf(axis));
}
