import { fingerprint } from '../data/fingerprint.js';
import { PartlensError } from '../errors.js';
import { listCheckpoints } from './checkpoint.js';
import { trainOptions, type TrainOptions, type TrainOptionsInput } from './options.js';
import { readRunConfig, type RunConfig } from './run_folder.js';

export const OTHER_DATA = 'another model, layer, targets, preprocessing or photographs';

/** The error of a folder whose run is not the one to go on with. */
export function otherRun(run: string, what: string): PartlensError {
  return new PartlensError(
    'E_STATE',
    `${run} holds a run with ${what}.\nResume it as its config.json says, or take another --out.`,
    { op: 'train' },
  );
}

/**
 * The options of a run that goes on: its own, whatever the defaults of now. Throws `E_STATE` naming those that
 * are given otherwise; `options` are the given ones with today's defaults.
 */
export function optionsOfRun(
  run: string,
  known: TrainOptions,
  { given, options }: { given: TrainOptionsInput; options: TrainOptions },
): TrainOptions {
  const keys = Object.keys(trainOptions.shape) as (keyof TrainOptions)[];
  const told = (value: unknown): string =>
    value === undefined ? 'by default' : JSON.stringify(value);
  const other = keys
    .filter((key) => given[key] !== undefined && told(known[key]) !== told(options[key]))
    .map((key) => `${key} ${told(known[key])}, not ${told(options[key])}`);
  if (other.length > 0) throw otherRun(run, `other options: ${other.join('; ')}`);
  return known;
}

/** Throws `E_STATE` where a run is that is not to be resumed. */
export async function refuseOtherRun(run: string, resume: boolean): Promise<void> {
  if (resume || (await listCheckpoints(run)).length === 0) return;
  throw new PartlensError(
    'E_STATE',
    `${run} holds a run already.\nUse --resume to go on with it, or another --out.`,
    { op: 'train' },
  );
}

/** The `config.json` to go on with; undefined where none can be read. Throws `E_FILE` for another format. */
export async function knownConfig(run: string): Promise<RunConfig | undefined> {
  return readRunConfig(run).catch((error: unknown) => {
    if (error instanceof PartlensError && error.details['format'] !== undefined) throw error;
    return undefined;
  });
}

/** Relative difference of scales that another machine's features may have. */
const SAME_SCALE = 1e-4;

/**
 * The configuration of a run that goes on: the known one, where the one of now asks for the same. The version of
 * the package does not matter, nor how it named the run. Throws `E_STATE` where it is another run, `E_FILE`
 * where its features have changed.
 */
export function goOnWith(run: string, known: RunConfig | undefined, now: RunConfig): RunConfig {
  if (!known) return now;
  if (fingerprint(asked(known)) !== fingerprint(asked(now))) throw otherRun(run, OTHER_DATA);
  const scales = ({ network, targetPower }: RunConfig): number[] => [
    network.featureScale,
    ...targetPower,
  ];
  const before = scales(known);
  const isSame = (value: number, i: number): boolean =>
    Math.abs(value / (before[i] ?? NaN) - 1) <= SAME_SCALE;
  if (scales(now).every(isSame)) {
    const { partlens, targetPower, fingerprint: key, network } = known;
    return { ...now, partlens, targetPower, fingerprint: key, network };
  }
  throw new PartlensError(
    'E_FILE',
    `The features in ${run} are not those that the run began with: their means differ.\n` +
      `Remove ${run}/features to extract them again.`,
    { op: 'train', details: { path: run } },
  );
}

/** What makes a run: not where its files lie, nor what is measured on its features. */
function asked(config: RunConfig): unknown {
  const { format, performer, images, network, targetPower, batch, steps, options } = config;
  const { fingerprint: model, layer, targets, output, preprocessing } = performer;
  return {
    ...{ format, model, layer, targets, output, preprocessing },
    ...{ train: images.train, validation: images.validation },
    network: { ...network, featureScale: 0 },
    ...{ powers: targetPower.length, batch, steps, options },
  };
}
