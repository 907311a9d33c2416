import { Graph, type Value } from '../engine/graph.js';
import type { NetValue, Network } from './network.js';
import type { TensorData } from '../engine/tensor.js';
import { Fusion } from './fusion.js';
import { GraphBuilder } from './to_ops.js';

/** One program: what is given, and what is computed from it, by the names of a session's run. */
export interface ProgramSpec {
  from: readonly { name: string; value: NetValue }[];
  outputs: readonly { name: string; value: NetValue }[];
}

/**
 * Parts of a network as engine graphs over one set of frozen weights. Batch normalization joins the
 * layer before it and ReLUs are fused, except where that would hide a value that some part gives or
 * takes: `kept` are all of these.
 */
export class NetworkParts {
  /** Values of the weights that parts so far need, row-major, by name. */
  readonly weights: Record<string, TensorData> = {};
  readonly #network: Network;
  readonly #fusion: Fusion;
  readonly #types = new Map<NetValue, Value>();

  constructor(network: Network, kept: Iterable<NetValue>) {
    this.#network = network;
    this.#fusion = new Fusion(network, new Set(kept));
  }

  /** The part behind some values of a graph, appended to it: `outputs` in their order. */
  append(
    graph: Graph,
    from: ReadonlyMap<NetValue, Value>,
    outputs: readonly NetValue[],
  ): readonly Value[] {
    const builder = new GraphBuilder(graph, this.#network, this.#fusion, this.weights);
    for (const [value, built] of from) builder.built.set(value, built);
    const found = builder.append(outputs);
    for (const [value, built] of builder.built) this.#types.set(value, built);
    return found;
  }

  /** A program of its own for `batch` images. */
  program({ from, outputs }: ProgramSpec, batch: number): Graph {
    const graph = new Graph();
    const given = from.map(({ name, value }): [NetValue, Value] => [
      value,
      this.input(graph, name, value, batch),
    ]);
    const found = this.append(
      graph,
      new Map(given),
      outputs.map(({ value }) => value),
    );
    outputs.forEach(({ name }, i) => {
      const value = found[i];
      if (value) graph.output(name, value);
    });
    return graph;
  }

  /** An input for `batch` images of a value, in the layout that it has in parts so far. */
  input(graph: Graph, name: string, value: NetValue, batch: number): Value {
    const { layout, chw } = this.#types.get(value) ?? {
      layout: value.shape.length === 3 ? 'maps' : 'rows',
      chw: undefined,
    };
    return graph.input(name, [batch, ...value.shape], { layout, chw });
  }
}
