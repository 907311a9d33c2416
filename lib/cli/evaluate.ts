import { Command, Option } from 'commander';
import { CLUSTER_COUNTS, type Follow } from '../evaluate/metrics/index.js';
import type { PartClusters } from '../evaluate/clusters.js';
import type { BaselineName } from '../evaluate/baselines/names.js';
import { SPLITS, type Evaluation, type SplitName } from '../evaluate/evaluate.js';
import { evaluationJson } from '../evaluate/evaluation_json.js';
import type { FilterScores, ScoredSets } from '../evaluate/filter_scores.js';
import { FOOLED_BY, SET_WORDS } from '../evaluate/score_words.js';
import type { OcclusionFalls, PairedDifference } from '../evaluate/metrics/index.js';
import { occlusionVerdict, type OcclusionCheck } from '../evaluate/occlusion.js';
import { verdictLines, verdictOf } from '../evaluate/verdict.js';
import { loadExplainer } from '../explainer.js';
import {
  addDeviceFlags,
  addRuntimeFlag,
  countFrom0,
  performerOptions,
  positive,
  positiveInteger,
  type PerformerFlags,
} from './flags.js';
import { withInterrupt } from './interrupt.js';
import { ProgressLine } from './progress.js';
import { table } from './table.js';
import { print, printJson } from './terminal.js';

interface EvaluateFlags extends PerformerFlags {
  landmarks?: string;
  split: SplitName;
  noise?: number;
  jitter?: true | number;
  masks?: string;
  baselines?: boolean;
  occlusion?: number;
  json?: boolean;
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('Score a run: location instability with its controls, reconstruction, head.')
    .argument('<run>', 'run folder of train')
    .option(
      '--landmarks <path>',
      'part positions: CSV, COCO, Labelme, CVAT or CUB (docs/landmarks.md)',
    )
    .addOption(
      new Option('--split <name>', 'photographs whose landmarks are scored')
        .choices(SPLITS)
        .default('all'),
    )
    .option(
      '--noise <deviation>',
      'also score stability under noise in the photographs, such as 0.2 of normalised pixels',
      positive,
    )
    .option(
      '--jitter [photographs]',
      'also score whether filters follow photographs placed elsewhere (of at most 400)',
      positiveInteger,
    )
    .option(
      '--masks <folder>',
      'part masks: grey PNGs of labels, with the paths of the photographs',
    )
    .option(
      '--occlusion <count>',
      'photographs kept out on which contributions are held against the CNN itself; 0: none (default: 75, ' +
        'fewer for large networks)',
      countFrom0,
    )
    .option(
      '--baselines',
      'also score PCA, k-means, NMF and a sparse autoencoder of as many filters, fitted on the features',
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  partlens evaluate run/ --landmarks photos/landmarks.csv');
  return addDeviceFlags(addRuntimeFlag(command)).action(
    async (run: string, flags: EvaluateFlags) => {
      const line = new ProgressLine();
      const onWarning = (text: string): void => line.note(`warning: ${text}`);
      const explainer = await loadExplainer(run, { ...performerOptions(flags), onWarning });
      try {
        const evaluation = await withInterrupt(
          (signal) =>
            explainer.evaluate({
              landmarks: flags.landmarks,
              split: flags.split,
              noise: flags.noise,
              jitter: flags.jitter,
              masks: flags.masks,
              baselines: flags.baselines,
              occlusion: flags.occlusion,
              signal,
              onWarning,
              onFit: (name) => line.show(`fitting ${SET_WORDS[name] ?? name}`),
              onProgress: (done, total) =>
                line.show(`scoring ${String(done)}/${String(total)} images`),
            }),
          () => line.note('stopping'),
        );
        line.clear();
        if (flags.json) printJson(evaluationJson(evaluation));
        else print(showEvaluation(evaluation));
      } finally {
        line.clear();
        explainer.dispose();
      }
    },
  );
}

/** The evaluation for people: the verdict in sentences, then the numbers. */
export function showEvaluation(evaluation: Evaluation): string {
  const { instability, occlusion, follow, clusters, codes } = evaluation;
  const tables = [
    verdictLines(verdictOf(evaluation)).join('\n'),
    instability && showFilters(instability),
    follow && showFollow(follow),
    clusters && showClusters(clusters),
    showRebuilt(evaluation),
    Object.keys(codes).length > 0 ? showBaselines(codes, instability) : undefined,
    occlusion && showOcclusion(occlusion),
  ];
  return tables.filter((text) => text !== undefined).join('\n\n');
}

/** What goes through the tracks, and how well all is rebuilt. */
function showRebuilt({ p, tracks, deadFilters, reconstruction, head }: Evaluation): string {
  const rebuilt = Object.entries(reconstruction).map(([name, error]) => [
    `  ${name}`,
    three(error),
  ]);
  return table([
    ['share of the class score through parts', three(tracks.share)],
    ["p, the parts' share of the rebuilt features", three(p)],
    ['class follows swapped parts', three(tracks.swap)],
    ['filters that never fire', String(deadFilters)],
    ['relative error on validation images', ''],
    ...rebuilt,
    ["performer's head on rebuilt features", ''],
    ...(head.correlation === undefined
      ? [
          ['  agreement', three(head.agreement)],
          ['    of the parts alone', three(tracks.agreement.parts)],
          ['    of the ordinary track alone', three(tracks.agreement.ordinary)],
          ['  KL divergence, nats', three(head.kl)],
          ['  half L1 of all classes', three(head.halfL1)],
        ]
      : [['  correlation of the score', three(head.correlation)]]),
    ['  mean error of the logits', three(head.mae)],
    ['  error of performer', three(head.performerError)],
    ['  error of explainer', three(head.explainerError)],
    ['  images', String(head.images)],
  ]);
}

/** Baselines: their codes through the performer's own later layers, their maps where there are landmarks. */
function showBaselines(codes: Evaluation['codes'], scored: ScoredSets | undefined): string {
  const rows = Object.entries(codes).map(([name, code]) => [
    `  ${SET_WORDS[name] ?? name}`,
    ...[code.error, code.agreement, code.kl, code.mae, code.halfL1].map(three),
    ...(scored ? locations(scored.baselines[name as BaselineName]) : []),
  ]);
  const columns = ['baselines', 'error', 'agreement', 'KL', 'logits', 'half L1'];
  return table([[...columns, ...(scored ? LOCATIONS : [])], ...rows]);
}

/** How much the performer's own score falls under a square, and whether contributions hold for it. */
export function showOcclusion(check: OcclusionCheck): string {
  const row = (name: string, of: (falls: OcclusionFalls) => string): string[] => [
    `  ${name}`,
    of(check),
    of(check.alone),
  ];
  const paired = ({ pairedDifference, standardError }: PairedDifference): string =>
    `${three(pairedDifference)} +- ${three(standardError)}`;
  const rows = table([
    ["fall of the CNN's own score under a square at", 'by group removed', 'by part alone'],
    row('the largest contribution', ({ largest }) => three(largest)),
    row('the smallest', ({ smallest }) => three(smallest)),
    row('a filter at random', ({ random }) => three(random)),
    row('the peak of the energy', ({ energy }) => three(energy)),
    row('a random place', ({ randomPlace }) => three(randomPlace)),
    row('largest - smallest, paired', paired),
    row('largest - energy, paired', ({ againstEnergy }) => paired(againstEnergy)),
    ['  photographs', String(check.images), ''],
  ]);
  return `${rows}\n${occlusionVerdict(check)}`;
}

/** What landmarks tell: a column for each set of the run, then a row for each control. */
function showFilters({ controls, sources, landmarks, ...sets }: ScoredSets): string {
  const { performer, layer1, layer2 } = sets;
  const row = (name: string, of: (scores: FilterScores) => string): string[] => [
    `  ${name}`,
    ...[performer, layer1, layer2].map(of),
  ];
  const columns = table([
    ['filters of', 'performer', 'conv_interp_1', 'conv_interp_2'],
    row('location instability (lower is better)', ({ value }) => three(value)),
    row('vector instability (lower is better)', ({ vector }) => three(vector.value)),
    row('R2 of the best part', ({ r2 }) => three(r2.mean)),
    row('  of distinct filters', ({ r2 }) => three(r2.distinctMean)),
    row('distinct filters of R2 > 0.3', ({ r2 }) => `${String(r2.above)}/${String(r2.distinct)}`),
    row(`categories with three of them, of ${count(layer2.perCategory.distinct)}`, (scores) =>
      String(scores.perCategory.served),
    ),
    row('all-category ratio', (scores) => three(scores.allCategoryRatio.distance)),
    row('  of vector instability', (scores) => three(scores.allCategoryRatio.vector)),
    row('purity', ({ parts }) => three(parts.purity)),
    row('consistency', ({ consistency }) => three(consistency.value)),
    ...(layer2.noise ? [row('stability under noise', ({ noise }) => three(noise?.value))] : []),
    row(`parts covered, of ${String(layer2.parts.landmarks.length)}`, ({ parts }) =>
      String(parts.covered.length),
    ),
    row('duplicates', ({ parts, peaks }) => `${String(parts.duplicates)}/${String(peaks.filters)}`),
  ]);
  return [columns, showControls({ ...controls, ...sources }), perCategory(layer2), fooledBy()]
    .join('\n\n')
    .concat(`\n\nimages / landmarks  ${String(layer2.images)} / ${String(landmarks)}`);
}

/** The same scores of what has to be beaten: a row for each. */
function showControls(controls: Readonly<Record<string, FilterScores>>): string {
  return table([
    ['controls', ...LOCATIONS],
    ...Object.entries(controls).map(([name, scores]) => [
      `  ${SET_WORDS[name] ?? name}`,
      ...locations(scores),
    ]),
  ]);
}

const LOCATIONS = ['location', 'vector', 'R2', 'R2 > 0.3', 'all', 'all, vector', 'purity'];

function locations(scores: FilterScores | undefined): string[] {
  return [
    three(scores?.value),
    three(scores?.vector.value),
    three(scores?.r2.mean),
    scores ? `${String(scores.r2.above)}/${String(scores.r2.distinct)}` : '-',
    three(scores?.allCategoryRatio.distance),
    three(scores?.allCategoryRatio.vector),
    three(scores?.parts.purity),
  ];
}

/** Which categories the filters of conv_interp_2 serve. */
function perCategory({ perCategory: { distinct, above } }: FilterScores): string {
  return table([
    ['conv_interp_2 by category', 'distinct', 'R2 > 0.3'],
    ...Object.entries(distinct).map(([name, filters]) => [
      `  ${name}`,
      String(filters),
      String(above[name] ?? 0),
    ]),
  ]);
}

function fooledBy(): string {
  const rows = FOOLED_BY.map(([score, by]) => [`  ${score}`, by]);
  return table([['what fools each score', ''], ...rows]);
}

function count(named: Readonly<Record<string, unknown>>): string {
  return String(Object.keys(named).length);
}

/** Filters as clusters of what shows parts: a row for each set. */
export function showClusters(clusters: PartClusters): string {
  const { from, photographs, cells, labels, sets, probes } = clusters;
  const rows = Object.entries(sets).map(([name, scores]) => [
    `  ${SET_WORDS[name] ?? name}`,
    ...scores.flatMap(({ nmi, ari, purity }) => [nmi, ari, purity].map(three)),
    ...[probes[name]?.accuracy, probes[name]?.nmi, probes[name]?.ari].map(three),
  ]);
  const of = `${String(labels)} parts, ${String(cells)} cells, ${String(photographs)} photographs`;
  const heads = CLUSTER_COUNTS.flatMap((n) =>
    ['NMI', 'ARI', 'purity'].map((s) => `${s} ${String(n)}`),
  );
  const probe = ['probe right', 'NMI', 'ARI'];
  return table([[`clusters (${from}: ${of})`, ...heads, ...probe], ...rows]);
}

/** How filters follow photographs that are placed elsewhere: a row for each set. */
export function showFollow(sets: Record<string, Follow>): string {
  const rows = Object.entries(sets).map(([name, set]) => [
    `  ${SET_WORDS[name] ?? name}`,
    ...[set.mean, set.median, set.within, set.stay].map(three),
    String(set.filters),
  ]);
  const { images = 0 } = Object.values(sets)[0] ?? {};
  const title = `follow (1: moves with the photograph), ${String(images)} photographs`;
  return table([[title, 'mean', 'median', 'near', 'near if it stays', 'filters'], ...rows]);
}

function three(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(3);
}
