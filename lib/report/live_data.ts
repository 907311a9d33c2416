import type { Curve, Frame, Picture, Spot } from './data.js';

export type LiveState = 'running' | 'paused' | 'stopping' | 'ended';

/** Everything that a live page shows; sent whole when it opens, then what has changed. */
export interface LiveData {
  state: LiveState;
  /** Where the run is, for people. */
  status: string;
  /** Share of the run that is done, 0..1. */
  share: number;
  frame: Frame;
  /** Photographs on which parts are shown. */
  pictures: Picture[];
  parts: LiveParts;
  /** Why there are no part pictures. */
  problem?: string;
  curves: Curve[];
}

/** Some part filters on their strongest photographs, in the middle of a run. */
export interface LiveParts {
  /** Steps done; 0: none yet. */
  step: number;
  filters: { filter: number; spots: Spot[] }[];
}
