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

/** The name that a filter bears in photographs of this category, as `evaluate` checked it. */
export interface KnownPart {
  name: string;
  /** Category of the photograph; empty where landmarks have none. */
  category: string;
  /** Whether its peaks lie inside the part, or nearer to it than to others and no more. */
  at: 'inside' | 'near';
  /** Share of the photographs that checked the name in which it holds, 0.7..1. */
  purity: number;
  /** How many these were; 0: never checked, by an earlier version. */
  photographs: number;
  /** `head`, or `near head`: as it is shown everywhere. */
  label: string;
}

/** A filter of conv_interp_2 that answers in the image. */
export interface ActivePart {
  filter: number;
  /** Undefined where no name holds in the photograph's category, or landmarks were never given. */
  part: KnownPart | undefined;
  place: Place;
  /** Largest value of its map, in the filter's own units. */
  activation: number;
  /** Its sum behind mask, pooling and norm layer: 1 is what training images have on average. */
  strength: number;
  /** Class score with this part alone minus class score with nothing: no other part, no ordinary track. */
  alone: number;
  /** Class score that is lost without this part and all parts that peak within one cell. */
  removed: number;
  /** Its region: index into `regions`. */
  region: number;
  /** Its map behind the mask, (n, n). */
  map: Float32Array;
}

/**
 * A region: filters that peak at one place, none more than one cell from that of the filter that leads it. What it
 * gives is measured as a set: all its filters are switched off together.
 */
export interface Region {
  /** The filter that leads it first; the place of the region is that filter's. */
  filters: number[];
  /** `head`, or `near head`, where names of its filters agree on it; else undefined. */
  name: string | undefined;
  /** Where it lies in the photograph: `upper left`. */
  where: string;
  /**
   * Its Shapley value among the regions, the ordinary track on and off (mean of both): what it adds to those
   * before it, mean over all orders. Those of all regions and of the ordinary track sum to the score minus that
   * of nothing.
   */
  value: number;
  /** Standard error of the value: 0 where all coalitions were computed. */
  error: number;
  /** Score that is lost without the region, all others present. */
  removed: number;
  /** Its value for the class rather than for `contrast.than`; undefined where there is one class alone. */
  rather: number | undefined;
}

/** The class beside another: scores are the difference of both. */
export interface Contrast {
  /** The class asked for by `versus`, else the one that rebuilt features call next. */
  than: ClassScore;
  /** What regions and ordinary track add to nothing, together. */
  total: number;
  /** What of it comes from the ordinary track. */
  ordinary: number;
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
  /** Which region mattered, in one sentence. */
  sentence: string;
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
  /** The class whose score is taken off in every number below, if one was asked for. */
  versus: ClassScore | undefined;
  /** Category of the photograph from which parts have their names; undefined where landmarks have none for it. */
  category: string | undefined;
  /** What `score` is. */
  unit: 'logit' | 'log probability';
  /** The parts' share of the rebuilt features, 0..1; what they carry of the score is `share`. */
  p: number;
  /** Share of this class score that comes through parts: tracks.interpretable / their sum; NaN if that is not > 0. */
  share: number;
  /** Filters of the layer. */
  filters: number;
  /** Those that answer in this image, by region, and in it the largest `alone` first. */
  parts: ActivePart[];
  /** Largest Shapley value first. */
  regions: Region[];
  /** Undefined for an output of one number. */
  contrast: Contrast | undefined;
  /** How the values of the regions were found: of all coalitions up to eight regions, else of random orders. */
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
  /** Class to be taken off, index or name: what speaks for the one rather than the other? Default: none. */
  versus?: number | string | undefined;
  /**
   * Category of the photograph, for the names of parts, which are never lent from another. Default: that of its
   * folder, if landmarks have it, else the class that the performer predicts.
   */
  category?: string | undefined;
  /**
   * Class that the photograph is known to be, index or name: where another is explained, the sentence compares with
   * this one. Default: with the class that rebuilt features call next.
   */
  truth?: number | string | undefined;
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
