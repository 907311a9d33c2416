import type { FeatureStore } from '../data/feature_store.js';
import { Random } from '../random.js';
import { LAYER, rowsOf } from './features.js';
import type { RunConfig } from './run_folder.js';
import type { Trainer } from './trainer.js';
import { sizeOf } from '../engine/tensor.js';

/** Looks at a training run while it goes on; its bits are the same with and without. */
export interface TrainWatch {
  /** Photographs whose part maps are wanted, default 48, drawn by the seed. */
  photographs?: number;
  /** Asked after every step: are maps wanted now? Called more than once for a step. */
  isDue: (step: number) => boolean;
  /** Takes the maps; the next step is taken when the promise resolves. */
  onMaps: (maps: WatchedMaps) => Promise<void> | void;
}

/** Part maps in the middle of a run. */
export interface WatchedMaps {
  /** Steps done. */
  step: number;
  /** Paths of the photographs, relative to their folder; the same ones during a run. */
  images: readonly string[];
  filters: number;
  /** Maps of conv_interp_2, (images, filters, n, n), post-ReLU, before the mask. */
  layer2: Float32Array;
}

/** How many photographs a run of this configuration is watched on; 0 without a watch. */
export function watchedImages({ images }: RunConfig, watch: TrainWatch | undefined): number {
  return watch ? Math.min(watch.photographs ?? 48, images.train.length) : 0;
}

/** The part maps of a few photographs from time to time. */
export class Watcher {
  readonly #watch: TrainWatch;
  readonly #trainer: Trainer;
  readonly #images: readonly string[];
  readonly #features: Float32Array;
  readonly #filters: number;

  private constructor(
    watch: TrainWatch,
    trainer: Trainer,
    known: { images: readonly string[]; features: Float32Array; filters: number },
  ) {
    this.#watch = watch;
    this.#trainer = trainer;
    this.#images = known.images;
    this.#features = known.features;
    this.#filters = known.filters;
  }

  /** Draws the photographs and reads their features. Throws `E_FILE`. */
  static async create(
    watch: TrainWatch,
    { trainer, store, config }: { trainer: Trainer; store: FeatureStore; config: RunConfig },
  ): Promise<Watcher> {
    const all = Array.from(config.images.train);
    new Random(config.options.seed, 'watch').shuffle(all);
    const chosen = all.slice(0, watchedImages(config, watch));
    const rows = rowsOf(store, chosen, false);
    const features = new Float32Array(rows.length * sizeOf(store.tensors[LAYER] ?? []));
    await store.read(LAYER, rows, features);
    const images = rows.map((row) => store.rows[row]?.image ?? '');
    return new Watcher(watch, trainer, { images, features, filters: config.network.filters });
  }

  isDue(step: number): boolean {
    return this.#watch.isDue(step);
  }

  /** Hands over the maps if they are due; no step may be under way. */
  async look(step: number): Promise<void> {
    if (!this.isDue(step)) return;
    const layer2 = await this.#trainer.partMaps(this.#features);
    await this.#watch.onMaps({ step, images: this.#images, filters: this.#filters, layer2 });
  }
}
