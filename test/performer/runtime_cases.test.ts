import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { sizeOf } from '../../lib/engine/tensor.js';
import {
  createOnnxRuntimeRunner,
  describeValues,
  type RuntimeProgram,
  type TensorRef,
} from '../../lib/performer/runtime/index.js';
import { loadOnnxRuntime } from '../support/onnxruntime.js';

/** What expected.json says of a file of ../shared/cases/onnx. */
interface Case {
  input: { name: string; type: string; shape: number[]; rule: string };
  outputs: Record<string, { dims: number[]; values: number[] }>;
  maps?: { name: string; dims: number[]; first: number[]; sumAbs: number };
}

/** The reference is one draw of a dropout left in training mode, which the runtime takes out. */
const DRAWN = new Set(['dropout_training_true.onnx']);

/** Files whose sizes are asked for as well: odd layouts, open sizes, functions, quantized values. */
const MEASURED = new Set([
  'if_squeeze.onnx',
  'input_hw_named.onnx',
  'int8_qdq.onnx',
  'keras_nhwc_flatten.onnx',
  'local_function_conv_relu.onnx',
  'maxpool_ceil_last_window_in_padding.onnx',
]);

const folder = fileURLToPath(new URL('../../../shared/cases/onnx/', import.meta.url));

/** The input that the file's values belong to. */
function inputOf({ input }: Case): Float32Array {
  const bytes = input.rule.endsWith('mod 256');
  return Float32Array.from({ length: sizeOf(input.shape) }, (_, i) =>
    bytes ? (i * 7919) % 256 : ((i * 7919) % 1000) / 500 - 1,
  );
}

function ref(name: string, tensor: string, dims: readonly number[]): TensorRef {
  return { name, tensor, dims: dims.slice(1) };
}

/** Largest difference over the largest value. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [largest, top] = [0, 1e-30];
  for (let i = 0; i < b.length; i++) {
    const d = Math.abs((a[i] ?? NaN) - (b[i] ?? NaN));
    largest = Number.isNaN(d) ? Infinity : Math.max(largest, d);
    top = Math.max(top, Math.abs(b[i] ?? 0));
  }
  return largest / top;
}

const sumAbs = (data: Float32Array): number => data.reduce((sum, x) => sum + Math.abs(x), 0);

describe('onnxruntime runner on real files', function () {
  before(async function () {
    if ((await loadOnnxRuntime()) && existsSync(`${folder}expected.json`)) return;
    console.log('    skipped: ../shared/cases/onnx or onnxruntime-node is missing');
    this.skip();
  });

  const text = existsSync(`${folder}expected.json`)
    ? readFileSync(`${folder}expected.json`, 'utf8')
    : '{}';
  for (const [file, one] of Object.entries(JSON.parse(text) as Record<string, Case>)) {
    it(file, async () => {
      const { input, outputs, maps } = one;
      const tolerance = file.includes('fp16') ? 2e-3 : 1e-4;
      const images = inputOf(one);
      const results = Object.entries(outputs).map(([name, { dims }]) => ref(name, name, dims));
      const x = ref('x', input.name, input.shape);
      const middle = maps ? [ref('maps', maps.name, maps.dims)] : [];
      const model = { path: folder + file };
      const programs: Record<string, RuntimeProgram> = {
        whole: { inputs: [x], outputs: [...middle, ...results] },
      };
      if (maps) programs['tail'] = { inputs: middle, outputs: results };
      using runner = await createOnnxRuntimeRunner(model, programs, { batch: 2, threads: 1 });
      const fetch = results.map(({ name }) => name);
      const got = await runner.run('whole', {
        inputs: { x: images },
        fetch: maps ? ['maps', ...fetch] : fetch,
      });
      const compared = DRAWN.has(file) ? [] : Object.entries(outputs);
      for (const [name, { values }] of compared) {
        expect(difference(got[name] ?? [], values), name).to.be.below(tolerance);
      }
      if (!maps) return;
      const layer = got['maps'] ?? new Float32Array(0);
      expect(difference(layer.subarray(0, maps.first.length), maps.first), 'maps').to.be.below(
        tolerance,
      );
      expect(sumAbs(layer) / maps.sumAbs, 'sum of maps').to.be.closeTo(1, tolerance);
      const tail = await runner.run('tail', { inputs: { maps: layer }, fetch });
      for (const [name, { values }] of compared) {
        expect(difference(tail[name] ?? [], values), `${name} from maps`).to.be.below(tolerance);
      }
      if (!MEASURED.has(file)) return;
      const sizes = await describeValues(model, { names: [maps.name], size: 16 });
      expect(sizes.get(maps.name)?.dims).to.deep.equal(maps.dims);
    });
  }
});
