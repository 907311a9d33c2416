// Trains and scores explainers of one CNN with several settings and prints one table row for each:
//   node --import tsx/esm bench/photographs.ts --model M.onnx --images FOLDER --landmarks L.csv --classes a,b,c
//     --out FOLDER --settings SETTINGS.json [--layer NAME] [--targets A,B] [--decoder learned]
// SETTINGS.json: [{ "name": "...", "seeds": [1, 2, 3], ...options of training }]. The folder keeps the features
// between settings. docs/results.md holds what this printed.
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

interface Setting extends TrainOptionsInput {
  name: string;
  seeds?: number[];
}

const text = { type: 'string' } as const;
const { values: given } = parseArgs({
  options: {
    ...{ model: text, images: text, landmarks: text, classes: text, out: text, settings: text },
    ...{ layer: text, targets: text, decoder: text },
  },
});
const { model = '', images = '', landmarks = '', classes = '', out = '', settings = '' } = given;
const rowsWanted = JSON.parse(await readFile(settings, 'utf8')) as Setting[];
const performer = await loadPerformer(model, {
  ...(given.layer === undefined ? {} : { layer: given.layer }),
  ...(given.targets === undefined ? {} : { targets: given.targets.split(',') }),
  decoder: given.decoder === 'learned' ? 'learned' : 'own',
  batch: 32,
});

/** One run from scratch; the features in the folder are reused. */
async function once(
  options: TrainOptionsInput,
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
  const evaluation = await explainer.evaluate({ landmarks });
  explainer.dispose();
  return { evaluation, seconds };
}

/** Numbers of one run, in the order of the columns. */
function columns(evaluation: Evaluation, seconds: number): number[] {
  const { instability, p, head, reconstruction, deadFilters } = evaluation;
  if (!instability) throw new Error('no landmarks');
  const { performer: own, layer1, layer2 } = instability;
  const { parts } = layer2;
  const errors = Object.values(reconstruction);
  const [first = NaN, last = NaN] = [errors[0], errors.at(-1)];
  const ratio = layer2.value / own.value;
  const numbers = [
    own.value,
    layer1.value,
    layer2.value,
    ratio,
    p,
    head.agreement,
    head.kl,
    first,
    last,
  ];
  const distinct = parts.duplicateOf.length - deadFilters - parts.duplicates;
  return [...numbers, parts.covered.length, distinct, seconds];
}

const titles =
  'setting|performer|layer 1|layer 2|ratio|p|agreement|KL|first error|last error|parts|distinct|seconds';
console.log(`| ${titles.split('|').join(' | ')} |`);
console.log(
  `|${titles
    .split('|')
    .map(() => '---')
    .join('|')}|`,
);
for (const { name, seeds = [1], ...options } of rowsWanted) {
  const rows: number[][] = [];
  for (const seed of seeds) {
    const { evaluation, seconds } = await once({ ...options, seed });
    rows.push(columns(evaluation, seconds));
    const controls = Object.entries(evaluation.instability?.controls ?? {}).map(
      ([control, { value }]) => `${control} ${value.toFixed(4)}`,
    );
    console.error(
      name,
      seed,
      rows
        .at(-1)
        ?.map((value) => value.toFixed(4))
        .join(' '),
      ...controls,
    );
  }
  const shown = (rows[0] ?? []).map((_, i) => {
    const values = rows.map((row) => row[i] ?? NaN);
    const middle = metrics.mean(values);
    const digits = Math.abs(middle) >= 10 ? 0 : 3;
    const spread = values.length > 1 ? ` ± ${metrics.deviation(values).toFixed(digits)}` : '';
    return `${middle.toFixed(digits)}${spread}`;
  });
  console.log(`| ${[name, ...shown].join(' | ')} |`);
}
performer.dispose();
