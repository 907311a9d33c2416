export type { Annotations } from '../../data/landmarks.js';
export * from './consistency.js';
export * from './controls.js';
export * from './follow.js';
export * from './head.js';
export * from './location_instability.js';
export * from './parts.js';
export * from './peaks.js';
export * from './reconstruction.js';
