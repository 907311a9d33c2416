import { Graph } from '../engine/graph.js';
import { maxpool2d, relu } from '../engine/ops/index.js';
import type { NetworkSpec } from './network.js';

/** Cells (q, r) of the maps after the pooling: what the decoder sees. */
export function pooledSize({ pool, height, width }: NetworkSpec): readonly [number, number] {
  const probe = new Graph();
  const x = probe.input('x', [1, 1, height, width]);
  const [, , q = 1, r = 1] = (pool ? maxpool2d(x, pool) : relu(x)).shape;
  return [q, r];
}
