import type { PerformerAnswer } from '../performer/index.js';
import type { Encoding, TrainedExplainer } from './trained.js';
import { DECODE_BATCH, pooledSize } from './network.js';
import { networkSpec, type RunConfig } from './run_folder.js';

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
 * from a changed encoding: x_enc = p * interp + (1 - p) * ordin with the maps of some filters, or a whole
 * track, at 0; p stays. A filter's map reaches the encoder's output through its own channel alone (mask,
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
    rows.forEach((intervention, row) => {
      mix(explainer, encoding, intervention, encodings.subarray(row * size, (row + 1) * size));
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
export function interventionCost({ config, performer }: TrainedExplainer): number {
  const { filters, site, targets }: RunConfig['network'] = config.network;
  const [q, r] = pooledSize(networkSpec(config));
  if (site) return filters * site.channels * q * r + performer.tailCost;
  let width = filters * q * r;
  let cost = 0;
  for (const { size } of targets) {
    cost += width * size;
    width = size;
  }
  return cost;
}

/** Writes the encoding of one image. */
function mix(
  explainer: TrainedExplainer,
  { interp, ordin }: Tracks,
  { off = [], partsOff = false, ordinaryOff = false }: Intervention,
  into: Float32Array,
): void {
  const { p, config } = explainer;
  const parts = hasParts(explainer);
  const ofParts = partsOff || !parts ? 0 : p;
  const ofOrdinary = ordinaryOff ? 0 : parts ? 1 - p : 1;
  for (let i = 0; i < into.length; i++) {
    into[i] = ofParts * (interp[i] ?? 0) + ofOrdinary * (ordin[i] ?? 0);
  }
  const cells = into.length / config.network.filters;
  for (const filter of off) {
    for (let i = filter * cells; i < (filter + 1) * cells; i++) {
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

function repeated(value: Float32Array, count: number): Float32Array {
  const result = new Float32Array(count * value.length);
  for (let row = 0; row < count; row++) result.set(value, row * value.length);
  return result;
}
