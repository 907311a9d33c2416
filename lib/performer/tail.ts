import { isCuttable } from './foreign.js';
import { isMaps, type NetValue, type Network, type PoolOp } from './network.js';

/** The network as numbers: inputs and readers of each value by index, in topological order. */
interface Wiring {
  index: ReadonlyMap<NetValue, number>;
  inputs: readonly (readonly number[])[];
  readers: readonly (readonly number[])[];
}

const wirings = new WeakMap<Network, Wiring>();

function wiringOf(network: Network): Wiring {
  const known = wirings.get(network);
  if (known) return known;
  const index = new Map(network.values.map((value, i) => [value, i]));
  const inputs = network.values.map(({ step }) => [
    ...new Set(step?.inputs.map((input) => index.get(input) ?? -1)),
  ]);
  const readers: number[][] = network.values.map(() => []);
  inputs.forEach((of, i) => {
    for (const input of of) readers[input]?.push(i);
  });
  const made = { index, inputs, readers };
  wirings.set(network, made);
  return made;
}

/** The values that read `value` directly. */
export function readersOf(network: Network, value: NetValue): NetValue[] {
  const { index, readers } = wiringOf(network);
  return (readers[index.get(value) ?? -1] ?? []).flatMap((i) => network.values[i] ?? []);
}

/** 1 for every value that is computed from `value`, by index; not for itself. */
function dependents(network: Network, value: NetValue): Uint8Array {
  const { index, inputs } = wiringOf(network);
  const found = new Uint8Array(network.values.length);
  const from = index.get(value) ?? -1;
  for (let i = from + 1; i < found.length; i++) {
    found[i] = Number((inputs[i] ?? []).some((input) => input === from || found[input] === 1));
  }
  return found;
}

/** 1 for every value that one of `ends` is computed from, by index, itself included. */
function needed(network: Network, ends: readonly NetValue[]): Uint8Array {
  const { index, inputs } = wiringOf(network);
  const found = new Uint8Array(network.values.length);
  for (const end of ends) found[index.get(end) ?? -1] = 1;
  for (let i = found.length - 1; i >= 0; i--) {
    if (found[i] === 1) for (const input of inputs[i] ?? []) found[input] = 1;
  }
  return found;
}

/** What everything on the way from the image to an end passes through. */
interface Trunk {
  values: readonly NetValue[];
  place: ReadonlyMap<NetValue, number>;
  /** Multiply-adds behind each of the values. */
  costs: readonly number[];
}

const trunks = new WeakMap<Network, Map<NetValue, Trunk>>();

/** Made once: with it, most questions about a layer of a long network are answered without a walk. */
function trunkOf(network: Network, end: NetValue): Trunk {
  const known = trunks.get(network) ?? new Map<NetValue, Trunk>();
  trunks.set(network, known);
  const found = known.get(end);
  if (found) return found;
  const values = walkJoints(network, network.input, end);
  const place = new Map(values.map((value, i) => [value, i]));
  const wanted = needed(network, [end]);
  const behind = new Map<NetValue, number>();
  let cost = 0;
  for (let i = network.values.length - 1; i >= 0; i--) {
    const value = network.values[i] ?? network.input;
    behind.set(value, cost);
    if (wanted[i] === 1) cost += costOf(value);
  }
  const made = { values, place, costs: values.map((value) => behind.get(value) ?? 0) };
  known.set(end, made);
  return made;
}

/** Multiply-adds of one value for one image. */
function costOf({ step, shape }: NetValue): number {
  if (!step || !('weight' in step.op)) return 0;
  return step.op.weight.length * (shape[1] ?? 1) * (shape[2] ?? 1);
}

/** True for what is computed from `value`. */
export function dependsOn(network: Network, later: NetValue, value: NetValue): boolean {
  return dependents(network, value)[wiringOf(network).index.get(later) ?? -1] === 1;
}

/** Values that some of `ends` is computed from, those included. */
export function sources(network: Network, ends: readonly NetValue[]): Set<NetValue> {
  const found = needed(network, ends);
  return new Set(network.values.filter((_, i) => found[i] === 1));
}

/** Where the performer's own later layers take over from what is rebuilt. */
export interface Site {
  /** The maps that are rebuilt. */
  value: NetValue;
  /** The max pooling between the explained layer and them; undefined where they are the layer's own. */
  pool: PoolOp | undefined;
}

/** The layer itself, or behind its own max pooling where nobody else reads it: fewer cells to rebuild. */
export function siteOf(network: Network, layer: NetValue): Site {
  const [reader, other] = readersOf(network, layer);
  const op = reader?.step?.op;
  const pools = op?.kind === 'maxpool' && reader && isMaps(reader);
  if (pools && !other && isCuttable(network, reader)) {
    return { value: reader, pool: op };
  }
  return { value: layer, pool: undefined };
}

/**
 * What the way from `site` to `ends` reads beside it: values that do not depend on it. A skip connection
 * that begins before the layer is one.
 */
export function bypassOf(network: Network, site: NetValue, ends: readonly NetValue[]): NetValue[] {
  const last = ends.at(-1);
  const trunk = last && trunkOf(network, last).place;
  if (trunk && [site, ...ends].every((value) => trunk.has(value))) return [];
  const { index, inputs } = wiringOf(network);
  const from = index.get(site) ?? -1;
  const behind = dependents(network, site);
  const wanted = needed(network, ends);
  const found = new Set<number>();
  const seen = new Set<number>();
  const take = (input: number): void => {
    if (seen.has(input)) return;
    seen.add(input);
    const value = network.values[input] ?? network.input;
    if (isCuttable(network, value)) found.add(input);
    else inputs[input]?.forEach(take);
  };
  for (let i = from + 1; i < behind.length; i++) {
    if (behind[i] !== 1 || wanted[i] !== 1) continue;
    for (const input of inputs[i] ?? []) {
      if (input !== from && behind[input] !== 1) take(input);
    }
  }
  return [...found].sort((a, b) => a - b).map((i) => network.values[i] ?? network.input);
}

/** Multiply-adds of the way from `site` to `ends` for one image: convolutions and fully connected layers. */
export function costOfWay(network: Network, site: NetValue, ends: readonly NetValue[]): number {
  const [end, other] = ends;
  const trunk = end && !other ? trunkOf(network, end) : undefined;
  const place = trunk?.place.get(site);
  if (place !== undefined) return trunk?.costs[place] ?? 0;
  const behind = dependents(network, site);
  const wanted = needed(network, ends);
  return network.values.reduce(
    (sum, value, i) => (behind[i] === 1 && wanted[i] === 1 ? sum + costOf(value) : sum),
    0,
  );
}

/**
 * The values between `from` and `end` that everything passes through: whoever knows one of them, and
 * what bypasses `from`, needs nothing before it. In the order of the network, `end` included.
 */
export function joints(network: Network, from: NetValue, end: NetValue): NetValue[] {
  const { values, place } = trunkOf(network, end);
  const at = place.get(from);
  return at === undefined ? walkJoints(network, from, end) : values.slice(at + 1);
}

function walkJoints(network: Network, from: NetValue, end: NetValue): NetValue[] {
  const { index, inputs, readers } = wiringOf(network);
  const start = index.get(from) ?? -1;
  const behind = dependents(network, from);
  const wanted = needed(network, [end]);
  const onWay = (i: number): boolean => i === start || (behind[i] === 1 && wanted[i] === 1);
  const first =
    start < 0 ? inputs.flatMap((of, i) => (of.includes(start) ? [i] : [])) : readers[start];
  const open = new Map<number, number>([[start, (first ?? []).filter(onWay).length]]);
  const found: NetValue[] = [];
  for (let i = start + 1; i < behind.length; i++) {
    const value = network.values[i];
    if (!value || !onWay(i)) continue;
    for (const input of inputs[i] ?? []) {
      const left = (open.get(input) ?? 0) - 1;
      if (left > 0) open.set(input, left);
      else open.delete(input);
    }
    open.set(i, (readers[i] ?? []).filter(onWay).length);
    if (open.size === 1) found.push(value);
    if (value === end) break;
  }
  return found;
}
