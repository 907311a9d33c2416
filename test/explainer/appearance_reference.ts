import type { TensorToStore } from '../../lib/data/safetensors.js';
import type { Encoding, TrainedExplainer } from '../../lib/explainer/trained.js';

/** An image behind the encoder, with the performer's maps. */
export interface Encoded {
  layer: Float32Array;
  bypass: Float32Array[];
  encoding: Encoding;
}

type Tensors = Readonly<Record<string, TensorToStore>>;

/** Largest of windows of 2 x 2 where the network pools, else the maps as they are; (channels, n, n). */
function pooled(
  explainer: TrainedExplainer,
  maps: ArrayLike<number>,
  channels: number,
): Float64Array {
  const { pool, height: n } = explainer.config.network;
  if (!pool) return Float64Array.from(maps);
  const half = n / 2;
  return Float64Array.from({ length: channels * half * half }, (_, at) => {
    const [c, cell] = [Math.floor(at / half ** 2), at % half ** 2];
    const [y, x] = [2 * Math.floor(cell / half), 2 * (cell % half)];
    const values = [0, 1, n, n + 1].map((step) => maps[c * n * n + y * n + x + step] ?? NaN);
    return Math.max(...values);
  });
}

/** G of the parts that are on, behind the pooling: loops over the equation in float64. */
export function gatesOf(
  explainer: TrainedExplainer,
  tensors: Tensors,
  layer2: Float32Array,
  isOn: (d: number) => boolean = () => true,
): Float64Array {
  const { filters: D, height: n } = explainer.config.network;
  const { gatePower: t, gateFloor, gateRadius = 9, normFloor } = explainer.config.options;
  const usual = Array.from(tensors['gate.peak']?.data ?? [], Number);
  const floor = (normFloor * usual.reduce((sum, value) => sum + value, 0)) / D;
  const gates = Array.from({ length: n * n }, (_, cell) => {
    let [open, all] = [0, gateFloor ** t];
    for (let d = 0; d < D; d++) {
      const map = layer2.subarray(d * n * n, (d + 1) * n * n);
      const value = Math.max(...map);
      const mu = map.indexOf(value);
      const rows = Math.abs(Math.floor(cell / n) - Math.floor(mu / n));
      const columns = Math.abs((cell % n) - (mu % n));
      const cone = Math.max(1 - (rows + columns) / gateRadius, 0);
      const e = Math.max((value / Math.max(usual[d] ?? NaN, floor)) * cone, 1e-6) ** t;
      all += e;
      if (isOn(d)) open += e;
    }
    return open / all;
  });
  return pooled(explainer, gates, 1);
}

/** Both tracks of an image, and the code before the gates, from maps and parameters alone. */
export function appearanceSums(
  explainer: TrainedExplainer,
  tensors: Tensors,
  { layer, encoding }: Encoded,
): Record<'code' | 'interp' | 'ordin', number[]> {
  const { filters: D, channels: C, featureScale } = explainer.config.network;
  const { normFloor } = explainer.config.options;
  const { positions } = explainer;
  const site = pooled(explainer, layer, C).map((value) => value * featureScale);
  const linear = (name: string): number[] => {
    const { shape, data } = tensors[name] ?? { shape: [0], data: [] };
    return Array.from({ length: (shape[0] ?? 0) * positions }, (_, at) => {
      const [k, cell] = [Math.floor(at / positions), at % positions];
      let sum = 0;
      for (let c = 0; c < C; c++)
        sum += Number(data[k * C + c]) * (site[c * positions + cell] ?? NaN);
      return sum;
    });
  };
  const code = linear('conv_code.weight');
  const gates = gatesOf(explainer, tensors, encoding.layer2);
  const gated = code.map((value, i) => value * (gates[i % positions] ?? NaN));
  const alpha = Array.from(tensors['norm_interp.alpha']?.data ?? [], Number);
  const floor = (normFloor * alpha.reduce((sum, value) => sum + value, 0)) / D;
  const maps = Array.from(pooled(explainer, encoding.masked, D), (value, i) => {
    return (
      (value * Math.sqrt(positions)) / Math.max(alpha[Math.floor(i / positions)] ?? NaN, floor)
    );
  });
  const ordinary = linear('conv_ordin.weight');
  const none = (count: number): number[] => Array.from({ length: count }, () => 0);
  return {
    code,
    interp: [...maps, ...gated, ...none(ordinary.length)],
    ordin: [...none(maps.length + gated.length), ...ordinary],
  };
}
