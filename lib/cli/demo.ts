import { relative } from 'node:path';
import { Command } from 'commander';
import { runDemo, type DemoResult } from '../demo/demo.js';
import { addDeviceFlags, positiveInteger, type DeviceFlags } from './flags.js';
import { ProgressLine, withInterrupt } from './progress.js';
import { deviceOptions } from '../session.js';

interface DemoFlags extends DeviceFlags {
  out: string;
  images: number;
  size: number;
  seed: number;
  epochs: number;
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
    .option('--epochs <count>', 'passes of the explainer over the images', positiveInteger, 6)
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
          onProgress: ({ phase, share, detail }) =>
            line.show(`${phase}  ${(100 * share).toFixed(0)} %  ${detail}`),
        }),
      () => line.note('stopping'),
    ).finally(() => line.clear());
    console.log(summary(result, (performance.now() - started) / 1000));
  });
}

function summary({ accuracy, evaluation, report, model }: DemoResult, seconds: number): string {
  const three = (value: number | undefined): string => (value ?? NaN).toFixed(3);
  const { instability, p, head, reconstruction } = evaluation;
  const { performer, layer2, controls } = instability ?? {};
  const rebuilt = Object.entries(reconstruction).map(([name, error]) => `${name} ${three(error)}`);
  const fixed = `fixed position ${three(controls?.fixedPositionBest)}, random ${three(controls?.random)}`;
  const here = (path: string): string => relative('.', path);
  return [
    `CNN            ${(100 * accuracy).toFixed(1)} % of validation images right (${here(model)})`,
    `instability    performer ${three(performer?.value)} -> explainer ${three(layer2?.value)}  (${fixed})`,
    `parts carry    p = ${three(p)} of the features, ${String(evaluation.deadFilters)} filters never fire`,
    `rebuilt        agreement ${three(head.agreement)}, relative error ${rebuilt.join(', ')}`,
    `report         ${here(report)}  (${seconds.toFixed(0)} s)`,
  ].join('\n');
}
