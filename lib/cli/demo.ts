import { relative } from 'node:path';
import { Command } from 'commander';
import { clusterVerdict, probeWords } from '../evaluate/score_words.js';
import { runDemo, type DemoProgress, type DemoResult } from '../demo/demo.js';
import { addDeviceFlags, positiveInteger, type DeviceFlags } from './flags.js';
import { withInterrupt } from './interrupt.js';
import { clock, ProgressLine } from './progress.js';
import { deviceOptions } from '../engine/session.js';
import { print } from './terminal.js';

interface DemoFlags extends DeviceFlags {
  out: string;
  images: number;
  size: number;
  seed: number;
  epochs?: number;
}

export function demoCommand(): Command {
  const command = new Command('demo')
    .description('Draw birds, train a small CNN on them, export it to ONNX, and explain it.')
    .option(
      '--out <folder>',
      'folder for everything; an older demo in it is replaced',
      'partlens-demo',
    )
    .option('--images <count>', 'images to draw', positiveInteger, 2400)
    .option('--size <pixels>', 'side of the images', positiveInteger, 112)
    .option('--seed <number>', 'seed of everything', positiveInteger, 1)
    .option(
      '--epochs <count>',
      'passes of the explainer over the images (default: 6, more for few images)',
      positiveInteger,
    )
    .addHelpText('after', '\nExample:\n  partlens demo --images 3000 --seed 7');
  return addDeviceFlags(command).action(async (flags: DemoFlags) => {
    const line = new ProgressLine();
    const started = performance.now();
    const result = await withInterrupt(
      (signal) =>
        runDemo({
          out: flags.out,
          images: flags.images,
          size: flags.size,
          seed: flags.seed,
          epochs: flags.epochs,
          ...deviceOptions(flags),
          signal,
          onProgress: (progress) =>
            line.show(showDemo(progress, (performance.now() - started) / 1000)),
        }),
      () => line.note('stopping'),
    ).finally(() => line.clear());
    print(summary(result, (performance.now() - started) / 1000));
  });
}

/** `######..............  31 %  training the CNN  loss 0.412  0:41 left`. */
export function showDemo({ phase, share, detail }: DemoProgress, seconds: number): string {
  const left = share > 0.02 ? `${clock((seconds * (1 - share)) / share)} left` : '';
  const percent = `${(100 * share).toFixed(0).padStart(3)} %`;
  return [bar(share), percent, phase, detail, left].filter(Boolean).join('  ');
}

function bar(share: number): string {
  const length = 20;
  return '#'.repeat(Math.round(length * share)).padEnd(length, '.');
}

/** Seven lines. */
function summary({ accuracy, evaluation, report, model }: DemoResult, seconds: number): string {
  const three = (value: number | undefined): string => (value ?? NaN).toFixed(3);
  const { instability, p, tracks, head, reconstruction, clusters } = evaluation;
  const { performer, layer2, controls } = instability ?? {};
  const rebuilt = Object.entries(reconstruction).map(([name, error]) => `${name} ${three(error)}`);
  const fixed = `best fixed position ${three(controls?.fixedPositionBest.value)}, random ${three(controls?.random.value)}`;
  return [
    `CNN          right on ${(100 * accuracy).toFixed(1)} % of validation images  (${here(model)})`,
    `instability  performer ${three(performer?.value)} -> explainer ${three(layer2?.value)}  (${fixed})`,
    `parts        carry ${three(tracks.share)} of the class score (p, their share of the rebuilt features, ${three(p)}); ${filters(evaluation)}`,
    `rebuilt      agreement ${three(head.agreement)}, relative error ${rebuilt.join(', ')}`,
    `clusters     ${clusters ? clusterVerdict(clusters) : '-'}`,
    `probe        ${clusters ? probeWords(clusters) : '-'}`,
    `report       ${here(report)}  (${seconds.toFixed(0)} s)`,
  ].join('\n');
}

/** `21 of 64 filters repeat no other, 0 never fire`. */
function filters({ instability, deadFilters }: DemoResult['evaluation']): string {
  const { peaks, parts } = instability?.layer2 ?? {};
  const own = (peaks?.filters ?? 0) - (parts?.duplicates ?? 0) - deadFilters;
  const rest = `${String(deadFilters)} never fire`;
  return `${String(own)} of ${String(peaks?.filters)} filters repeat no other, ${rest}`;
}

/** A path as seen from here; in full where it lies elsewhere. */
function here(path: string): string {
  const way = relative('.', path);
  return way.startsWith('..') ? path : way;
}
