export { describeValues, type DescribedValue, type DescribeOptions } from './describe.js';
export type { RuntimeModel } from './model_source.js';
export {
  createOnnxRuntimeRunner,
  OnnxRuntimeRunner,
  type OnnxRuntimeOptions,
} from './onnxruntime.js';
export { INSTALL, WorkerHost } from './worker_host.js';
export type { OnnxRuntimeInfo, Runner, RunnerInfo, RuntimeProgram, TensorRef } from './runner.js';
