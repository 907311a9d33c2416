import { Command } from 'commander';
import { printable } from '../explain/markup.js';
import { inspectModel, type ExplainableLayer, type Inspection } from '../performer/index.js';
import {
  addImageFlags,
  addRuntimeFlag,
  escapedName,
  preprocessingOf,
  type ImageFlags,
  type PerformerFlags,
} from './flags.js';
import { answersFor, showAnswers } from './inspect_images.js';
import { table } from './table.js';
import { print, printJson, shellWord } from './terminal.js';

interface InspectFlags extends ImageFlags {
  output?: string;
  runtime?: PerformerFlags['runtime'];
  images?: string;
  json?: boolean;
}

/** Filters that the cost of a proposal is told for. */
const EXAMPLE_FILTERS = 96;

const HELP = `
What computes the CNN comes first: partlens, or onnxruntime for ops that partlens has not (no gradient passes
it: the explainer then learns from the layer's own maps alone). Then for each layer: its maps (channels x rows
x columns), whether a ReLU made them, what is rebuilt by default beside its own maps, what bypasses it (a skip
connection: taken from each photograph as it is), both by numbers of the list below the table, the disk that
its features take for each photograph, and how much of the network's work lies behind it.
The decoder has weights for each filter: as many as the rebuilt maps have channels.

Example:
  partlens inspect vgg16.onnx`;

export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description(
      'List the layers of a CNN that can be explained, what can be rebuilt from each, and what it costs.',
    )
    .argument('<model.onnx>', 'the performer')
    .option(
      '--output <name>',
      'the output or value that layers lead to (default: the first output)',
    )
    .option('--images <folder>', "also show the CNN's own answers for some photographs")
    .option('--json', 'print JSON')
    .addHelpText('after', HELP);
  return addImageFlags(addRuntimeFlag(command)).action(
    async (model: string, flags: InspectFlags) => {
      const { output, runtime } = flags;
      const found = await inspectModel(model, {
        preprocessing: preprocessingOf(flags),
        ...(output === undefined ? {} : { output }),
        runtime,
      });
      const answers =
        flags.images === undefined ? undefined : await answersFor(model, flags.images, flags);
      if (flags.json) printJson({ ...found, answers });
      else print([describe(found), ...(answers ? [showAnswers(answers)] : [])].join('\n\n'));
    },
  );
}

function describe(found: Inspection): string {
  const { path, opset, input, layers, others, proposal, classes } = found;
  const lines = [
    `${path}: opset ${String(opset)}, input ${printable(input.name)} ${sizes(input.channels, input.height, input.width)}`,
  ];
  const { name, reason } = found.runtime;
  lines.push(`computed by ${name === 'native' ? 'partlens' : name}: ${reason}`, ...found.notes);
  lines.push(...outputLines(found));
  lines.push('');
  if (layers.length === 0) lines.push('No layer of this network can be explained.');
  else lines.push(layerTable(layers));
  lines.push(...reasons(others));
  if (proposal) {
    const targets = proposal.targets.map(escapedName).join(',');
    const chosen = targets === '' ? '' : ` --targets ${shellWord(targets)}`;
    lines.push(
      '',
      `proposed: --layer ${shellWord(proposal.layer)}${chosen}`,
      `  ${proposal.reason}`,
    );
    const cost = layers.find(({ name }) => name === proposal.layer)?.cost;
    if (cost) lines.push(`  ${costOf(cost)}`);
  }
  lines.push('', images(found));
  if (classes) {
    const rest = classes.length > 6 ? ', ...' : '';
    lines.push(
      `classes: ${String(classes.length)} (${classes.slice(0, 6).map(printable).join(', ')}${rest})`,
    );
  }
  return lines.join('\n');
}

/** The outputs, where there is a choice, and those that are left out. */
function outputLines({ outputs, output, unreadable }: Inspection): string[] {
  const lines = unreadable.map(({ name, reason, instead }) => {
    const [sentence = ''] = reason.split('\n');
    const way =
      instead === undefined ? '' : ` --output ${shellWord(instead)} can be read before it.`;
    return `output ${printable(name)} is left out: ${sentence}${way}`;
  });
  if (outputs.length < 2 && unreadable.length === 0) return lines;
  const all = outputs
    .map(({ name, shape }) => `${printable(name)} (${sizes(...shape)})`)
    .join(', ');
  return [...lines, `outputs: ${all}; layers lead to --output ${shellWord(output)}`];
}

function layerTable(layers: readonly ExplainableLayer[]): string {
  const most = Math.max(...layers.map(({ cost }) => cost.laterLayers), 1);
  const others = new Map<string, string>();
  /** A number for a value that many layers share; the list below says which it is. */
  const numbers = (values: ExplainableLayer['targets']): string => {
    const found = values.map(({ name, shape }) => {
      const text = `${printable(name)} (${sizes(...shape)})`;
      const known = others.get(text) ?? `[${String(others.size + 1)}]`;
      others.set(text, known);
      return known;
    });
    return found.join(' ') || '-';
  };
  const rows = layers.map(({ name, channels, height, width, relu, targets, bypass, cost }) => [
    name,
    sizes(channels, height, width),
    relu ? 'yes' : 'no',
    numbers(targets),
    numbers(bypass),
    `${(cost.bytesPerPhotograph / 1024).toFixed(0)} KB`,
    `${((100 * cost.laterLayers) / most).toFixed(0)}%`,
  ]);
  const head = ['layer', 'maps', 'ReLU', 'rebuilt beside it', 'bypassed by', 'disk', 'later'];
  const list = [...others].map(([text, number]) => `${number} ${text}`);
  return [table([head, ...rows]), '', ...list].join('\n');
}

/** What a run at a layer takes. */
function costOf({ decoderWeights, bytesPerPhotograph }: ExplainableLayer['cost']): string {
  const weights = decoderWeights * (EXAMPLE_FILTERS + 1);
  const megabytes = (1000 * bytesPerPhotograph) / 2 ** 20;
  return (
    `With ${String(EXAMPLE_FILTERS)} filters the decoder has ${String(weights)} weights; features of 1000 photographs ` +
    `take ${megabytes.toFixed(0)} MB, twice that with mirrored ones.`
  );
}

/** Why other maps cannot be explained, each reason once with how many it holds for. */
function reasons(others: Inspection['others']): string[] {
  const counts = new Map<string, string[]>();
  for (const { name, reason } of others) counts.set(reason, [...(counts.get(reason) ?? []), name]);
  if (counts.size === 0) return [];
  return [
    '',
    'not to be explained:',
    ...[...counts].map(([reason, names]) => {
      const more = names.length > 3 ? `, and ${String(names.length - 3)} more` : '';
      return `  ${names.slice(0, 3).map(printable).join(', ')}${more}: ${reason}`;
    }),
  ];
}

function images({ preprocessing }: Inspection): string {
  if ('missing' in preprocessing) return `images: ${preprocessing.missing}`;
  const { size, channels: order, scale, mean, std } = preprocessing;
  const how = `${order}, scale ${scale.toPrecision(4)}, mean ${mean.join(' ')}, std ${std.join(' ')}`;
  const shown = typeof size === 'number' ? sizes(size, size) : `${sizes(...size)} (height x width)`;
  return `images: ${shown}, ${how}`;
}

function sizes(...values: readonly number[]): string {
  return values.map(String).join(' x ');
}
