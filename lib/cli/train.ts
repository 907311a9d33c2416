import { Command, Option } from 'commander';
import { z } from 'zod';
import { PartlensError } from '../errors.js';
import { accuracySentence } from '../explainer/own_accuracy.js';
import { trainOptions, type TrainOptionsInput } from '../explainer/options.js';
import { trainExplainer, type Explainer } from '../explainer.js';
import { loadPerformer, type Performer } from '../performer/index.js';
import {
  addDeviceFlags,
  addRuntimeFlag,
  performerOptions,
  addImageFlags,
  names,
  preprocessingOf,
  type PerformerFlags,
  type ImageFlags,
} from './flags.js';
import { LiveView } from '../report/live.js';
import { verdictLines, verdictOf } from '../evaluate/verdict.js';
import { writeReport } from '../report/report.js';
import { showReport, showReporting } from './report.js';
import { endCode, withInterrupt } from './interrupt.js';
import { ProgressLine, showTraining } from './progress.js';
import { deviceOptions } from '../engine/session.js';
import type { RunnerInfo } from '../performer/index.js';
import { print } from './terminal.js';

interface TrainFlags extends PerformerFlags, ImageFlags {
  performer: string;
  layer?: string;
  targets?: string[];
  output?: string;
  images: string;
  classes?: string[];
  out: string;
  resume?: boolean;
  lock: boolean;
  report: boolean;
  serve?: boolean;
  landmarks?: string;
}

const EXAMPLE = `
Example:
  partlens train --performer vgg16.onnx --layer conv5_relu --targets fc6_relu,fc7_relu \\
      --images photos/ --out run/`;

export function trainCommand(): Command {
  const command = new Command('train')
    .description(
      "Train an explainer on one layer of a CNN: no labels, no parts, the CNN's features.",
    )
    .requiredOption('--performer <model.onnx>', 'the CNN to be explained')
    .option('--layer <name>', 'layer to explain (default: see inspect)')
    .option('--targets <names>', 'features to rebuild, with commas (default: see inspect)', names)
    .option('--output <name>', 'what the head computes (default: the model output)')
    .requiredOption('--images <folder>', 'photographs; each sub-folder is a class')
    .option('--classes <names>', 'only these sub-folders, with commas', names)
    .option('--out <folder>', 'run folder', 'partlens-run')
    .option('--resume', 'go on with the run in --out')
    .option('--no-lock', 'for file systems that refuse locks: nothing keeps a second training out')
    .option('--landmarks <path>', 'part positions, for the report alone: training sees none')
    .option('--serve', 'show the run on a local page while it goes on; pause and stop it there')
    .option('--no-report', 'write no report.html at the end')
    .addHelpText('after', EXAMPLE);
  addOptionFlags(command);
  return addImageFlags(addDeviceFlags(addRuntimeFlag(command))).action((flags: TrainFlags) =>
    train(flags, givenOptions(command)),
  );
}

/** Options of the method that were given as flags; the schema has the defaults of the others. */
function givenOptions(command: Command): TrainOptionsInput {
  const given = Object.entries(command.opts()).filter(
    ([key]) => key in trainOptions.shape && command.getOptionValueSource(key) === 'cli',
  );
  return Object.fromEntries(given);
}

async function train(flags: TrainFlags, options: TrainOptionsInput): Promise<void> {
  const line = new ProgressLine();
  const performer = await loadPerformer(flags.performer, {
    ...(flags.layer === undefined ? {} : { layer: flags.layer }),
    ...(flags.targets ? { targets: flags.targets } : {}),
    ...(flags.output === undefined ? {} : { output: flags.output }),
    preprocessing: preprocessingOf(flags),
    ...performerOptions(flags),
  });
  try {
    await withInterrupt(
      (signal) => trainAndReport(flags, options, { performer, line, signal }),
      () => line.note('stopping after this step; press Ctrl-C again to stop at once'),
    );
  } finally {
    line.clear();
    performer.dispose();
  }
}

interface Training {
  performer: Performer;
  line: ProgressLine;
  signal: AbortSignal;
}

async function trainAndReport(
  flags: TrainFlags,
  options: TrainOptionsInput,
  training: Training,
): Promise<void> {
  const { performer, line, signal } = training;
  const explainer = await trainWatched(flags, options, training);
  line.clear();
  try {
    print(showRun(explainer));
    print(computedOn(explainer.info()));
    const { name } = performer.runtime;
    if (name !== 'native') print(`performer ${computedOn(performer.info())}`);
    if (flags.report) await report(explainer, flags, { line, signal });
    else await verdict(explainer, { line, signal });
  } finally {
    explainer.dispose();
  }
}

/** Trains, with a live view if one is asked for; it is closed when the training ends. */
async function trainWatched(
  flags: TrainFlags,
  options: TrainOptionsInput,
  { performer, line, signal }: Training,
): Promise<Explainer> {
  const { images, out, resume = false, lock } = flags;
  const view = flags.serve
    ? await LiveView.open({
        ...{ performer, images },
        onPause: (url) => line.note(`paused; go on at ${url}, or press Ctrl-C to stop`),
      })
    : undefined;
  if (view) line.note(`live view: ${view.url}`);
  if (signal.aborted) view?.stop();
  signal.addEventListener('abort', () => view?.stop());
  try {
    return await trainExplainer({
      ...options,
      ...{ performer, images, out, resume, lock },
      ...(flags.classes ? { classes: flags.classes } : {}),
      ...deviceOptions(flags),
      signal: view?.signal ?? signal,
      watch: view?.watch,
      onProgress: (progress) => {
        const text = showTraining(progress);
        line.show(text);
        view?.progress(progress, text);
      },
      onAccuracy: (own) => line.note(accuracySentence(own)),
      onWarning: (text) => line.note(`warning: ${text}`),
    });
  } finally {
    await view?.close();
  }
}

/** Writes the report; without it the run is as good as before, so what goes wrong is a warning. */
async function report(
  explainer: Explainer,
  { landmarks }: TrainFlags,
  { line, signal }: Pick<Training, 'line' | 'signal'>,
): Promise<void> {
  try {
    const written = await writeReport(explainer, {
      ...{ landmarks, signal, onWarning: (text) => line.note(`warning: ${text}`) },
      onProgress: (progress) => line.show(showReporting(progress)),
    });
    line.clear();
    print(showReport(written));
    print(verdictLines(verdictOf(written.evaluation)).join('\n'));
  } catch (error) {
    // The system's end is told by the exit code, though the run is whole.
    if (!(error instanceof PartlensError) || endCode(signal) !== undefined) throw error;
    line.note(`warning: no report: ${error.message}`);
  }
}

/** What the photographs kept out say, where no report tells it. */
async function verdict(
  explainer: Explainer,
  { line, signal }: Pick<Training, 'line' | 'signal'>,
): Promise<void> {
  try {
    const evaluation = await explainer.evaluate({
      ...{ split: 'validation', occlusion: 0, signal },
      onWarning: (text) => line.note(`warning: ${text}`),
      onProgress: (done, total) => line.show(`scoring ${String(done)}/${String(total)} images`),
    });
    line.clear();
    print(verdictLines(verdictOf(evaluation)).join('\n'));
  } catch (error) {
    if (!(error instanceof PartlensError) || endCode(signal) !== undefined) throw error;
    line.note(`warning: no verdict: ${error.message}`);
  }
}

/** `run/: 8 steps, p 0.612, 20 images used, 0 skipped`. */
function showRun({ run, step, p, summary }: Explainer): string {
  const skipped = summary?.skipped.length ?? 0;
  const images = `${String(summary?.used ?? 0)} images used, ${String(skipped)} skipped`;
  return `${run}: ${String(step)} steps, p ${p.toFixed(3)}, ${images}`;
}

/** `computed on cpu (avx2, 8 threads); no CUDA: no driver`: what `auto` took, and why. */
export function computedOn(info: RunnerInfo): string {
  if (info.backend === 'onnxruntime') return `computed by onnxruntime: ${info.reason}`;
  const { backend, reason, isa, threads, precision, accuracy } = info;
  if (backend === 'cuda') return `computed on cuda (${isa}, ${precision})`;
  const why = reason === '' ? '' : `; no CUDA: ${reason}`;
  const how = accuracy === 'fast' ? '' : `, ${accuracy} accuracy`;
  return `computed on ${backend} (${isa}${how}, ${String(threads)} threads${why})`;
}

/** One flag for each option of the method, with the default that the schema states. */
export function addOptionFlags(command: Command): void {
  const defaults = trainOptions.parse({}) as Record<string, unknown>;
  for (const [key, schema] of Object.entries(trainOptions.shape) as [string, z.ZodType][]) {
    const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const text = schema.description ?? key;
    const fallback = defaults[key];
    const shown = fallback === undefined ? text : `${text} (default: ${JSON.stringify(fallback)})`;
    if (schema.safeParse(true).success) {
      if (fallback !== true) command.option(`--${flag}`, text);
      if (fallback !== false) command.option(`--no-${flag}`, `switch off: ${text}`);
    } else {
      const option = new Option(`--${flag} <value>`, shown);
      const words = schema instanceof z.ZodDefault ? schema.unwrap() : schema;
      if (words instanceof z.ZodEnum) option.choices(words.options as string[]);
      else option.argParser(value);
      command.addOption(option);
    }
  }
}

/** A number, a list of numbers, or a word. */
function value(text: string): number | number[] | string {
  const list = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (list.some(Number.isNaN)) return text;
  return list.length === 1 ? (list[0] ?? NaN) : list;
}
