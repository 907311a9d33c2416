import type { Graph, Value } from '../engine/graph.js';
import { flatten } from '../engine/ops/index.js';
import type { TensorData } from '../engine/tensor.js';
import type { NetValue, Network } from './network.js';
import { NetworkParts } from './parts.js';

interface TailValues {
  site: NetValue;
  bypass: readonly NetValue[];
  targets: readonly NetValue[];
  /** What the classes' probabilities follow from; undefined where the output is no classifier. */
  logits: NetValue | undefined;
}

/** What a graph computes behind rebuilt maps. */
export interface AppendedTail {
  /** One for each target, maps or rows. */
  targets: readonly Value[];
  /** (batch, classes); undefined where the performer's output is no classifier. */
  logits: Value | undefined;
}

/** The performer's later layers as part of somebody else's graph, frozen, so that gradients pass them. */
export class TailPart {
  readonly #parts: NetworkParts;
  readonly #values: TailValues;

  /** @internal Comes with a performer. */
  constructor(network: Network, values: TailValues) {
    this.#values = values;
    const { site, bypass, targets, logits } = values;
    this.#parts = new NetworkParts(network, [
      site,
      ...bypass,
      ...targets,
      ...(logits ? [logits] : []),
    ]);
  }

  /** Values of the frozen weights that `append` has asked for, by name: to be written to the session. */
  get weights(): Readonly<Record<string, TensorData>> {
    return this.#parts.weights;
  }

  /** Inputs `bypass_1` ... of a graph for `batch` images. */
  bypassInputs(graph: Graph, batch: number): Value[] {
    return this.#values.bypass.map((value, i) =>
      this.#parts.input(graph, `bypass_${String(i + 1)}`, value, batch),
    );
  }

  /** Targets and logits of maps of the site, rebuilt or not. */
  append(graph: Graph, siteMaps: Value, bypass: readonly Value[]): AppendedTail {
    const { site, targets, logits, ...values } = this.#values;
    const from = new Map<NetValue, Value>([[site, siteMaps]]);
    values.bypass.forEach((value, i) => {
      const given = bypass[i];
      if (given) from.set(value, given);
    });
    const found = this.#parts.append(graph, from, [...targets, ...(logits ? [logits] : [])]);
    const last = logits && found[targets.length];
    return { targets: found.slice(0, targets.length), logits: last && flatten(last) };
  }
}
