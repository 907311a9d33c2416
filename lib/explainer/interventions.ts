import type { Encoding, TrainedExplainer } from './trained.js';
import { DECODE_BATCH } from './network.js';

/** What is switched off before the decoder; nothing by default. */
export interface Intervention {
  /** Filters whose map is 0. */
  off?: Iterable<number>;
  /** The whole ordinary track is 0. */
  ordinaryOff?: boolean;
}

/** One image behind the encoder. */
export interface EncodedImage {
  encoding: Encoding;
  /** What bypasses the explained layer: stays as it is, whatever is switched off. */
  bypass: readonly Float32Array[];
}

/**
 * The performer's outputs (interventions, classes) when its own head reads features that were rebuilt
 * from a changed encoding: x_enc = p * interp + (1 - p) * ordin with the maps of some filters, or a whole
 * track, at 0. A filter's map reaches the encoder's output through its own channel alone (mask, pooling
 * and norm layer keep channels apart), so that switching it off is exact. All interventions are rows of
 * one program; its batch is fixed.
 */
export async function intervene(
  explainer: TrainedExplainer,
  { encoding, bypass }: EncodedImage,
  interventions: readonly Intervention[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  const { interp, ordin } = encoding;
  const { performer, p, encodingSize: size } = explainer;
  const cells = size / explainer.config.network.filters;
  const classes = performer.output.size;
  const outputs = new Float32Array(interventions.length * classes);
  for (let start = 0; start < interventions.length; start += DECODE_BATCH) {
    signal?.throwIfAborted();
    const rows = interventions.slice(start, start + DECODE_BATCH);
    const encodings = new Float32Array(rows.length * size);
    rows.forEach(({ off = [], ordinaryOff = false }, row) => {
      const x = encodings.subarray(row * size, (row + 1) * size);
      const q = ordinaryOff ? 0 : 1 - p;
      for (let i = 0; i < size; i++) x[i] = p * (interp[i] ?? 0) + q * (ordin[i] ?? 0);
      for (const filter of off) {
        for (let i = filter * cells; i < (filter + 1) * cells; i++) x[i] = q * (ordin[i] ?? 0);
      }
    });
    const rebuilt = await explainer.decode(encodings, rows.length);
    const beside = bypass.map((value) => repeated(value, rows.length));
    const { output } = await explainer.answer(rebuilt, beside, rows.length);
    outputs.set(output, start * classes);
  }
  return outputs;
}

function repeated(value: Float32Array, count: number): Float32Array {
  const result = new Float32Array(count * value.length);
  for (let row = 0; row < count; row++) result.set(value, row * value.length);
  return result;
}
