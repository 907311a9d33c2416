import type { CodeScores } from './baselines/code_scores.js';
import { BASELINES, type BaselineName } from './baselines/names.js';
import type { Evaluation } from './evaluate.js';
import { CONTROLS, type FilterScores } from './filter_scores.js';
import { OWN_SETS } from './peak_sets.js';
import { setJson } from './set_json.js';
import { occlusionJson, tracksJson } from './track_json.js';
import { verdictOf } from './verdict.js';

/** The JSON of `partlens evaluate --json`; what cannot be told is null. */
export function evaluationJson(evaluation: Evaluation): Record<string, unknown> {
  const { instability, head, reconstruction } = evaluation;
  const ofSet = (name: string, scores: FilterScores | undefined): Record<string, unknown> => ({
    ...filterJson(scores),
    ...setJson(evaluation, name),
  });
  return {
    verdict: verdictOf(evaluation),
    performer: ofSet('performer', instability?.performer),
    explainer: {
      ...ofSet('layer2', instability?.layer2),
      layer1: ofSet('layer1', instability?.layer1),
    },
    controls: Object.fromEntries(
      CONTROLS.map((name) => [name, ofSet(name, instability?.controls[name])]),
    ),
    sources: Object.fromEntries(
      sourceNames(evaluation).map((name) => [name, ofSet(name, instability?.sources[name])]),
    ),
    baselines: Object.fromEntries(
      Object.entries(evaluation.codes).map(([name, code]) => [
        name,
        { ...ofSet(name, instability?.baselines[name as BaselineName]), code: codeJson(code) },
      ]),
    ),
    p: number(evaluation.p),
    ...tracksJson(evaluation),
    occlusion: occlusionJson(evaluation.occlusion),
    deadFilters: evaluation.deadFilters,
    reconstruction: Object.fromEntries(
      Object.entries(reconstruction).map(([name, error]) => [name, number(error)]),
    ),
    head: {
      agreement: number(head.agreement),
      correlation: number(head.correlation),
      performerError: number(head.performerError),
      explainerError: number(head.explainerError),
      kl: number(head.kl),
    },
    parts: instability?.layer2.parts.landmarks ?? [],
    images: instability?.layer2.images ?? 0,
    landmarks: instability?.landmarks ?? 0,
  };
}

/** Sources that have any score. */
function sourceNames({ instability, follow, clusters }: Evaluation): string[] {
  const known: readonly string[] = [...OWN_SETS, ...CONTROLS, ...BASELINES];
  const all = [instability?.sources, follow, clusters?.sets].flatMap((of) => Object.keys(of ?? {}));
  return [...new Set(all)].filter((name) => !known.includes(name));
}

function codeJson({ agreement, kl, mae, halfL1, error }: CodeScores): Record<string, unknown> {
  return {
    agreement: number(agreement),
    kl: number(kl),
    mae: number(mae),
    halfL1: number(halfL1),
    error: number(error),
  };
}

function filterJson(scores: FilterScores | undefined): Record<string, unknown> {
  return {
    locationInstability: number(scores?.value),
    vectorInstability: number(scores?.vector.value),
    r2: {
      mean: number(scores?.r2.mean),
      distinctMean: number(scores?.r2.distinctMean),
      distinct: number(scores?.r2.distinct),
      above: number(scores?.r2.above),
    },
    allCategoryRatio: number(scores?.allCategoryRatio.distance),
    allCategoryVectorRatio: number(scores?.allCategoryRatio.vector),
    filtersPerCategory: {
      distinct: scores?.perCategory.distinct ?? {},
      above: scores?.perCategory.above ?? {},
      served: number(scores?.perCategory.served),
    },
    purity: number(scores?.parts.purity),
    consistency: number(scores?.consistency.value),
    noiseStability: number(scores?.noise?.value),
    covered: scores?.parts.covered ?? [],
    duplicates: number(scores?.parts.duplicates),
  };
}

function number(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : value;
}
