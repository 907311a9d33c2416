import { intervene, NOTHING, type EncodedImage } from '../explainer/interventions.js';
import type { Encoding, TrainedExplainer } from '../explainer/trained.js';
import { cellDistance, peaksOf, type TrackValues } from './metrics/index.js';

/** Parts whose peaks are at most that many cells apart are one group. */
export const REACH = 2;

/** A filter of conv_interp_2 that fires in an image. */
export interface AnsweringFilter {
  filter: number;
  /** Of its peak, row-major. */
  cell: number;
  /** Largest value of its map. */
  activation: number;
  /** Its sum behind mask, pooling and norm layer over sqrt(positions): 1 is the mean of training images. */
  strength: number;
}

/** What it gives to a class, through the performer's own later layers. */
export interface MeasuredFilter extends AnsweringFilter {
  /** Score with this part alone minus score with nothing: no part, no ordinary track. */
  alone: number;
  /** Score of all minus score without this part and all parts that peak within `reach` cells. */
  removed: number;
}

export interface MeasuredParts {
  parts: MeasuredFilter[];
  /** Scores with both tracks, with one and with neither. */
  tracks: TrackValues;
  /** The performer's outputs for these. */
  outputs: TrackValues<Float32Array>;
}

/** The filters that fire in an image, in their order. */
export function answeringFilters(
  { config, cells, positions }: TrainedExplainer,
  { layer2, interp }: Encoding,
): AnsweringFilter[] {
  const { filters } = config.network;
  const peaks = peaksOf(layer2, { images: 1, filters, cells });
  return Array.from({ length: filters }, (_, filter) => {
    const sum = interp
      .subarray(filter * positions, (filter + 1) * positions)
      .reduce((total, value) => total + value, 0);
    return {
      filter,
      cell: peaks.cell[filter] ?? 0,
      activation: peaks.value[filter] ?? 0,
      strength: sum / Math.sqrt(positions),
    };
  }).filter(({ activation }) => activation > 0);
}

/**
 * What each of the given parts gives to the score of an image: alone, added to nothing, and by what is
 * lost with its group. One part alone removed would say less: the next one takes its place. Throws the
 * signal's reason when it aborts.
 */
export async function measureParts(
  explainer: TrainedExplainer,
  image: EncodedImage,
  {
    found,
    score: scoreOfOutput,
    reach = REACH,
    signal,
  }: {
    found: readonly AnsweringFilter[];
    /** What is watched of the performer's output. */
    score: (output: Float32Array) => number;
    /** Cells around a part in which others are removed with it, default 2. */
    reach?: number;
    signal?: AbortSignal | undefined;
  },
): Promise<MeasuredParts> {
  const { performer, config } = explainer;
  const { columns } = gridSize(explainer);
  const every = Array.from({ length: config.network.filters }, (_, filter) => filter);
  const places = [...new Set(found.map(({ cell }) => cell))];
  const near = (place: number): number[] =>
    found.flatMap(({ filter, cell }) =>
      cellDistance(place, cell, columns) <= reach ? [filter] : [],
    );
  const answers = await intervene(
    explainer,
    image,
    [
      {},
      { ordinaryOff: true },
      { partsOff: true },
      NOTHING,
      ...found.map(({ filter }) => ({
        off: every.filter((other) => other !== filter),
        ordinaryOff: true,
      })),
      ...places.map((place) => ({ off: near(place) })),
    ],
    signal,
  );
  const { size } = performer.output;
  const row = (n: number): Float32Array => answers.subarray(n * size, (n + 1) * size);
  const score = (n: number): number => scoreOfOutput(row(n));
  const tracks = { full: score(0), parts: score(1), ordinary: score(2), none: score(3) };
  const parts = found.map((part, i) => ({
    ...part,
    alone: score(4 + i) - tracks.none,
    removed: tracks.full - score(4 + found.length + places.indexOf(part.cell)),
  }));
  const outputs = { full: row(0), parts: row(1), ordinary: row(2), none: row(3) };
  return { parts, tracks, outputs };
}

/** Cells of the explained maps. */
export function gridSize({ performer }: TrainedExplainer): { rows: number; columns: number } {
  return { rows: performer.layer.height, columns: performer.layer.width };
}
