import { Command } from 'commander';
import { writeFileAtomic, writeTextAtomic } from '../data/atomic.js';
import { explanationJson, type Explanation } from '../explain/explanation.js';
import { explanationPage } from '../explain/page.js';
import { printable } from '../explain/markup.js';
import { drawExplanation } from '../explain/picture.js';
import { loadExplainer } from '../explainer.js';
import {
  addDeviceFlags,
  addRuntimeFlag,
  performerOptions,
  positiveInteger,
  type PerformerFlags,
} from './flags.js';
import { withInterrupt } from './interrupt.js';
import { ProgressLine } from './progress.js';
import { table } from './table.js';
import { print, printJson } from './terminal.js';

interface ExplainFlags extends PerformerFlags {
  class?: string;
  top: number;
  html?: string;
  png?: string;
  json?: boolean;
}

export function explainCommand(): Command {
  const command = new Command('explain')
    .description('Tell which parts are in one photograph, and what each gives to the prediction.')
    .argument('<run>', 'run folder of train')
    .argument('<image>', 'photograph: JPEG, PNG, WebP, TIFF, AVIF or GIF')
    .option('--class <name>', 'class to explain, name or number (default: the predicted one)')
    .option('--top <count>', 'parts to list', positiveInteger, 10)
    .option('--html <file>', 'write a page that needs nothing else')
    .option('--png <file>', 'write a picture')
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  partlens explain run/ photos/dog/1.jpg --html dog.html');
  return addDeviceFlags(addRuntimeFlag(command)).action(explain);
}

async function explain(run: string, image: string, flags: ExplainFlags): Promise<void> {
  const line = new ProgressLine();
  const onWarning = (text: string): void => line.note(`warning: ${text}`);
  const explainer = await loadExplainer(run, { ...performerOptions(flags), onWarning });
  try {
    const { classes } = explainer.performer;
    const explanation = await withInterrupt(
      (signal) =>
        explainer.explain(image, { class: classOf(flags.class, classes), signal, onWarning }),
      () => line.note('stopping'),
    );
    if (flags.png !== undefined) {
      await writeFileAtomic(flags.png, await drawExplanation(explanation, image));
    }
    if (flags.html !== undefined) {
      await writeTextAtomic(flags.html, await explanationPage(explanation, image));
    }
    if (flags.json) printJson(explanationJson(explanation));
    else print(showExplanation(explanation, flags.top));
  } finally {
    explainer.dispose();
  }
}

/** A class as the library takes it: its name, or its number where no class has this name. */
function classOf(
  text: string | undefined,
  classes: readonly string[] | undefined,
): string | number | undefined {
  const isNumber = text !== undefined && /^\d+$/.test(text) && !classes?.includes(text);
  return isNumber ? Number(text) : text;
}

/** The explanation for people: the first `top` parts, tracks, pairs, curves. */
export function showExplanation(explanation: Explanation, top: number): string {
  const { prediction, rebuilt, explained, unit, parts, tracks, control } = explanation;
  const percent = (share: number): string =>
    Number.isNaN(share) ? '-' : `${(100 * share).toFixed(1)}%`;
  const listed = parts.slice(0, top);
  const rest = parts.length > top ? `; the first ${String(top)}` : '';
  const heads = table([
    ['', 'class', 'probability', unit],
    ['performer', prediction.name, percent(prediction.probability), prediction.score.toFixed(2)],
    ['rebuilt', rebuilt.name, percent(rebuilt.probability), rebuilt.score.toFixed(2)],
  ]);
  const rows = listed.map(({ filter, part, place, strength, alone, removed, group }) => [
    String(filter),
    String(group + 1),
    part ? part.name : '-',
    part ? part.category : '-',
    part ? percent(part.purity) : '-',
    place.x.toFixed(0),
    place.y.toFixed(0),
    strength.toFixed(2),
    signed(alone),
    signed(removed),
  ]);
  const whole = table([
    ['all parts, Shapley value', signed(tracks.interpretable)],
    ['ordinary track, Shapley value', signed(tracks.ordinary)],
    ['share of this score through parts', percent(explanation.share)],
    ["p, weight of the parts' track in the mix", explanation.p.toFixed(3)],
    ['control: a filter at random, alone', signed(control.random)],
    ['mean of the best five, alone', signed(control.top)],
  ]);
  return [
    heads,
    `${String(parts.length)} of ${String(explanation.filters)} part filters answer${rest}.\n` +
      `alone: ${unit} of ${printable(explained.name)} that the part alone adds to nothing\n` +
      'around: what is lost when it is removed with all parts within two cells',
    table([
      ['filter', 'group', 'part', 'scored on', 'purity', 'x', 'y', 'strength', 'alone', 'around'],
      ...rows,
    ]),
    ...(explanation.groups.length > 0 ? [showGroups(explanation, top)] : []),
    whole,
    showCurves(explanation),
  ].join('\n\n');
}

/** The first groups with their Shapley values. */
function showGroups({ groups, shapley }: Explanation, top: number): string {
  const rows = groups
    .slice(0, top)
    .map(({ filters, value, error, removed }, g) => [
      String(g + 1),
      filters.slice(0, 4).join(' + ') + (filters.length > 4 ? ' ...' : ''),
      signed(value),
      shapley.exact ? 'exact' : `+- ${error.toFixed(3)}`,
      signed(removed),
    ]);
  return table([['group', 'filters', 'Shapley value', '', 'removed'], ...rows]);
}

/** Both curves at a few shares, with their areas. */
function showCurves({ unit, explained, deletion, insertion }: Explanation): string {
  const rows = [
    ['off: best parts', deletion.share, deletion.parts, deletion.area.parts],
    ['off: at random', deletion.share, deletion.random, deletion.area.random],
    ['on: best parts', insertion.share, insertion.parts, insertion.area.parts],
    ['on: at random', insertion.share, insertion.random, insertion.area.random],
  ] as const;
  const shares = [0, 0.1, 0.25, 0.5, 1];
  const title = [
    `${unit} of ${explained.name}`,
    ...shares.map((share) => `${String(100 * share)}%`),
  ];
  const body = rows.map(([name, share, values, area]) => {
    const at = shares.map((wanted) => values[nearest(share, wanted)] ?? NaN);
    return [name, ...at.map((value) => value.toFixed(2)), area.toFixed(2)];
  });
  return table([[...title, 'area'], ...body]);
}

function nearest(shares: readonly number[], wanted: number): number {
  const distance = shares.map((share) => Math.abs(share - wanted));
  return distance.indexOf(Math.min(...distance));
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
}
