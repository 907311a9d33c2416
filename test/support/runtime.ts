import type { ModelProto } from '../../lib/performer/onnx_proto.js';
import {
  createOnnxRuntimeRunner,
  type OnnxRuntimeOptions,
  type OnnxRuntimeRunner,
  type RuntimeProgram,
  type TensorRef,
} from '../../lib/performer/runtime/index.js';
import { loadOnnxRuntime } from './onnxruntime.js';

/** Skips a suite where the peer is not installed, aloud. */
export async function needOnnxRuntime(this: Mocha.Context): Promise<void> {
  if (await loadOnnxRuntime()) return;
  console.log('    skipped: onnxruntime-node is not installed');
  this.skip();
}

/** A value with the sizes of one image. */
export const ref = (name: string, tensor: string, ...dims: number[]): TensorRef => ({
  name,
  tensor,
  dims,
});
/** Programs of `smallNet`. */
export const IMAGE = ref('x', 'image', 3, 8, 8);
export const LOGITS = ref('output', 'logits', 5);
/** All of `smallNet`. */
export const whole: RuntimeProgram = { inputs: [IMAGE], outputs: [LOGITS] };

/** A runner of a generated model, two images at a time. */
export function open(
  model: ModelProto,
  programs: Record<string, RuntimeProgram>,
  options: OnnxRuntimeOptions = {},
): Promise<OnnxRuntimeRunner> {
  return createOnnxRuntimeRunner({ path: 'generated.onnx', model }, programs, {
    batch: 2,
    threads: 1,
    ...options,
  });
}

/** One output of one program that is called `p`. */
export async function compute(
  model: ModelProto,
  program: RuntimeProgram,
  inputs: Record<string, Float32Array>,
  options: OnnxRuntimeOptions = {},
): Promise<Float32Array> {
  using runner = await open(model, { p: program }, options);
  const [output = LOGITS] = program.outputs;
  const got = await runner.run('p', { inputs, fetch: [output.name] });
  return got[output.name] ?? new Float32Array(0);
}
