export { inspectModel, type ExplainableLayer, type Inspection } from './inspect.js';
export type { FeatureInfo, Geometry, LayerInfo } from './layer_info.js';
export { OnnxBuilder } from './onnx_builder.js';
export {
  buildModel,
  encodeModel,
  type ModelSpec,
  type NodeSpec,
  type TensorSpec,
  type ValueSpec,
} from './onnx_write.js';
export { loadPerformer, type LoadPerformerOptions } from './load.js';
export { Performer, type PerformerAnswer, type PerformerFeatures } from './performer.js';
export { readSidecar, sidecarPath, type Preprocessing, type Sidecar } from './preprocessing.js';
export { poolAttributes } from './step_onnx.js';
export type { TailPart } from './tail_part.js';
export { addPerformer } from './to_onnx.js';
export type { RunnerInfo } from './runtime/index.js';
export { RUNTIMES, type RuntimeChoice, type RuntimeUse } from './with_runtime.js';
export { firstClass } from './first_class.js';
