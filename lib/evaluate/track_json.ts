import type { HeadScores, OcclusionFalls, TrackScores } from './metrics/index.js';
import type { OcclusionCheck } from './occlusion.js';

type Json = Record<string, unknown>;

/** `share`, `agreement`, `swap` and `logits` of the evaluation's JSON; what cannot be told is null. */
export function tracksJson({ tracks, head }: { tracks: TrackScores; head: HeadScores }): Json {
  const { share, agreement, swap } = tracks;
  return {
    share: finite(share),
    agreement: {
      full: finite(agreement.full),
      parts: finite(agreement.parts),
      ordinary: finite(agreement.ordinary),
    },
    swap: finite(swap),
    logits: { mae: finite(head.mae), halfL1: finite(head.halfL1) },
  };
}

/** `occlusion` of the evaluation's JSON; null where there is none. */
export function occlusionJson(check: OcclusionCheck | undefined): Json | null {
  if (!check) return null;
  return { images: check.images, ...fallsJson(check), alone: fallsJson(check.alone) };
}

function fallsJson(falls: OcclusionFalls): Json {
  const { againstEnergy } = falls;
  return {
    largest: finite(falls.largest),
    smallest: finite(falls.smallest),
    random: finite(falls.random),
    energy: finite(falls.energy),
    randomPlace: finite(falls.randomPlace),
    pairedDifference: finite(falls.pairedDifference),
    standardError: finite(falls.standardError),
    againstEnergy: {
      pairedDifference: finite(againstEnergy.pairedDifference),
      standardError: finite(againstEnergy.standardError),
    },
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
