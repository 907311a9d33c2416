import { join } from 'node:path';
import { readImage } from '../../lib/data/index.js';
import { occlusionCheck } from '../../lib/evaluate/occlusion.js';
import type { Explainer } from '../../lib/explainer.js';
import { Random } from '../../lib/random.js';

const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length;
const first = (list: Float32Array): number => list.indexOf(Math.max(...list));
const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number[] =>
  Array.from(a, (value, i) => Math.abs(value - (b[i] ?? NaN)));

function softmax(z: Float32Array): number[] {
  const exp = Array.from(z, (value) => Math.exp(value));
  const total = exp.reduce((sum, one) => sum + one, 0);
  return exp.map((value) => value / total);
}

/** One photograph: its tracks, and the head's outputs from files anew. */
interface Tracked {
  output: Float32Array;
  ordin: Float32Array;
  /** Outputs of both tracks mixed, of each alone, of neither. */
  full: Float32Array;
  parts: Float32Array;
  ordinary: Float32Array;
  none: Float32Array;
  /** Output of these parts with the ordinary track of another. */
  partsIn: (other: Tracked) => Promise<Float32Array>;
}

async function tracked(explainer: Explainer, path: string): Promise<Tracked> {
  const { performer, p } = explainer;
  const { pixels } = await readImage(path, performer.preprocessing);
  const { layer, output } = await performer.features(pixels, 1);
  const { interp, ordin } = await explainer.encode(layer);
  const answer = async (a: number, b: number, beside = ordin): Promise<Float32Array> => {
    const x = interp.map((value, i) => a * value + b * (beside[i] ?? NaN));
    return performer.head((await explainer.decode(x, 1)).at(-1) ?? x, 1);
  };
  return {
    ...{ output, ordin, full: await answer(p, 1 - p), parts: await answer(p, 0) },
    ...{ ordinary: await answer(0, 1 - p), none: await answer(0, 0) },
    partsIn: (other) => answer(p, 1 - p, other.ordin),
  };
}

/**
 * Share, agreement, swap, errors of all classes and occlusion check as the JSON of an evaluation has them, for
 * the decoder `learned`, one photograph at a time. `kept`: paths of the photographs kept out, in order.
 */
export async function trackJsonOf(
  explainer: Explainer,
  folder: string,
  kept: readonly string[],
): Promise<object> {
  const files = kept.map((path) => join(folder, path));
  const all: Tracked[] = [];
  for (const file of files) all.push(await tracked(explainer, file));
  let [parts, total] = [0, 0];
  for (const { output, ...one } of all) {
    const at = (outputs: Float32Array): number => outputs[first(output)] ?? NaN;
    const [F, P, O, Z] = [at(one.full), at(one.parts), at(one.ordinary), at(one.none)];
    parts += (P - Z + (F - O)) / 2;
    total += F - Z;
  }
  const agreement = (kind: 'full' | 'parts' | 'ordinary'): number =>
    mean(all.map((one) => Number(first(one.output) === first(one[kind]))));
  const order = new Random(explainer.config.options.seed, 'evaluate/swap').shuffle([...all]);
  const follows: number[] = [];
  for (const [n, own] of order.entries()) {
    const other = order[(n + 1) % order.length] ?? own;
    const wanted = first(other.full);
    if (first(own.full) !== wanted) {
      follows.push(Number(first(await other.partsIn(own)) === wanted));
    }
  }
  const halfL1 = ({ output, full }: Tracked): number =>
    difference(softmax(output), softmax(full)).reduce((a, b) => a + b / 2, 0);
  const check = await occlusionCheck(explainer, files);
  return {
    share: total > 0 ? parts / total : null,
    agreement: {
      ...{ full: agreement('full'), parts: agreement('parts') },
      ordinary: agreement('ordinary'),
    },
    swap: follows.length > 0 ? mean(follows) : null,
    logits: {
      mae: mean(all.flatMap(({ output, full }) => difference(output, full))),
      halfL1: mean(all.map(halfL1)),
    },
    occlusion: check && {
      ...{ images: check.images, largest: check.largest, smallest: check.smallest },
      ...{ random: check.random, energy: check.energy, randomPlace: check.randomPlace },
      ...{ pairedDifference: check.pairedDifference, standardError: check.standardError },
      ...{ againstEnergy: check.againstEnergy, alone: check.alone },
    },
  };
}
