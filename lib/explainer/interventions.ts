import type { PerformerAnswer } from '../performer/index.js';
import { repeated, type Encoding, type TrainedExplainer } from './trained.js';
import { DECODE_BATCH } from './network.js';
import type { RunConfig } from './run_folder.js';

/** What is switched off before the decoder; nothing by default. */
export interface Intervention {
  /** Filters whose contribution is 0. */
  off?: Iterable<number>;
  /** All that belongs to the parts is 0. */
  partsOff?: boolean;
  /** The whole ordinary track is 0. */
  ordinaryOff?: boolean;
}

/** Neither track: what "alone" is added to. */
export const NOTHING: Intervention = { partsOff: true, ordinaryOff: true };

/** What the encoder makes of some images before it is mixed, (count, D, q, r) each. */
export type Tracks = Pick<Encoding, 'interp' | 'ordin'>;

/** One image behind the encoder. */
export interface EncodedImage {
  encoding: Encoding;
  /** What bypasses the explained layer: stays as it is, whatever is switched off. */
  bypass: readonly Float32Array[];
}

/**
 * True if parts reach the decoder at all: not in runs with `tracks: 'ordinary'`, whose code is the ordinary
 * track alone.
 */
export function hasParts({ config }: TrainedExplainer): boolean {
  return config.options.tracks !== 'ordinary';
}

/**
 * The performer's outputs (interventions, classes) when its own head reads features that were rebuilt
 * from a changed encoding: x_enc = p * interp + (1 - p) * ordin with the maps of some filters (and what
 * their gates let through), or a whole track, at 0; p stays. A filter's map reaches the encoder's output through its own channel alone (mask,
 * pooling and norm layer keep channels apart), so that switching it off is exact. All interventions are
 * rows of one program; its batch is fixed.
 */
export async function intervene(
  explainer: TrainedExplainer,
  { encoding, bypass }: EncodedImage,
  interventions: readonly Intervention[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { performer, encodingSize: size } = explainer;
  const classes = performer.output.size;
  const outputs = new Float32Array(interventions.length * classes);
  for (let start = 0; start < interventions.length; start += DECODE_BATCH) {
    signal?.throwIfAborted();
    const rows = interventions.slice(start, start + DECODE_BATCH);
    const encodings = new Float32Array(rows.length * size);
    const gated = await gatesOf(explainer, encoding, rows);
    rows.forEach((intervention, row) => {
      const into = encodings.subarray(row * size, (row + 1) * size);
      mix(explainer, { ...encoding, gated: gated?.(row) }, intervention, into);
    });
    const beside = bypass.map((value) => repeated(value, rows.length));
    const { output } = await answerTo(explainer, encodings, { bypass: beside, count: rows.length });
    outputs.set(output, start * classes);
  }
  return outputs;
}

/**
 * The performer's answer to `count` images that were rebuilt from their tracks with the same switched off
 * in each; `bypass`, (count, ...) each, as it was. Throws `E_SHAPE`.
 */
export async function answerWithout(
  explainer: TrainedExplainer,
  tracks: Tracks,
  bypass: readonly Float32Array[],
  { count, ...intervention }: Intervention & { count: number },
): Promise<PerformerAnswer> {
  const { encodingSize: size } = explainer;
  const encodings = new Float32Array(count * size);
  for (let n = 0; n < count; n++) {
    const cut = (data: Float32Array): Float32Array => data.subarray(n * size, (n + 1) * size);
    const one = { interp: cut(tracks.interp), ordin: cut(tracks.ordin) };
    mix(explainer, one, intervention, cut(encodings));
  }
  return answerTo(explainer, encodings, { bypass, count });
}

/** The tracks with all that belongs to the parts taken from another image: `from[n]` in image n. */
export function withPartsOf(tracks: Tracks, from: readonly number[]): Tracks {
  const size = tracks.interp.length / from.length;
  const interp = new Float32Array(tracks.interp.length);
  from.forEach((other, n) => {
    interp.set(tracks.interp.subarray(other * size, (other + 1) * size), n * size);
  });
  return { interp, ordin: tracks.ordin };
}

/** Multiply-adds of decoder and later layers for one intervention on one photograph, roughly. */
export function interventionCost({ config, performer, encodingSize }: TrainedExplainer): number {
  const { site, targets }: RunConfig['network'] = config.network;
  if (site) return encodingSize * site.channels + performer.tailCost;
  let width = encodingSize;
  let cost = 0;
  for (const { size } of targets) {
    cost += width * size;
    width = size;
  }
  return cost;
}

/** What the gates let through in each intervention; undefined where no part is off, or without appearance. */
async function gatesOf(
  explainer: TrainedExplainer,
  encoding: Encoding,
  rows: readonly Intervention[],
): Promise<((row: number) => Float32Array) | undefined> {
  const { code } = encoding;
  const { filters } = explainer.config.network;
  const on = new Float32Array(rows.length * filters).fill(1);
  rows.forEach(({ off = [] }, row) => {
    for (const filter of off) on[row * filters + filter] = 0;
  });
  if (!code || !on.includes(0)) return undefined;
  const gated = await explainer.gated(encoding, on, rows.length);
  return (row) => gated.subarray(row * code.length, (row + 1) * code.length);
}

/** Writes the encoding of one image; `gated`: what its parts' gates let through, where some are off. */
function mix(
  explainer: TrainedExplainer,
  { interp, ordin, gated }: Tracks & { gated?: Float32Array | undefined },
  { off = [], partsOff = false, ordinaryOff = false }: Intervention,
  into: Float32Array,
): void {
  const { p, config, positions } = explainer;
  const parts = hasParts(explainer);
  const ofParts = partsOff || !parts ? 0 : p;
  const ofOrdinary = ordinaryOff ? 0 : parts ? 1 - p : 1;
  const shares = gated ? interp.slice() : interp;
  if (gated) shares.set(gated, config.network.filters * positions);
  for (let i = 0; i < into.length; i++) {
    into[i] = ofParts * (shares[i] ?? 0) + ofOrdinary * (ordin[i] ?? 0);
  }
  for (const filter of off) {
    for (let i = filter * positions; i < (filter + 1) * positions; i++) {
      into[i] = ofOrdinary * (ordin[i] ?? 0);
    }
  }
}

async function answerTo(
  explainer: TrainedExplainer,
  encodings: Float32Array,
  { bypass, count }: { bypass: readonly Float32Array[]; count: number },
): Promise<PerformerAnswer> {
  return explainer.answer(await explainer.decode(encodings, count), bypass, count);
}
