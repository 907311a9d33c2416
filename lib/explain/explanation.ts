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
  /** Class score with this part alone minus class score with nothing: no other part, no ordinary track. */
  alone: number;
  /** Class score that is lost without this part and all parts that peak within two cells. */
  removed: number;
  /** Its group: index into `groups`. */
  group: number;
  /** Its map behind the mask, (n, n). */
  map: Float32Array;
}

/** Parts at one place: all that peak within two cells of the first, unless they belong to an earlier group. */
export interface PartGroup {
  /** The part that leads it first; the place of the group is that part's. */
  filters: number[];
  /**
   * Its Shapley value among the groups, the ordinary track on and off (mean of both): what it adds to those
   * before it, mean over all orders. Those of all groups and of the ordinary track sum to the class score minus
   * that of nothing.
   */
  value: number;
  /** Standard error of the value: 0 where all coalitions were computed. */
  error: number;
  /** Class score that is lost without the group, all others present. */
  removed: number;
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
  /** Weight of the parts' track in the mix, 0..1: not what parts carry, see `share`. */
  p: number;
  /** Share of this class score that comes through parts: tracks.interpretable / their sum; NaN if that is not > 0. */
  share: number;
  /** Filters of the layer. */
  filters: number;
  /** Those that answer in this image, by group, and in it the largest `alone` first. */
  parts: ActivePart[];
  /** Largest Shapley value first. */
  groups: PartGroup[];
  /** How the values of the groups were found: of all coalitions up to eight groups, else of random orders. */
  shapley: { exact: boolean; coalitions: number };
  /** Shapley values of the two tracks: their sum is the class score minus that of nothing. */
  tracks: { interpretable: number; ordinary: number };
  /**
   * Control: what a filter drawn at random from all filters, silent ones included, gives alone (exactly: mean
   * and mean size over all of them), beside the mean of the best five.
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
  /** Random orders of the curves, and half of those of Shapley values, an even number, default 16. */
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
