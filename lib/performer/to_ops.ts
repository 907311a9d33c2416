import { Graph, type Value } from '../engine/graph.js';
import { asMaps, flatten } from '../engine/ops/index.js';
import type { Shape } from '../engine/tensor.js';
import { Fusion } from './fusion.js';
import type { NetValue, Network } from './network.js';
import { nodeError } from './onnx_error.js';
import { addStep, type Parameter } from './step_ops.js';

/** Graphs over one set of parameters. */
export interface EngineGraphs {
  graphs: Record<string, Graph>;
  /** Values of the parameters, row-major, by name. */
  weights: Record<string, Float32Array | Int32Array>;
}

/** One program: what is given, and what is computed from it, by the names of a session's run. */
export interface ProgramSpec {
  from: { name: string; value: NetValue };
  outputs: readonly { name: string; value: NetValue }[];
}

/**
 * Builds engine graphs for parts of a network at a fixed batch size. Steps are computed together
 * (`Fusion`), except where that would hide a value that some program gives or takes.
 */
export function buildGraphs(
  network: Network,
  programs: Readonly<Record<string, ProgramSpec>>,
  batch: number,
): EngineGraphs {
  const keep = new Set(
    Object.values(programs).flatMap(({ from, outputs }) => [
      from.value,
      ...outputs.map(({ value }) => value),
    ]),
  );
  const fusion = new Fusion(network, keep);
  const types = new Map<NetValue, Value>();
  const weights: EngineGraphs['weights'] = {};
  const graphs = Object.entries(programs).map(([name, { from, outputs }]): [string, Graph] => {
    const builder = new GraphBuilder(network, fusion, weights);
    builder.start(from.name, from.value, batch, types.get(from.value));
    builder.finish(outputs);
    for (const [value, built] of builder.built) types.set(value, built);
    return [name, builder.graph];
  });
  return { graphs: Object.fromEntries(graphs), weights };
}

class GraphBuilder {
  readonly graph = new Graph();
  readonly built = new Map<NetValue, Value>();

  constructor(
    readonly network: Network,
    readonly fusion: Fusion,
    readonly weights: EngineGraphs['weights'],
  ) {}

  /** `like`: the value in another graph, whose layout and flattening it must share. */
  start(name: string, value: NetValue, batch: number, like: Value | undefined): void {
    const { layout, chw } = like ?? {
      layout: value.shape.length === 3 ? 'maps' : 'rows',
      chw: undefined,
    };
    this.built.set(value, this.graph.input(name, [batch, ...value.shape], { layout, chw }));
  }

  finish(outputs: ProgramSpec['outputs']): void {
    const needed = new Set<NetValue>();
    const open = outputs.map(({ value }) => value);
    for (let value = open.pop(); value; value = open.pop()) {
      if (needed.has(value) || this.built.has(value)) continue;
      needed.add(value);
      open.push(...(this.fusion.of(value)?.inputs ?? []));
    }
    for (const value of this.network.values) if (needed.has(value)) this.#build(value);
    for (const { name, value } of outputs) this.graph.output(name, this.#get(value));
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
    this.weights[name] = data;
    const dtype = data instanceof Int32Array ? 'i32' : 'f32';
    return this.graph.parameter(name, shape, { ...options, dtype });
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
