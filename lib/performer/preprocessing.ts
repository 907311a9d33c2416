import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { expected, isSystemError, PartlensError, show } from '../errors.js';

/** How a photograph becomes the network's input. */
export interface Preprocessing {
  /** Side of the network's square input, pixels. */
  size: number;
  /**
   * The image is first brought to (supersample * size) pixels, then blocks of supersample x
   * supersample pixels are averaged and rounded to a byte. Default 1: no averaging.
   */
  supersample: number;
  /** Order of the network's channels. */
  channels: 'RGB' | 'BGR';
  /** input = (byte * scale - mean) / std; 1 / 255 brings bytes to 0..1. */
  scale: number;
  /** In the order of `channels`, after `scale`. */
  mean: readonly [number, number, number];
  /** In the order of `channels`, after `scale`; not 0. */
  std: readonly [number, number, number];
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
 */
export interface Sidecar {
  /** Undefined when there is no such file. */
  path: string | undefined;
  preprocessing: Partial<Preprocessing>;
  classes: readonly string[] | undefined;
}

const positive = z.number().positive();
const triple = z.tuple([z.number(), z.number(), z.number()]).readonly();
const fields = {
  size: z.number().int().min(1).max(8192),
  supersample: z.number().int().min(1).max(16),
  channels: z.enum(['RGB', 'BGR']),
  scale: positive,
  mean: triple,
  std: triple.refine((std) => std.every((value) => value !== 0), 'must not be 0'),
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
 * Joins the model's sidecar with the caller's fields, which win, and with the input's side where the
 * model fixes it (`modelSize`, pixels). Throws `E_ARGUMENT` naming what is still missing.
 */
export function completePreprocessing(
  sidecar: Sidecar,
  options: Partial<Preprocessing>,
  modelSize: number | undefined,
): Preprocessing {
  const size = modelSize === undefined ? {} : { size: modelSize };
  const joined = { supersample: 1, ...size, ...sidecar.preprocessing, ...options };
  const missing = (Object.keys(fields) as (keyof Preprocessing)[]).filter(
    (field) => joined[field] === undefined,
  );
  const { channels, mean, std, scale } = joined;
  if (missing.length > 0 || !channels || !mean || !std || scale === undefined) {
    throw expected(`${missing.join(', ')} of the images`, 'preprocessing', 'nothing', {
      op: 'preprocessing',
      details: { missing, sidecar: sidecar.path },
      remedy:
        'Write a JSON file with the name of the model, such as { "size": 224, "mean": [0.485, ' +
        '0.456, 0.406], "std": [0.229, 0.224, 0.225], "channels": "RGB", "scale": 0.00392156862745098 }.',
    });
  }
  if (modelSize !== undefined && joined.size !== modelSize) {
    throw expected(`${String(modelSize)}, as the model has`, 'size', joined.size, {
      op: 'preprocessing',
    });
  }
  return { size: joined.size ?? 0, supersample: joined.supersample, channels, scale, mean, std };
}

function fromWords(input: DescriptiveInput, file: string): Partial<Preprocessing> {
  const { shape, size: side, colour, channels = colour, mean, std } = input;
  const [, , height, width] = shape ?? [];
  if (typeof height === 'number' && height !== width) {
    throw refuse('a square input', 'input.shape', shape, file);
  }
  const size = side ?? (typeof height === 'number' ? height : undefined);
  const scale = typeof input.scale === 'string' ? scaleOf(input.scale, file) : input.scale;
  const supersample =
    input.supersample ??
    (input.resize === undefined ? undefined : supersampleOf(input.resize, size, file));
  return given({ size, supersample, channels, scale, mean, std });
}

/** `1/255 (0..1) before mean and std`, `none`, `0.0078125`. */
function scaleOf(text: string, file: string): number {
  const [, top, bottom = '1'] =
    /^\s*(\d+(?:\.\d+)?)(?:\s*\/\s*(\d+(?:\.\d+)?))?(?=\s|$)/.exec(text) ?? [];
  const scale = /^\s*none(?=\s|$)/i.test(text) ? 1 : Number(top) / Number(bottom);
  if (Number.isFinite(scale) && scale > 0) return scale;
  throw refuse('a number or a fraction such as "1/255"', 'input.scale', text, file);
}

/** `224x224 crop -> 112x112 by averaging each 2x2 block (...)`. */
function supersampleOf(text: string, size: number | undefined, file: string): number {
  const match = /^(\d+)x(\d+)\b.*->\s*(\d+)x(\d+) by averaging each (\d+)x(\d+) block\b/.exec(text);
  const [from = 0, , to = 0, , block = 0] = (match ?? []).slice(1).map(Number);
  const square =
    match?.[1] === match?.[2] && match?.[3] === match?.[4] && match?.[5] === match?.[6];
  if (match && square && from === to * block && (size ?? to) === to) return block;
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
