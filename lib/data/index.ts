export * from './atomic.js';
export * from './feature_store.js';
export * from './fingerprint.js';
export * from './half.js';
export * from './images.js';
export * from './landmarks.js';
export * from './safetensors.js';
