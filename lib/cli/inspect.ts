import { Command } from 'commander';
import { inspectModel, type Inspection } from '../performer/index.js';
import { addImageFlags, preprocessingOf, type ImageFlags } from './flags.js';
import { table } from './table.js';

export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description(
      'List the layers of a CNN that can be explained, and what can be rebuilt from each.',
    )
    .argument('<model.onnx>', 'the performer')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  partlens inspect vgg16.onnx');
  return addImageFlags(command).action(
    async (model: string, flags: ImageFlags & { json?: boolean }) => {
      const found = await inspectModel(model, { preprocessing: preprocessingOf(flags) });
      console.log(flags.json ? JSON.stringify(found, null, 2) : describe(found));
    },
  );
}

function describe({
  path,
  opset,
  input,
  layers,
  proposal,
  preprocessing,
  classes,
}: Inspection): string {
  const { channels, height, width } = input;
  const lines = [
    `${path}: opset ${String(opset)}, input ${input.name} ${[channels, height, width].join(' x ')}`,
    '',
  ];
  if (layers.length === 0) lines.push('No layer of this network can be explained.');
  else {
    const rows = layers.map(({ name, channels: C, size, relu, targets }) => [
      name,
      `${String(C)} x ${String(size)} x ${String(size)}`,
      relu ? 'yes' : 'no',
      targets.map((target) => `${target.name} (${String(target.size)})`).join(', ') || '-',
    ]);
    lines.push(table([['layer', 'maps', 'ReLU', 'features that can be rebuilt'], ...rows]));
  }
  if (proposal) {
    lines.push('', `proposed: --layer ${proposal.layer} --targets ${proposal.targets.join(',')}`);
    lines.push(`  ${proposal.reason}`);
  }
  if ('missing' in preprocessing) lines.push('', `images: ${preprocessing.missing}`);
  else {
    const { size, channels: order, scale, mean, std } = preprocessing;
    const how = `${order}, scale ${scale.toPrecision(4)}, mean ${mean.join(' ')}, std ${std.join(' ')}`;
    lines.push('', `images: ${String(size)} x ${String(size)}, ${how}`);
  }
  if (classes) {
    const rest = classes.length > 6 ? ', ...' : '';
    lines.push(`classes: ${String(classes.length)} (${classes.slice(0, 6).join(', ')}${rest})`);
  }
  return lines.join('\n');
}
