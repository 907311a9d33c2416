import { Command, Option } from 'commander';
import { evaluationJson, SPLITS, type Evaluation, type SplitName } from '../evaluate/evaluate.js';
import type { PartClusters } from '../evaluate/clusters.js';
import { CLUSTER_COUNTS, type Follow } from '../evaluate/metrics/index.js';
import type { FilterScores, ScoredSets } from '../evaluate/filter_scores.js';
import { loadExplainer } from '../explainer.js';
import {
  addDeviceFlags,
  addRuntimeFlag,
  performerOptions,
  positive,
  positiveInteger,
  type PerformerFlags,
} from './flags.js';
import { ProgressLine, withInterrupt } from './progress.js';
import { table } from './table.js';

interface EvaluateFlags extends PerformerFlags {
  landmarks?: string;
  split: SplitName;
  noise?: number;
  jitter?: true | number;
  masks?: string;
  json?: boolean;
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('Score a run: location instability with its controls, reconstruction, head.')
    .argument('<run>', 'run folder of train')
    .option('--landmarks <file.csv>', 'part positions: image,category,part,y,x')
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
              signal,
              onWarning,
              onProgress: (done, total) =>
                line.show(`scoring ${String(done)}/${String(total)} images`),
            }),
          () => line.note('stopping'),
        );
        line.clear();
        const json = JSON.stringify(evaluationJson(evaluation), null, 2);
        console.log(flags.json ? json : showEvaluation(evaluation));
      } finally {
        line.clear();
        explainer.dispose();
      }
    },
  );
}

/** The evaluation for people. */
export function showEvaluation({
  instability,
  p,
  deadFilters,
  reconstruction,
  head,
  follow,
  clusters,
}: Evaluation): string {
  const rebuilt = Object.entries(reconstruction).map(([name, error]) => [
    `  ${name}`,
    three(error),
  ]);
  const rest = table([
    ['share p carried by parts', three(p)],
    ['filters that never fire', String(deadFilters)],
    ['relative error on validation images', ''],
    ...rebuilt,
    ["performer's head on rebuilt features", ''],
    ...(head.correlation === undefined
      ? [
          ['  agreement', three(head.agreement)],
          ['  KL divergence, nats', three(head.kl)],
        ]
      : [['  correlation of the score', three(head.correlation)]]),
    ['  error of performer', three(head.performerError)],
    ['  error of explainer', three(head.explainerError)],
    ['  images', String(head.images)],
  ]);
  const tables = [
    instability && showFilters(instability),
    follow && showFollow(follow),
    clusters && showClusters(clusters),
    rest,
  ];
  return tables.filter((text) => text !== undefined).join('\n\n');
}

/** What landmarks tell of the filters: a column for each set. */
function showFilters({ controls, landmarks, ...sets }: ScoredSets): string {
  const { performer, layer1, layer2 } = sets;
  const row = (name: string, of: (scores: FilterScores) => string): string[] => [
    `  ${name}`,
    ...[performer, layer1, layer2].map(of),
  ];
  const columns = table([
    ['filters of', 'performer', 'conv_interp_1', 'conv_interp_2'],
    row('location instability (lower is better)', ({ value }) => three(value)),
    row('purity', ({ parts }) => three(parts.purity)),
    row('consistency', ({ consistency }) => three(consistency.value)),
    ...(layer2.noise ? [row('stability under noise', ({ noise }) => three(noise?.value))] : []),
    row(`parts covered, of ${String(layer2.parts.landmarks.length)}`, ({ parts }) =>
      String(parts.covered.length),
    ),
    row('duplicates', ({ parts, peaks }) => `${String(parts.duplicates)}/${String(peaks.filters)}`),
  ]);
  const rest = table([
    ['controls of location instability', ''],
    ['  best fixed position', three(controls.fixedPositionBest)],
    ['  image centre', three(controls.fixedPositionCentre)],
    ['  random positions', three(controls.random)],
    ['  images / landmarks', `${String(layer2.images)} / ${String(landmarks)}`],
  ]);
  return `${columns}\n\n${rest}`;
}

const SET_NAMES: Record<string, string> = { layer1: 'conv_interp_1', layer2: 'conv_interp_2' };

/** Filters as clusters of what shows parts: a row for each set. */
export function showClusters({ from, photographs, cells, labels, sets }: PartClusters): string {
  const rows = Object.entries(sets).map(([name, scores]) => [
    `  ${SET_NAMES[name] ?? name}`,
    ...scores.flatMap(({ nmi, ari, purity }) => [nmi, ari, purity].map(three)),
  ]);
  const of = `${String(labels)} parts, ${String(cells)} cells, ${String(photographs)} photographs`;
  const heads = CLUSTER_COUNTS.flatMap((n) =>
    ['NMI', 'ARI', 'purity'].map((s) => `${s} ${String(n)}`),
  );
  return table([[`clusters (${from}: ${of})`, ...heads], ...rows]);
}

/** How filters follow photographs that are placed elsewhere: a row for each set. */
export function showFollow(sets: Record<string, Follow>): string {
  const rows = Object.entries(sets).map(([name, set]) => [
    `  ${SET_NAMES[name] ?? name}`,
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
