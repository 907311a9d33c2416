import type { FilterScores, ScoredSets } from '../evaluate/filter_scores.js';
import { FOOLED_BY, SET_WORDS } from '../evaluate/score_words.js';
import type { ComparedSet, ReportData } from './data.js';
import { finite } from './filters.js';

/** The scores of the run's sets, of every control and of the baselines. */
export function comparisonOf(scored: ScoredSets | undefined): ReportData['comparison'] {
  if (!scored) return undefined;
  const { performer, layer1, layer2, controls, baselines } = scored;
  const sets = { layer2, layer1, performer, ...controls, ...baselines };
  return {
    sets: Object.entries(sets).map(([name, scores]) => comparedSet(name, scores)),
    fooledBy: FOOLED_BY,
  };
}

function comparedSet(name: string, scores: FilterScores): ComparedSet {
  const { value, vector, r2, allCategoryRatio, perCategory } = scores;
  return {
    name,
    title: SET_WORDS[name] ?? name,
    location: finite(value),
    vector: finite(vector.value),
    r2: finite(r2.distinctMean),
    distinct: r2.distinct,
    above: r2.above,
    allCategoryRatio: finite(allCategoryRatio.distance),
    served: perCategory.served,
  };
}
