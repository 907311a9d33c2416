// Trains explainers of one CNN with several settings, scores them beside their controls and prints the tables of
// docs/results.md:
//   npm run evidence -- --model M.onnx --images FOLDER --landmarks L.csv --classes a,b,c --out FOLDER
//     [--settings SETTINGS.json] [--layer NAME] [--targets A,B] [--decoder learned] [--baselines]
// SETTINGS.json: [{ "name": "...", "seeds": [1, 2, 3], ...options of training }]; without it those of
// bench/evidence_settings.ts: the default, the forms before it and every ablation. The folder keeps the features
// between settings.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  loadPerformer,
  metrics,
  trainExplainer,
  type Evaluation,
  type TrainOptionsInput,
} from '../lib/index.js';
import type { FilterScores } from '../lib/evaluate/filter_scores.js';
import { SETTINGS, type Setting } from './evidence_settings.js';

const text = { type: 'string' } as const;
const { values: given } = parseArgs({
  options: {
    ...{ model: text, images: text, landmarks: text, classes: text, out: text, settings: text },
    ...{ layer: text, targets: text, decoder: text, baselines: { type: 'boolean' } },
  },
});
const { model = '', images = '', landmarks = '', classes = '', out = '', settings } = given;
const wanted =
  settings === undefined ? SETTINGS : (JSON.parse(await readFile(settings, 'utf8')) as Setting[]);
const performer = await loadPerformer(model, {
  ...(given.layer === undefined ? {} : { layer: given.layer }),
  ...(given.targets === undefined ? {} : { targets: given.targets.split(',') }),
  decoder: given.decoder === 'learned' ? 'learned' : 'own',
  batch: 32,
});

/** One run from scratch; the features in the folder are reused. */
async function once(
  options: TrainOptionsInput,
  baselines: boolean,
): Promise<{ evaluation: Evaluation; seconds: number }> {
  for (const name of ['checkpoints', 'config.json', 'metrics.jsonl']) {
    await rm(join(out, name), { recursive: true, force: true });
  }
  const started = performance.now();
  const explainer = await trainExplainer({
    ...options,
    performer,
    images,
    classes: classes.split(','),
    out,
    checkpointEvery: 1_000_000,
  });
  const seconds = (performance.now() - started) / 1000;
  const evaluation = await explainer.evaluate({ landmarks, baselines });
  explainer.dispose();
  return { evaluation, seconds };
}

type Column = readonly [title: string, value: (of: Evaluation, seconds: number) => number];
type SetColumn = readonly [title: string, value: (scores: FilterScores) => number];

/** What a set of maps is worth. */
const OF_MAPS: readonly SetColumn[] = [
  ['instability', ({ value }) => value],
  ['vector', ({ vector }) => vector.value],
  ['R2', ({ r2 }) => r2.distinctMean],
  ['distinct', ({ r2 }) => r2.distinct],
  ['R2 > .3', ({ r2 }) => r2.above],
  ['all categories', ({ allCategoryRatio }) => allCategoryRatio.distance],
  ['served', ({ perCategory }) => perCategory.served],
  ['parts', ({ parts }) => parts.covered.length],
  ['purity', ({ parts }) => parts.purity],
];

/** What goes through the parts, and what they are. */
const OF_RUN: readonly Column[] = [
  ['agreement', ({ tracks }) => tracks.agreement.full],
  ['parts alone', ({ tracks }) => tracks.agreement.parts],
  ['share', ({ tracks }) => tracks.share],
  ['p', ({ p }) => p],
  ['KL', ({ head }) => head.kl],
  ['half L1', ({ head }) => head.halfL1],
  ['occlusion', ({ occlusion }) => occlusion?.pairedDifference ?? NaN],
  ...OF_MAPS.map(([title, of]): Column => [
    title,
    ({ instability }) => (instability ? of(instability.layer2) : NaN),
  ]),
  ['seconds', (_, seconds) => seconds],
];

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function header(titles: readonly string[]): string {
  return `\n${row(titles)}\n${row(titles.map(() => '---'))}`;
}

function shown(values: readonly number[]): string {
  const middle = metrics.mean(values);
  if (Number.isNaN(middle)) return '';
  const digits = Math.abs(middle) >= 10 ? 0 : 3;
  const spread = values.length > 1 ? ` ± ${metrics.deviation(values).toFixed(digits)}` : '';
  return `${middle.toFixed(digits)}${spread}`;
}

/** The performer's filters, every control and every baseline of one run. */
function others({ instability, codes }: Evaluation): string {
  if (!instability) return '';
  const { performer: own, layer1, controls, baselines } = instability;
  const sets = Object.entries({ performer: own, layer1, ...controls, ...baselines });
  const maps = sets.map(([name, scores]) =>
    row([name, ...OF_MAPS.map(([, of]) => shown([of(scores)]))]),
  );
  const rebuilt = Object.entries(codes).map(([name, { agreement, kl, mae, halfL1, error }]) =>
    row([name, ...[agreement, kl, mae, halfL1, error].map((value) => shown([value]))]),
  );
  return [
    header(['maps', ...OF_MAPS.map(([title]) => title)]),
    ...maps,
    ...(rebuilt.length > 0
      ? [header(['code', 'agreement', 'KL', 'logits', 'half L1', 'error']), ...rebuilt]
      : []),
  ].join('\n');
}

let beside = '';
console.log(header(['setting', ...OF_RUN.map(([title]) => title)]));
for (const { name, seeds = [1], ...options } of wanted) {
  const runs: number[][] = [];
  for (const seed of seeds) {
    const first = beside === '';
    const { evaluation, seconds } = await once(
      { ...options, seed },
      first && given.baselines === true,
    );
    if (first) beside = others(evaluation);
    runs.push(OF_RUN.map(([, of]) => of(evaluation, seconds)));
    console.error(
      name,
      seed,
      runs
        .at(-1)
        ?.map((value) => value.toFixed(4))
        .join(' '),
    );
  }
  const cells = OF_RUN.map((_, i) => shown(runs.map((values) => values[i] ?? NaN)));
  console.log(row([name, ...cells]));
}
console.log(beside);
performer.dispose();
