import { expected } from '../../errors.js';
import { sizeOf, type Shape } from '../../engine/tensor.js';
import { elementTypeOf, sendModel } from './element_types.js';
import type { Values } from './messages.js';
import type { ModelIndex } from './model_index.js';
import { openModel, type RuntimeModel } from './model_source.js';
import { cutShapes, cutValues, type WholeInput } from './surgery.js';
import { WorkerHost } from './worker_host.js';

export interface DescribeOptions {
  /** Values to describe; default: everything that the graph's nodes compute. */
  names?: readonly string[];
  /** Pixels where the model leaves them open: of both sides, or (height, width). */
  size?: number | readonly [number, number];
  /** @internal Name of the runtime's module, for tests. */
  module?: string;
  /** The thread to do it, which goes on afterwards; default one that ends. */
  host?: WorkerHost;
}

/** A value as onnxruntime sees it. */
export interface DescribedValue {
  /** With the batch: 1 where the model leaves it open. */
  dims: number[];
  /** `DataType`. */
  elementType: number;
}

/**
 * Sizes and element types of a model's values, by onnxruntime: types by its own inference, sizes by one
 * run on an image of zeros, of which only sizes leave the graph (its inference is not always right: for
 * pooling in ceil mode it counts windows that lie in the padding). What is no plain tensor is left out. Throws `E_BACKEND` where onnxruntime is missing or refuses the model.
 */
export async function describeValues(
  model: RuntimeModel,
  options: DescribeOptions = {},
): Promise<Map<string, DescribedValue>> {
  const { size, module } = options;
  const index = await openModel(model);
  const names = options.names ?? computedValues(index);
  for (const name of names) index.require(name, 'name');
  const whole = wholeInputs(index, size);
  const host = options.host ?? new WorkerHost(module === undefined ? {} : { module });
  try {
    const types = await sendModel(host, cutValues(index, names, whole), (bytes) =>
      host.ask({ kind: 'types', model: bytes }, [bytes.buffer]),
    );
    const elementOf = new Map(names.map((name) => [name, elementTypeOf(types[name])]));
    const tensors = names.filter((name) => elementOf.get(name) !== undefined);
    const sizes = await measure(host, index, tensors, whole);
    return new Map(
      tensors.map((name) => [
        name,
        { dims: sizes.get(name) ?? [], elementType: elementOf.get(name) ?? 0 },
      ]),
    );
  } finally {
    if (!options.host) host.dispose();
  }
}

function computedValues({ graph }: ModelIndex): string[] {
  return graph.node.flatMap(({ output }) => output.filter((name) => name !== ''));
}

/** Sizes of values in one run. */
async function measure(
  host: WorkerHost,
  index: ModelIndex,
  names: readonly string[],
  whole: ReadonlyMap<string, WholeInput>,
): Promise<Map<string, number[]>> {
  if (names.length === 0) return new Map();
  const cut = cutShapes(index, names, whole);
  const feeds = cut.inputs.map(({ name, dims }): [string, Values] => [
    name,
    { dims: [...dims], data: new Float32Array(sizeOf(dims)) },
  ]);
  const shapes = await sendModel(host, cut.model, (bytes) =>
    host.ask({ kind: 'shapes', model: bytes, feeds: Object.fromEntries(feeds) }, [bytes.buffer]),
  );
  return new Map(names.map((name, i) => [name, shapes[cut.outputs[i] ?? ''] ?? []]));
}

/** The model's inputs for one image. */
function wholeInputs(index: ModelIndex, size: DescribeOptions['size']): Map<string, WholeInput> {
  const inputs = new Map<string, WholeInput>();
  for (const [name, { type }] of index.inputs) {
    const elementType = type?.tensorType?.elemType ?? 0;
    inputs.set(name, { dims: closed(name, index.declaredDims(name), size), elementType });
  }
  return inputs;
}

/** Batch 1, height and width by `size`; images where the model declares no shape. */
function closed(
  name: string,
  declared: readonly (number | undefined)[] | undefined,
  size: DescribeOptions['size'],
): Shape {
  const axes = declared ?? [undefined, undefined, undefined, undefined];
  if (axes.length !== 4) return axes.map((one) => one ?? 1);
  const [batch = 1, ...rest] = axes;
  const open = rest.filter((one) => one === undefined).length;
  if (open === 0) return [batch, ...rest.map((one) => one ?? 1)];
  if (size === undefined) {
    throw expected('a size', `input ${name}, whose height and width are open`, 'nothing', {
      op: 'describeValues',
    });
  }
  const sides = typeof size === 'number' ? [size, size] : [...size];
  // (N, 3, H, W) with all of it open; otherwise the open axes are height and width in this order.
  const values = open === 3 ? [3, ...sides] : sides;
  return [batch, ...rest.map((one) => one ?? values.shift() ?? 1)];
}
