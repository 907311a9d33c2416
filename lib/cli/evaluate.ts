import { Command, Option } from 'commander';
import { evaluationJson, type Evaluation, type SplitName } from '../explainer/evaluate.js';
import { loadExplainer } from '../explainer/explainer.js';
import { addDeviceFlags, type DeviceFlags } from './flags.js';
import { ProgressLine, withInterrupt } from './progress.js';
import { table } from './table.js';
import { deviceOptions } from '../session.js';

interface EvaluateFlags extends DeviceFlags {
  landmarks?: string;
  split: SplitName;
  json?: boolean;
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('Score a run: location instability with its controls, reconstruction, head.')
    .argument('<run>', 'run folder of train')
    .option('--landmarks <file.csv>', 'part positions: image,category,part,y,x')
    .addOption(
      new Option('--split <name>', 'photographs whose landmarks are scored')
        .choices(['all', 'train', 'validation'])
        .default('all'),
    )
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExample:\n  partlens evaluate run/ --landmarks photos/landmarks.csv');
  return addDeviceFlags(command).action(async (run: string, flags: EvaluateFlags) => {
    const line = new ProgressLine();
    const onWarning = (text: string): void => line.note(`warning: ${text}`);
    const explainer = await loadExplainer(run, { ...deviceOptions(flags), onWarning });
    try {
      const evaluation = await withInterrupt(
        (signal) =>
          explainer.evaluate({
            landmarks: flags.landmarks,
            split: flags.split,
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
  });
}

/** The evaluation for people. */
export function showEvaluation({
  instability,
  p,
  deadFilters,
  reconstruction,
  head,
}: Evaluation): string {
  const three = (value: number | undefined): string =>
    value === undefined || Number.isNaN(value) ? '-' : value.toFixed(3);
  const blocks: string[] = [];
  if (instability) {
    const { performer, layer1, layer2, controls } = instability;
    blocks.push(
      table([
        ['location instability (lower is better)', ''],
        ['  performer', three(performer.value)],
        ['  explainer, conv_interp_1', three(layer1.value)],
        ['  explainer, conv_interp_2', three(layer2.value)],
        ['  control: best fixed position', three(controls.fixedPositionBest)],
        ['  control: image centre', three(controls.fixedPositionCentre)],
        ['  control: random positions', three(controls.random)],
        ['  images / landmarks', `${String(layer2.images)} / ${String(instability.landmarks)}`],
      ]),
    );
  }
  const rebuilt = Object.entries(reconstruction).map(([name, error]) => [
    `  ${name}`,
    three(error),
  ]);
  blocks.push(
    table([
      ['share p carried by parts', three(p)],
      ['filters that never fire', String(deadFilters)],
      ['relative error on validation images', ''],
      ...rebuilt,
      ["performer's head on rebuilt features", ''],
      ['  agreement', three(head.agreement)],
      ['  KL divergence, nats', three(head.kl)],
      ['  error of performer', three(head.performerError)],
      ['  error of explainer', three(head.explainerError)],
      ['  images', String(head.images)],
    ]),
  );
  return blocks.join('\n\n');
}
