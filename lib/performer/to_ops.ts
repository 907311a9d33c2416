import type { Graph, Value } from '../engine/graph.js';
import { asMaps, flatten } from '../engine/ops/index.js';
import type { Shape, TensorData } from '../engine/tensor.js';
import type { Fusion } from './fusion.js';
import type { NetValue, Network } from './network.js';
import { nodeError } from './onnx_error.js';
import { addStep, type Parameter } from './step_ops.js';

/** Appends steps of a network to a graph; steps are computed together where `Fusion` says so. */
export class GraphBuilder {
  readonly built = new Map<NetValue, Value>();

  constructor(
    readonly graph: Graph,
    readonly network: Network,
    readonly fusion: Fusion,
    /** Values of the weights by name, row-major: filled while steps are appended. */
    readonly weights: Record<string, TensorData>,
  ) {}

  /** Appends what `outputs` need beyond the values that are `built` already; returns them in order. */
  append(outputs: readonly NetValue[]): Value[] {
    const needed = new Set<NetValue>();
    const open = [...outputs];
    for (let value = open.pop(); value; value = open.pop()) {
      if (needed.has(value) || this.built.has(value)) continue;
      needed.add(value);
      open.push(...(this.fusion.of(value)?.inputs ?? []));
    }
    for (const value of this.network.values) if (needed.has(value)) this.#build(value);
    return outputs.map((value) => this.#get(value));
  }

  #build(value: NetValue): void {
    const fused = this.fusion.of(value);
    if (!fused) throw missing(value);
    const inputs = fused.inputs.map((input) => this.#get(input));
    const result = addStep(fused, inputs, (name, shape, data, options = {}) =>
      this.#parameter(`${value.name}.${name}`, shape, data, options),
    );
    if (!result) throw missing(value);
    this.built.set(value, value.shape.length === 1 ? flatten(result) : cells(result));
  }

  #parameter(
    name: string,
    shape: Shape,
    data: Float32Array | Int32Array,
    options: Parameters<Parameter>[3] = {},
  ): Value {
    const full = `performer/${name}`;
    const known = this.graph.leaf(full);
    if (known) return known;
    this.weights[full] = data;
    const dtype = data instanceof Int32Array ? 'i32' : 'f32';
    return this.graph.frozen(full, shape, { ...options, dtype });
  }

  #get(value: NetValue): Value {
    const found = this.built.get(value);
    if (found) return found;
    throw missing(value);
  }
}

/** Maps, also where the op left rows of them. */
function cells(value: Value): Value {
  return value.layout === 'rows' ? asMaps(value) : value;
}

function missing(value: NetValue): Error {
  const node = value.step?.node ?? { name: value.name, opType: 'input', opset: 0 };
  return nodeError(node, 'a value downstream of where the program starts', value.name);
}
