export { listImages, readImage, type ImageFile } from './data/images.js';
export { loadBinding, type DeviceInfo } from './engine/binding.js';
export { PartlensError, type ErrorCode } from './errors.js';
export type { CodeScores } from './evaluate/baselines/code_scores.js';
export type { EvaluateOptions, Evaluation } from './evaluate/evaluate.js';
export { evaluationJson } from './evaluate/evaluation_json.js';
export type { Finding } from './evaluate/findings.js';
export type { NextStep } from './evaluate/next_steps.js';
export { verdictLines, verdictOf, type Verdict } from './evaluate/verdict.js';
export type { CodeSource, MapSource } from './evaluate/map_source.js';
export {
  occlusionCheck,
  occlusionVerdict,
  type OcclusionCheck,
  type OcclusionOptions,
} from './evaluate/occlusion.js';
export { Explainer, loadExplainer, trainExplainer } from './explainer.js';
export type { Encoding, ExplainerMaps } from './explainer/trained.js';
export * from './explain/explanation.js';
export * from './export/index.js';
export { explanationPage } from './explain/page.js';
export { drawExplanation } from './explain/picture.js';
export type { TrainOptions, TrainOptionsInput } from './explainer/options.js';
export type { TrainExplainerOptions, TrainProgress } from './explainer/train.js';
export * as metrics from './evaluate/metrics/index.js';
export {
  inspectModel,
  loadPerformer,
  Performer,
  type Inspection,
  type LoadPerformerOptions,
  type Preprocessing,
} from './performer/index.js';
export {
  writeReport,
  type ReportOptions,
  type ReportProgress,
  type WrittenReport,
} from './report/report.js';
export type { BackendChoice, DeviceOptions, SessionInfo } from './engine/session.js';
export { VERSION } from './version.js';
