import { expected } from '../errors.js';
import { LeastSquares } from '../explainer/least_squares.js';
import { clusterScores, type ClusterScores, type Responses } from './metrics/index.js';

/** How well labels can be read off responses, on items that the readout was not fitted on. */
export interface ProbeScores extends Pick<ClusterScores, 'nmi' | 'ari'> {
  /** Share of items whose label the readout names, 0..1; NaN for no items. */
  accuracy: number;
  /** Share of the items with the most frequent label: the accuracy of a readout that sees nothing. */
  majority: number;
}

/**
 * Linear probe [Alain, Bengio 2016]: least squares from the responses of all filters, each over its scale, to
 * one indicator of each label; the largest names the label. Fitted on cells of every second photograph, drawn
 * from the seed, scored on the cells of the others; `photographs` holds the photograph of each cell. Throws
 * `E_SHAPE`.
 */
export async function linearProbe(
  { values, filters: D, scale }: Responses,
  labels: readonly number[],
  { photographs, seed }: { photographs: readonly number[]; seed: number },
): Promise<ProbeScores> {
  const N = labels.length;
  if (values.length !== N * D || photographs.length !== N || scale.length !== D) {
    throw expected(`${String(N)} cells of ${String(D)} filters`, 'responses', values.length, {
      ...{ code: 'E_SHAPE', op: 'linearProbe' },
    });
  }
  const names = [...new Set(labels)].sort((a, b) => a - b);
  const [fitted, scored] = [0, 1].map((side) =>
    [...labels.keys()].filter((n) => (photographs[n] ?? 0) % 2 === side),
  ) as [number[], number[]];
  if (fitted.length === 0 || scored.length === 0) return NOTHING;
  const rows = (items: number[]): Float32Array => {
    const x = new Float32Array(items.length * D);
    items.forEach((n, i) => {
      for (let d = 0; d < D; d++) {
        const [value, by] = [values[n * D + d] ?? 0, scale[d] ?? 0];
        x[i * D + d] = by > 0 ? value / by : 0;
      }
    });
    return x;
  };
  const wanted = Float32Array.from({ length: fitted.length * names.length }, (_, at) => {
    const label = labels[fitted[Math.floor(at / names.length)] ?? 0];
    return label === names[at % names.length] ? 1 : 0;
  });
  const squares = new LeastSquares(D, names.length, { seed, most: fitted.length });
  await squares.add(rows(fitted), wanted, { images: fitted.length, batches: 1 });
  const readout = await squares.solve();
  const said = largest(rows(scored), readout, D).map((index) => names[index] ?? 0);
  const actual = scored.map((n) => labels[n] ?? 0);
  const share = (same: (label: number, i: number) => boolean): number =>
    actual.filter(same).length / actual.length;
  const { nmi, ari } = clusterScores(actual, said);
  return {
    ...{ nmi, ari, accuracy: share((label, i) => label === said[i]) },
    majority: Math.max(...names.map((name) => share((label) => label === name))),
  };
}

const NOTHING: ProbeScores = { nmi: NaN, ari: NaN, accuracy: NaN, majority: NaN };

/** The largest output of y = W x + b for each row of x (N, D). */
function largest(
  x: Float32Array,
  { weights, bias }: { weights: Float32Array; bias: Float32Array },
  D: number,
): number[] {
  return Array.from({ length: x.length / D }, (_, n) => {
    let [best, most] = [0, -Infinity];
    bias.forEach((constant, s) => {
      let y = constant;
      for (let d = 0; d < D; d++) y += (weights[s * D + d] ?? 0) * (x[n * D + d] ?? 0);
      if (y > most) [best, most] = [s, y];
    });
    return best;
  });
}
