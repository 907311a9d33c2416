import { InvalidArgumentError, Option, type Command } from 'commander';
import { CHANNELS, type Channels } from '../data/image_channels.js';
import { imageSizeOf, type ImageSize } from '../data/image_size.js';
import { ACCURACIES, PRECISIONS } from '../engine/binding.js';
import { RUNTIMES, type Preprocessing, type RuntimeChoice } from '../performer/index.js';
import { deviceOptions, type DeviceOptions } from '../engine/session.js';

/** Options that all commands that compute share. */
export type DeviceFlags = DeviceOptions;

export function addDeviceFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--backend <name>', 'where to compute')
        .choices(['auto', 'cpu', 'cuda'])
        .default('auto'),
    )
    .option('--threads <count>', 'CPU threads (default: all that are allowed)', positiveInteger)
    .addOption(
      new Option('--precision <name>', 'of matrix products on CUDA (the CPU computes fp32)')
        .choices(PRECISIONS)
        .default('tf32'),
    )
    .addOption(
      new Option(
        '--accuracy <name>',
        'of 3x3 convolutions on the CPU: Winograd F(4x4), F(2x2), or no transform',
      )
        .choices(ACCURACIES)
        .default('fast'),
    );
}

/** Options of commands that load a performer. */
export type PerformerFlags = DeviceFlags & { runtime?: RuntimeChoice };

export function addRuntimeFlag(command: Command): Command {
  return command.addOption(
    new Option(
      '--runtime <name>',
      'what computes the CNN: partlens, onnxruntime-node (if installed), or the first that can',
    )
      .choices(RUNTIMES)
      .default('auto'),
  );
}

/** The flags of `addDeviceFlags` and `addRuntimeFlag`, as a performer is loaded with them. */
export function performerOptions(flags: PerformerFlags): PerformerFlags {
  const { runtime } = flags;
  return { ...deviceOptions(flags), ...(runtime ? { runtime } : {}) };
}

/** How images become the network's input, where no JSON file beside the model says it. */
export interface ImageFlags {
  imageSize?: ImageSize;
  imageSupersample?: number;
  imageMean?: number[];
  imageStd?: number[];
  imageChannels?: Channels;
  imageScale?: number;
}

export function addImageFlags(command: Command): Command {
  return command
    .option(
      '--image-size <pixels>',
      'of the network input: the side of a square, or height x width such as 240x320',
      imageSize,
    )
    .option('--image-supersample <k>', 'average k x k pixels into one', positiveInteger)
    .option('--image-mean <r,g,b>', 'mean of each channel, after --image-scale', numbers)
    .option('--image-std <r,g,b>', 'standard deviation of each channel', numbers)
    .addOption(
      new Option('--image-channels <order>', "the network's channels, in their order").choices(
        CHANNELS,
      ),
    )
    .option('--image-scale <factor>', 'factor on bytes, such as 0.00392 for 0..1', positive);
}

/** The flags that were given, as `loadPerformer` takes them. */
export function preprocessingOf(flags: ImageFlags): Partial<Preprocessing> {
  const given = {
    size: flags.imageSize,
    supersample: flags.imageSupersample,
    mean: flags.imageMean,
    std: flags.imageStd,
    channels: flags.imageChannels,
    scale: flags.imageScale,
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries);
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError('Expected an integer >= 1.');
}

export function countFrom0(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && text.trim() !== '') return value;
  throw new InvalidArgumentError('Expected an integer >= 0.');
}

/** `224`, or `240x320`: height x width. */
export function imageSize(text: string): ImageSize {
  const [, height = '', width = height] = /^(\d+)(?:x(\d+))?$/.exec(text) ?? [];
  const [rows, columns] = [Number(height), Number(width)];
  if (rows >= 1 && columns >= 1) return imageSizeOf(rows, columns);
  throw new InvalidArgumentError('Expected pixels such as 224, or height x width such as 240x320.');
}

export function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a number > 0.');
}

export function numbers(text: string): number[] {
  const values = text.split(',').map(Number);
  if (values.every(Number.isFinite)) return values;
  throw new InvalidArgumentError('Expected numbers with commas between.');
}

/** Names with commas between; a comma that belongs to a name is written `\\,`. */
export function names(text: string): string[] {
  return (text.match(/(?:\\.|[^,\\])+/gs) ?? []).map((name) => name.replaceAll(/\\([,\\])/g, '$1'));
}

/** A name as `names` reads it. */
export function escapedName(name: string): string {
  return name.replaceAll(/[,\\]/g, '\\$&');
}
