import { Random } from '../../lib/random.js';
import type { NetworkSpec } from '../../lib/explainer/network_spec.js';
import { parseTrainOptions, type TrainOptions } from '../../lib/explainer/options.js';
import type { Batch } from '../../lib/explainer/trainer.js';

/**
 * One training step to be timed, of the method as published: without the diversity term, which the peers
 * do not have either, and with the decoder that learns fully connected layers. bench/gpu/setting.py has the same three by the same names.
 */
export interface Setting {
  name: string;
  batch: number;
  spec: NetworkSpec;
  options: TrainOptions;
  /** Smallest accepted ratio of PyTorch's time to ours. */
  bar: number;
}

interface Sizes {
  channels: number;
  batch: number;
  targets: number[];
  side?: number;
  bar: number;
}

export function settingOf(name: string, sizes: Sizes, given: Partial<TrainOptions> = {}): Setting {
  const { channels, batch, side = 14, bar } = sizes;
  const targets = sizes.targets.map((size, l) => ({
    ...{ name: `h${String(l + 1)}`, shape: [size], size, relu: true },
  }));
  const pool = { kernel: 2, stride: 2 };
  const cells = { height: side, width: side, pool, site: undefined };
  const spec = { channels, filters: channels, ...cells, targets, featureScale: 1 };
  return {
    name,
    batch,
    spec,
    options: parseTrainOptions({ diversity: 0, decoder: 'learned', ...given }),
    bar,
  };
}

export const SETTINGS: readonly Setting[] = [
  settingOf(
    'VGG-16',
    { channels: 512, batch: 32, targets: [4096, 4096], bar: 2 },
    { optimizer: 'sgd' },
  ),
  settingOf('small VGG', { channels: 256, batch: 64, targets: [1024, 1024], bar: 2 }),
  settingOf('demo', { channels: 64, batch: 64, targets: [256, 256], bar: 1.8 }),
];

/** The same step with the diversity term of the package's defaults. */
export function withDiversity(setting: Setting): Setting {
  const { diversity, diversityFirst, diversityEnd } = parseTrainOptions({});
  return { ...setting, options: { ...setting.options, diversity, diversityFirst, diversityEnd } };
}

/** A batch of maps with a few bright spots, and targets at random. */
export function drawBatch({ batch, spec }: Setting, seed: number): Batch {
  const { channels, height: side, targets } = spec;
  const random = new Random(seed, 'bench/train');
  const features = new Float32Array(batch * channels * side * side);
  for (let map = 0; map < batch * channels; map++) {
    const [row, column] = [random.int(side), random.int(side)];
    for (let i = 0; i < side * side; i++) {
      const far = (Math.floor(i / side) - row) ** 2 + ((i % side) - column) ** 2;
      const value = random.normal() + 6 * Math.exp(-far / 4) - 0.5;
      features[map * side * side + i] = Math.max(value, 0);
    }
  }
  const target = (size: number): Float32Array =>
    Float32Array.from({ length: batch * size }, () => Math.max(random.normal() + 0.3, 0));
  return {
    features,
    targets: targets.map(({ size }) => target(size)),
    bypass: [],
    output: undefined,
  };
}
