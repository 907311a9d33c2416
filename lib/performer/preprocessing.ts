import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { InputFormat } from '../data/decode.js';
import { channelCount, CHANNELS, type Channels } from '../data/image_channels.js';
import { imageSizeOf, showSize, sidesOf, type ImageSize } from '../data/image_size.js';
import { expected, isSystemError, PartlensError, show } from '../errors.js';

/** How a photograph becomes the network's input. */
export type Preprocessing = InputFormat;

/** What a model says of its input; sizes in pixels. */
export interface ModelInput {
  channels: number;
  height: number;
  width: number;
  /** True where it wants whole numbers from 0 to 255. */
  bytes: boolean;
}

/**
 * What the JSON file beside a model says; each field may be missing. Two forms are read:
 *
 *     { "size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
 *       "channels": "RGB", "scale": 0.00392156862745098, "supersample": 1, "classes": ["cat", ...] }
 *
 * and what training scripts write, an object `input` of `shape`, `colour`, `mean`, `std`, `scale`
 * (a number, or words that begin with one: `"1/255 (0..1)"`) and `resize` (only `"224x224 crop ->
 * 112x112 by averaging each 2x2 block"`), beside `classes`. Words that are not understood are errors.
 * `size` is the side of a square, or [height, width]; words of sizes are height x width too. `channels`
 * (`colour`) is RGB, BGR, grey or RGBA, `mean` and `std` have a number for each.
 */
export interface Sidecar {
  /** Undefined when there is no such file. */
  path: string | undefined;
  preprocessing: Partial<Preprocessing>;
  classes: readonly string[] | undefined;
}

const positive = z.number().positive();
const perChannel = z
  .array(z.number())
  .refine(({ length }) => [1, 3, 4].includes(length), 'must be 1, 3 or 4 numbers')
  .readonly();
const side = z.number().int().min(1).max(8192);
const fields = {
  size: z.union([side, z.tuple([side, side])]).transform((size) => imageSizeOf(...sidesOf(size))),
  supersample: z.number().int().min(1).max(16),
  channels: z.enum(CHANNELS),
  scale: positive,
  mean: perChannel,
  std: perChannel.refine((std) => std.every((value) => value !== 0), 'must not be 0'),
};
const partial = z.strictObject(fields).partial();
const classes = z.array(z.string().min(1)).min(1);

const StrictSidecar = z.strictObject({ ...partial.shape, classes: classes.optional() });

/** The descriptive form that training scripts write: an `input` object, with words allowed. */
const DescriptiveSidecar = z.looseObject({
  input: z.looseObject({
    shape: z
      .array(z.union([z.number(), z.string()]))
      .length(4)
      .optional(),
    size: fields.size.optional(),
    colour: fields.channels.optional(),
    channels: fields.channels.optional(),
    scale: z.union([positive, z.string()]).optional(),
    mean: fields.mean.optional(),
    std: fields.std.optional(),
    supersample: fields.supersample.optional(),
    resize: z.string().optional(),
  }),
  classes: classes.optional(),
});

type DescriptiveInput = z.infer<typeof DescriptiveSidecar>['input'];

/** `dir/net.onnx` -> `dir/net.json`. */
export function sidecarPath(modelPath: string): string {
  const { dir, name } = path.parse(modelPath);
  return path.join(dir, `${name}.json`);
}

/**
 * Reads the JSON file with the model's name. Throws `E_ARGUMENT` for a field that it does not
 * understand (nothing is guessed) and `E_FILE` for one that cannot be read.
 */
export async function readSidecar(modelPath: string): Promise<Sidecar> {
  const file = sidecarPath(modelPath);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if (!isSystemError(cause)) throw cause;
    if (cause.code === 'ENOENT') return { path: undefined, preprocessing: {}, classes: undefined };
    const message = `Cannot read ${show(file)}: ${cause.code ?? cause.message}.`;
    throw new PartlensError('E_FILE', message, { cause });
  }
  return { path: file, ...parseSidecar(text, file) };
}

/** Parses the text of a sidecar, in either form. */
export function parseSidecar(text: string, file: string): Omit<Sidecar, 'path'> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw expected('JSON', file, `${String(text.length)} characters`, {
      op: 'preprocessing',
      cause,
    });
  }
  if (typeof json === 'object' && json !== null && 'input' in json) {
    const { input, classes: names } = parse(DescriptiveSidecar, json, file);
    return { preprocessing: fromWords(input, file), classes: names };
  }
  const { classes: names, ...preprocessing } = parse(StrictSidecar, json, file);
  return { preprocessing: given(preprocessing), classes: names };
}

/** Checks options given by the caller; unknown fields are refused. */
export function parsePreprocessing(options: unknown): Partial<Preprocessing> {
  return given(parse(partial, options, 'preprocessing'));
}

/**
 * Joins the model's sidecar with the caller's fields, which win, and with what the model itself says of
 * its input. Throws `E_ARGUMENT` naming what is still missing, and what does not fit the model.
 */
export function completePreprocessing(
  sidecar: Sidecar,
  options: Partial<Preprocessing>,
  input: ModelInput,
): Preprocessing {
  const size = imageSizeOf(input.height, input.width);
  const own = input.bytes ? asTheyAre(input.channels) : {};
  const joined = { supersample: 1, size, ...own, ...sidecar.preprocessing, ...options };
  const { supersample, channels, scale, mean, std } = joined;
  if (!channels || !mean || !std || scale === undefined) {
    const needed = ['channels', 'scale', 'mean', 'std'] as const;
    const missing = needed.filter((field) => joined[field] === undefined);
    throw expected(`${missing.join(', ')} of the images`, 'preprocessing', 'nothing', {
      op: 'preprocessing',
      details: { missing, sidecar: sidecar.path },
      remedy:
        `Write a JSON file with the name of the model, such as ${example(size, input)}, ` +
        `or give ${missing.map((field) => `--image-${field}`).join(', ')}.`,
    });
  }
  const whole = { size: joined.size, supersample, channels, scale, mean, std };
  checkFit(whole, size, input);
  return whole;
}

/** Bytes as they are. */
function asTheyAre(channels: number): Pick<Preprocessing, 'scale' | 'mean' | 'std'> {
  const all = (value: number): number[] => Array.from({ length: channels }, () => value);
  return { scale: 1, mean: all(0), std: all(1) };
}

/** A sidecar that would fit the model. */
function example(size: ImageSize, { channels, bytes }: ModelInput): string {
  const [name = 'RGB'] = fitting(channels);
  const usual =
    channels === 3
      ? { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
      : { mean: Array(channels).fill(0.5), std: Array(channels).fill(0.25) };
  const numbers = bytes ? {} : { ...usual, scale: 0.00392156862745098 };
  const text = JSON.stringify({ size, ...numbers, channels: name }, null, 1);
  return text.replaceAll(/\s+/g, ' ').replaceAll(/\[ (.*?) \]/g, '[$1]');
}

function fitting(count: number): readonly Channels[] {
  return CHANNELS.filter((channels) => channelCount(channels) === count);
}

/** Throws `E_ARGUMENT` for fields that contradict the model or each other. */
function checkFit(given: Preprocessing, size: ImageSize, input: ModelInput): void {
  const refuseFor = (what: string, field: keyof Preprocessing, flag = field): PartlensError =>
    expected(what, field, given[field], {
      op: 'preprocessing',
      remedy: `Set it in the JSON file beside the model, or by --image-${flag}.`,
    });
  if (showSize(given.size) !== showSize(size)) {
    throw refuseFor(`${showSize(size)}, as the model has`, 'size');
  }
  const count = channelCount(given.channels);
  if (count !== input.channels) {
    const what = fitting(input.channels).map(show).join(' or ');
    throw refuseFor(`${what}, as the model's input has C = ${String(input.channels)}`, 'channels');
  }
  for (const field of ['mean', 'std'] as const) {
    if (given[field].length === count) continue;
    throw refuseFor(`${String(count)} numbers, as ${given.channels} has channels`, field);
  }
  if (!input.bytes) return;
  for (const [field, value] of [
    ['scale', 1],
    ['mean', 0],
    ['std', 1],
  ] as const) {
    const values = [given[field]].flat();
    if (values.every((one) => one === value)) continue;
    throw refuseFor(`${String(value)}, as the model takes bytes,`, field);
  }
}

function fromWords(input: DescriptiveInput, file: string): Partial<Preprocessing> {
  const { shape, colour, channels = colour, mean, std } = input;
  const size = input.size ?? (shape && sizeOfShape(shape));
  const scale = typeof input.scale === 'string' ? scaleOf(input.scale, file) : input.scale;
  const supersample =
    input.supersample ??
    (input.resize === undefined ? undefined : supersampleOf(input.resize, size, file));
  return given({ size, supersample, channels, scale, mean, std });
}

/** Height and width of (N, C, H, W) or (N, H, W, C); undefined where they are open. */
function sizeOfShape(shape: readonly (number | string)[]): ImageSize | undefined {
  const isChannels = (dim: number | string | undefined): boolean => [1, 3, 4].includes(Number(dim));
  const last = !isChannels(shape[1]) && isChannels(shape[3]);
  const [height, width] = last ? shape.slice(1, 3) : shape.slice(2);
  if (typeof height !== 'number' || typeof width !== 'number') return undefined;
  return imageSizeOf(height, width);
}

/** `1/255 (0..1) before mean and std`, `none`, `0.0078125`. */
function scaleOf(text: string, file: string): number {
  const [, top, bottom = '1'] =
    /^\s*(\d+(?:\.\d+)?)(?:\s*\/\s*(\d+(?:\.\d+)?))?(?=\s|$)/.exec(text) ?? [];
  const scale = /^\s*none(?=\s|$)/i.test(text) ? 1 : Number(top) / Number(bottom);
  if (Number.isFinite(scale) && scale > 0) return scale;
  throw refuse('a number or a fraction such as "1/255"', 'input.scale', text, file);
}

/** `224x224 crop -> 112x112 by averaging each 2x2 block (...)`; sizes are height x width. */
function supersampleOf(text: string, size: ImageSize | undefined, file: string): number {
  const match = /^(\d+)x(\d+)\b.*->\s*(\d+)x(\d+) by averaging each (\d+)x\5 block\b/.exec(text);
  const [fromRows = 0, fromColumns = 0, rows = 0, columns = 0, block = 0] = (match ?? [])
    .slice(1)
    .map(Number);
  const whole = fromRows === rows * block && fromColumns === columns * block;
  const to = imageSizeOf(rows, columns);
  if (match && whole && showSize(size ?? to) === showSize(to)) return block;
  const what = 'words such as "224x224 crop -> 112x112 by averaging each 2x2 block"';
  throw refuse(what, 'input.resize', text, file);
}

function refuse(what: string, field: string, received: unknown, file: string): PartlensError {
  return expected(what, `${field} in ${file}`, received, {
    op: 'preprocessing',
    remedy: 'Or give the numbers: size, supersample, channels, scale, mean, std.',
  });
}

/** Drops fields that are undefined. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

function parse<T>(schema: z.ZodType<T>, value: unknown, name: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const at = issue?.path.join('.') ?? '';
  throw expected(
    'valid preprocessing',
    name,
    `${at}${at === '' ? '' : ': '}${issue?.message ?? ''}`,
    {
      op: 'preprocessing',
      cause: result.error,
    },
  );
}
