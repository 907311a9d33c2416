import type { Box, Frame, Place } from '../performer/place.js';

export type { Box, Frame, Place };

/** A class as the performer's head names it. */
export interface ClassScore {
  /** Index of the output. */
  index: number;
  /** From the model's JSON file; without one `class 7`. */
  name: string;
  /** 0..1: the softmax of the outputs. */
  probability: number;
  /** The logit; where the performer ends in a softmax, the natural logarithm of the probability. */
  score: number;
}

/** The landmark that a filter meets most often. */
export interface KnownPart {
  name: string;
  /** Category on which the filter is strongest; empty where landmarks have none. */
  category: string;
  /** Share of the filter's top images whose peak is near this landmark, 0..1. */
  purity: number;
}

/** A filter of conv_interp_2 that answers in the image. */
export interface ActivePart {
  filter: number;
  /** Undefined where landmarks never met the filter, or were never given. */
  part: KnownPart | undefined;
  place: Place;
  /** Largest value of its map, in the filter's own units. */
  activation: number;
  /** Its sum behind mask, pooling and norm layer: 1 is what training images have on average. */
  strength: number;
  /** Class score with the filter minus class score with its map switched off. */
  contribution: number;
  /** Its map behind the mask, (n, n). */
  map: Float32Array;
}

/** Two filters that are switched off together. */
export interface PairContribution {
  filters: readonly [number, number];
  /** Class score with both minus class score without both. */
  contribution: number;
  /** What exceeds the sum of the two contributions. */
  interaction: number;
}

/** The class score while filters are switched off or on one after another. */
export interface Curve {
  /** Share of the active filters that are switched so far, 0..1. */
  share: number[];
  /** In order of contribution, largest first. */
  parts: number[];
  /** Mean over random orders of the same filters. */
  random: number[];
  /** Mean of each curve over the share (trapezoids): the area under it. */
  area: {
    parts: number;
    random: number;
    /** Standard deviation of the area between random orders. */
    deviation: number;
  };
}

/** What `Explainer.explain` finds: see there. */
export interface Explanation {
  /** Path of the photograph; undefined when bytes were given. */
  path: string | undefined;
  /** Size of the photograph, and where the cells of a map lie on it. */
  frame: Frame;
  /** The performer's own prediction. */
  prediction: ClassScore;
  /** The prediction of the performer's head on rebuilt features. */
  rebuilt: ClassScore;
  /** The class that is explained, with its score on rebuilt features. */
  explained: ClassScore;
  /** What `score` is. */
  unit: 'logit' | 'log probability';
  /** Share of the features that parts carry, 0..1. */
  p: number;
  /** Filters of the layer. */
  filters: number;
  /** Those that answer in this image, largest contribution first. */
  parts: ActivePart[];
  /** Pairs of the first five parts, largest contribution first. */
  pairs: PairContribution[];
  /** Contributions of a whole track, switched off as one. */
  tracks: { interpretable: number; ordinary: number };
  /**
   * Control: contribution of a filter drawn at random from all filters, silent ones included (exactly:
   * mean and mean size over all of them), beside the mean of the first five parts.
   */
  control: { random: number; randomSize: number; top: number };
  /** All filters on, then off one by one. A smaller area is better. */
  deletion: Curve;
  /** All filters off (the ordinary track stays), then on one by one. A larger area is better. */
  insertion: Curve;
  /** What a reader should know before believing the rest. */
  warnings: string[];
}

export interface ExplainOptions {
  /** Class to be explained, index or name; default: the performer's prediction. */
  class?: number | string | undefined;
  /** Random orders of the curves, an even number, default 16. */
  orders?: number | undefined;
  signal?: AbortSignal | undefined;
  onWarning?: ((text: string) => void) | undefined;
}

/** The JSON of `partlens explain --json`: everything but the maps; what cannot be told is null. */
export function explanationJson(explanation: Explanation): Record<string, unknown> {
  const { path, frame, ...rest } = explanation;
  const { width, height } = frame;
  const text = JSON.stringify({ image: { path, width, height }, ...rest }, (key, value: unknown) =>
    key === 'map' ? undefined : value,
  );
  return JSON.parse(text) as Record<string, unknown>;
}
