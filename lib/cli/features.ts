import { Command } from 'commander';
import { expected } from '../errors.js';
import { extractValues } from '../export/index.js';
import {
  addDeviceFlags,
  addRuntimeFlag,
  performerOptions,
  addImageFlags,
  names,
  positiveInteger,
  preprocessingOf,
  type PerformerFlags,
  type ImageFlags,
} from './flags.js';
import { withInterrupt } from './interrupt.js';
import { ProgressLine } from './progress.js';
import { computedOn } from './train.js';
import { print } from './terminal.js';

interface FeaturesFlags extends PerformerFlags, ImageFlags {
  values?: string[];
  layer?: string[];
  images: string[];
  out: string;
  batch: number;
}

const HELP = `
Any value of the model can be written, explainable or not; nodes stand for their first output. Maps are
(photographs, channels, rows, columns), vectors (photographs, features), float32; rows follow the sorted
files. The paths are the array "images" of an .npz file, JSON in the metadata "images" of .safetensors.
A comma that belongs to a name is written \\,. inspect lists names of maps.

Example:
  partlens features resnet18.onnx --values layer3,logits --images photos/ --out layer3.npz`;

export function featuresCommand(): Command {
  const command = new Command('features')
    .description('Write any values of a CNN for photographs: maps of a layer, logits.')
    .argument('<model.onnx>', 'the performer')
    .option('--values <names>', 'values or nodes of the model, with commas between', names)
    .option('--layer <names>', 'another word for --values', names)
    .requiredOption('--images <paths...>', 'photographs, or folders of them')
    .requiredOption('--out <file>', '.npz or .safetensors; one that is there is replaced')
    .option('--batch <images>', 'photographs that are computed together', positiveInteger, 8)
    .addHelpText('after', HELP);
  return addDeviceFlags(addRuntimeFlag(addImageFlags(command))).action(run);
}

async function run(model: string, flags: FeaturesFlags): Promise<void> {
  const { images, out, batch } = flags;
  const values = [...(flags.values ?? []), ...(flags.layer ?? [])];
  if (values.length === 0) {
    throw expected('at least one name', '--values', 'none', { op: 'features' });
  }
  const line = new ProgressLine();
  try {
    const found = await withInterrupt(
      (signal) =>
        extractValues(model, {
          values,
          images,
          out,
          batch,
          preprocessing: preprocessingOf(flags),
          ...performerOptions(flags),
          signal,
          onWarning: (text) => line.note(`warning: ${text}`),
          onProgress: (done, total) => line.show(`values ${String(done)}/${String(total)} images`),
        }),
      () => line.note('stopping'),
    );
    line.clear();
    const skipped = `${String(found.images)} photographs, ${String(found.skipped.length)} skipped`;
    const shapes = found.values.map(({ name, shape }) => `  ${name} (${shape.join(', ')})`);
    print([`${out}: ${skipped}`, ...shapes, computedOn(found.session)].join('\n'));
  } finally {
    line.clear();
  }
}
