import { z } from 'zod';
import { expected, type PartlensError } from '../errors.js';

const positive = z.number().positive();
const share = z.number().min(0).max(1);
const decay = z.number().min(0).lt(1);

/**
 * Every constant of the method with its default. Sections of DESIGN: network 1.1, losses and optimizer
 * 1.2. `filters` 0 means as many as the performer's layer has channels.
 */
export const networkOptions = z.object({
  filters: z
    .int()
    .min(0)
    .max(8192)
    .default(0)
    .describe('filters D in each explainer layer; 0: as the layer'),
  kernel: z
    .int()
    .min(1)
    .default(3)
    .refine((k) => k % 2 === 1, 'an odd number')
    .describe('side of the three convolutions, odd'),
  context: z
    .int()
    .min(1)
    .max(31)
    .optional()
    .refine((k) => k === undefined || k % 2 === 1, 'an odd number')
    .describe(
      'side of conv_interp_1 instead, odd: how far a filter sees; default 7 with appearance, else as kernel',
    ),
  contextChannels: z
    .int()
    .min(0)
    .max(8192)
    .optional()
    .describe(
      'channels of a linear map of the features that conv_interp_1 reads, 0: the features; default 64 with appearance',
    ),
  mask: z.boolean().default(true).describe('mask layers after both interpretable convolutions'),
  beta: positive.default(4).describe('slope of masks and templates'),
  normMomentum: share.default(0.9).describe('running means: share of the old value'),
  normFloor: share.default(0.05).describe('smallest running mean, as a share of the mean filter'),
  tracks: z
    .enum(['both', 'ordinary'])
    .default('both')
    .describe(
      'what is decoded: both tracks mixed, or the ordinary one alone (a ceiling, no parts)',
    ),
  decoder: z
    .enum(['own', 'learned'])
    .default('own')
    .describe("decoder: through the performer's own later layers, or FC layers as published"),
  decoderKernel: z
    .union([z.literal(1), z.literal(3)])
    .default(1)
    .describe('own: side of the convolution from the encoding to the maps'),
  appearance: z
    .int()
    .min(0)
    .max(1024)
    .optional()
    .describe(
      'own: channels of the code of what is seen, shared by all parts; default 128, learned: 0, none',
    ),
  gateRadius: positive
    .optional()
    .describe('cells from its peak at which the gate of a part shuts; default 9'),
  gatePower: positive
    .default(4)
    .describe('appearance: exponent with which gates compete for a place'),
  gateFloor: positive
    .default(0.2)
    .describe('appearance: strength, in usual peaks, of "no part" in that competition'),
  ordinaryChannels: z
    .int()
    .min(0)
    .max(8192)
    .default(16)
    .describe('appearance: channels of the ordinary track; 0: none'),
  imageNorm: z
    .number()
    .min(0)
    .optional()
    .describe(
      'root mean square to which the filters see each photograph scaled, 0: as it is; default 2.5 with appearance',
    ),
  initial: z
    .enum(['he', 'identity', 'kmeans'])
    .default('he')
    .describe('initial filters: random, channels of the layer, k-means directions of its features'),
});

export const lossOptions = z.object({
  lambdaRec: z
    .union([z.number().min(0), z.array(z.number().min(0)).min(1)])
    .default(1)
    .describe('weight of the reconstruction, one number or one per target'),
  lambdaMaps: z.number().min(0).default(1).describe('own: weight of the rebuilt maps'),
  lambdaKl: z
    .number()
    .min(0)
    .default(1)
    .describe("own: weight of KL(performer's classes | rebuilt), where the output is a classifier"),
  eta: z.number().min(0).default(0.3).describe('weight of the contribution loss -eta log p'),
  lambdaFilter: z
    .union([z.literal('balanced'), z.number().min(0)])
    .default('balanced')
    .describe('weight of the filter loss: balanced by rho, or fixed (0: none)'),
  rho: z
    .number()
    .min(0)
    .default(3)
    .describe('filter loss against reconstruction, in gradient norms'),
  diversity: z
    .number()
    .min(0)
    .default(6)
    .describe('overlap of filters against filter loss at first; 0: nothing keeps filters apart'),
  diversityFirst: share.default(1).describe('diversity of conv_interp_1 as a share of the other'),
  diversityEnd: share.default(1).describe('last diversity as a share of the first (linear)'),
  competition: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe(
      'share of the filter loss of conv_interp_2 taken on maps that compete; default 0.3 with appearance',
    ),
  balance: z
    .number()
    .min(0)
    .optional()
    .describe(
      'weight of "no part" in images that the CNN puts into another class than the filter\'s; default 0.1 with appearance',
    ),
  ordinaryDropout: share
    .default(0.5)
    .describe('appearance: share of images from which the ordinary track is left out in training'),
  scale: z
    .enum(['peak', 'paper'])
    .default('peak')
    .describe('maps in the filter loss: scaled or raw'),
  kappa: positive.default(0.5).describe('scale peak: mean peak of the scaled maps'),
  tau: positive.optional().describe('height of the templates; peak: 1, paper: 0.5 / n^2'),
  alpha: z.number().gt(0).lt(1).optional().describe('prior of a part; default n^2 / (1 + n^2)'),
  project: z.boolean().optional().describe('filters keep their initial norm; default: scale peak'),
});

export const optimizerOptions = z.object({
  optimizer: z.enum(['adam', 'sgd']).default('adam').describe('rule of the steps'),
  lr: positive.default(1e-3).describe('learning rate at the first step'),
  lrEnd: share.default(0.01).describe('last learning rate as a share of the first (cosine decay)'),
  filterShare: z
    .number()
    .gt(0)
    .max(1)
    .optional()
    .describe(
      'first share of the steps, in which filters learn; then only what reads them does; default 0.25 with appearance',
    ),
  lrScaleP: positive.default(30).describe('factor on the learning rate of w_p'),
  lrScaleDecoder: positive.default(0.3).describe('factor on the learning rate of the decoder'),
  beta1: decay.default(0.9).describe('adam: decay of the mean gradient'),
  beta2: decay.default(0.999).describe('adam: decay of the mean square of the gradient'),
  eps: positive.default(1e-8).describe('adam: added to the root of the mean square'),
  momentum: share.default(0.9).describe('sgd: momentum'),
  weightDecay: z.number().min(0).default(0).describe('added to the gradient, times the weight'),
  clipNorm: positive
    .optional()
    .describe('largest norm of all gradients together; default: no limit'),
});

export const scheduleOptions = z.object({
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(1)
    .describe('seed of initial filters, split, order and dropout'),
  batch: z.int().min(2).default(32).describe('images in a training step'),
  steps: z
    .int()
    .min(1)
    .default(900)
    .describe('optimizer steps, however many photographs there are'),
  epochs: z.int().min(1).optional().describe('passes over the training images, in place of steps'),
  validation: z.number().min(0).max(0.9).default(0.15).describe('share of photographs kept out'),
  mirror: z.boolean().default(true).describe('train on mirrored images too'),
  features: z.enum(['float32', 'float16']).default('float32').describe('type of the feature store'),
  checkpointEvery: z.int().min(1).default(200).describe('steps between checkpoints'),
  logEvery: z.int().min(1).default(10).describe('steps between lines of metrics.jsonl'),
});

/** All options of a training run, validated, with defaults. */
export const trainOptions = z.object({
  ...networkOptions.shape,
  ...lossOptions.shape,
  ...optimizerOptions.shape,
  ...scheduleOptions.shape,
});

export type TrainOptions = z.output<typeof trainOptions>;
/** Whether filters are drawn to parts at all. */
export function hasFilterLoss({ tracks, lambdaFilter, rho }: TrainOptions): boolean {
  const weight = lambdaFilter === 'balanced' ? rho : lambdaFilter;
  return tracks !== 'ordinary' && weight > 0;
}

/** What a user may give: any subset. */
export type TrainOptionsInput = z.input<typeof trainOptions>;

/**
 * Checks options and fills in the defaults; keys that are no options of training are passed over. Throws
 * `E_ARGUMENT` naming the first that is wrong.
 */
export function parseTrainOptions(given: object): TrainOptions {
  const chosen = Object.entries(given).filter(([key]) => key in trainOptions.shape);
  const parsed = trainOptions.safeParse(Object.fromEntries(chosen));
  if (parsed.success) return withAppearance(parsed.data);
  const [issue] = parsed.error.issues;
  throw issue ? wrongOption(issue, given) : parsed.error;
}

const WITH_APPEARANCE = {
  ...{ contextChannels: 64, gateRadius: 9, imageNorm: 2.5 },
  ...{ competition: 0.3, balance: 0.1, filterShare: 0.125 },
};
const AS_PUBLISHED = {
  ...{ contextChannels: 0, gateRadius: 9, imageNorm: 0 },
  ...{ competition: 0, balance: 0, filterShare: 1 },
};

/** Fills in what hangs on the form: with appearance, or as published. Throws `E_ARGUMENT` where these are mixed. */
function withAppearance(options: TrainOptions): TrainOptions {
  const { decoder, tracks } = options;
  const apart = decoder === 'learned' || tracks === 'ordinary';
  const { appearance = apart ? 0 : 128 } = options;
  if (appearance > 0 && apart) {
    const remedy = 'Appearance needs the decoder own and both tracks.';
    throw expected('0', 'appearance', appearance, { op: 'train', remedy });
  }
  const form =
    appearance > 0
      ? { ...WITH_APPEARANCE, context: Math.max(7, options.kernel) }
      : { ...AS_PUBLISHED, context: options.kernel };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return {
    ...form,
    ...(Object.fromEntries(given) as TrainOptions),
    appearance,
  };
}

function wrongOption(issue: z.core.$ZodIssue, given: object): PartlensError {
  const [key = ''] = issue.path;
  const schema = (trainOptions.shape as Record<string, z.ZodType>)[String(key)];
  const about = schema?.description;
  return expected(wanted(issue), String(key), (given as Record<PropertyKey, unknown>)[key], {
    op: 'train',
    ...(about === undefined ? {} : { remedy: `${String(key)}: ${about}.` }),
  });
}

/** What a value should have been, for the house's sentence. */
function wanted(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'too_small':
      return `a number ${issue.inclusive ? '>=' : '>'} ${String(issue.minimum)}`;
    case 'too_big':
      return `a number ${issue.inclusive ? '<=' : '<'} ${String(issue.maximum)}`;
    case 'invalid_value':
      return `one of ${issue.values.map(String).join(', ')}`;
    case 'invalid_type':
      return issue.expected === 'int' ? 'an integer' : `a ${issue.expected}`;
    case 'custom':
      return issue.message;
    default:
      return 'a valid value';
  }
}
