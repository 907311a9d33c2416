export { exportMaps, type ExportMapsOptions } from './npz.js';
export { exportOnnx, type ExportedModel, type ExportOnnxOptions } from './onnx.js';
export { exportSafetensors } from './safetensors.js';
export { extractValues, type ExtractedValues, type ExtractValuesOptions } from './values.js';
