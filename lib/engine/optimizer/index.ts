export { clipGradients } from './clip.js';
export { adam, type AdamOptions } from './adam.js';
export { sgd, type SgdOptions } from './sgd.js';
export { cosine, hyperParameters } from './schedule.js';
