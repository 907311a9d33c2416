import { listImages, type ImageFile } from '../data/images.js';
import type { TrainProgress } from '../explainer/train.js';
import type { TrainWatch, WatchedMaps } from '../explainer/watch.js';
import type { StepReport } from '../explainer/trainer.js';
import { gridOf } from '../evaluate/filter_scores.js';
import type { Performer } from '../performer/index.js';
import { trainingCurves } from './curves.js';
import type { Picture } from './data.js';
import { spotOf } from './filters.js';
import { Gallery } from './gallery.js';
import { htmlPage, loadPage } from './html.js';
import type { LiveData, LiveParts, LiveState } from './live_data.js';
import { LiveServer } from './live_server.js';
import { shrinkPictures } from './pictures.js';

export interface LiveViewOptions {
  performer: Performer;
  /** Folder of photographs. */
  images: string;
  /** Time between part pictures, milliseconds, default 2000. */
  every?: number;
  /** Called when the page holds the run, with the page's address. */
  onPause?: ((url: string) => void) | undefined;
}

/** Filters that are shown. */
const FILTERS = 12;
/** Time between updates of the curves, milliseconds. */
const CURVES_EVERY = 500;
/** Steps that curves remember; then every other one is forgotten. */
const MOST_STEPS = 4000;

/**
 * A local page that shows a training run while it goes on: curves, part pictures, buttons to pause and to
 * stop. Hand `watch`, `signal` and `progress` to `trainExplainer`. Open pages may come and go; the run
 * does not depend on them, except that it waits while it is paused.
 */
export class LiveView {
  /** What `trainExplainer` needs to be watched. */
  readonly watch: TrainWatch;
  readonly #options: LiveViewOptions;
  readonly #stopped = new AbortController();
  readonly #data: LiveData;
  readonly #log: StepReport[] = [];
  #server: LiveServer | undefined;
  #files: Promise<Map<string, ImageFile>> | undefined;
  #nextMaps = 0;
  #nextCurves = 0;
  #resume: (() => void) | undefined;

  private constructor(options: LiveViewOptions) {
    this.#options = options;
    const { layer, input } = options.performer;
    this.#data = {
      state: 'running',
      status: 'starting',
      share: 0,
      frame: { height: input.height, width: input.width, field: layer.geometry.size },
      pictures: [],
      parts: { step: 0, filters: [] },
      curves: [],
    };
    this.watch = {
      isDue: () => this.#data.state === 'paused' || performance.now() >= this.#nextMaps,
      onMaps: (maps) => this.#take(maps),
    };
  }

  /** Starts to serve. Throws `E_STATE` when pages are not built or there is no port. */
  static async open(options: LiveViewOptions): Promise<LiveView> {
    const view = new LiveView(options);
    const { layer } = options.performer;
    const title = `Training parts of ${layer.name}`;
    view.#server = await LiveServer.start({
      html: htmlPage(await loadPage('live'), { title, data: { title }, connect: 'self' }),
      snapshot: () => view.#data,
      commands: {
        pause: () => view.#setState('paused'),
        resume: () => view.#setState('running'),
        stop: () => view.stop(),
      },
    });
    return view;
  }

  /** Address of the page. */
  get url(): string {
    return this.#server?.url ?? '';
  }

  /** Aborts when the page asks to stop. */
  get signal(): AbortSignal {
    return this.#stopped.signal;
  }

  /** Where the run is; `status` for people. */
  progress(progress: TrainProgress, status: string): void {
    const { phase } = progress;
    this.#data.status = status;
    this.#data.share =
      phase === 'train' ? progress.step / progress.steps : progress.done / progress.total;
    if (phase === 'train') this.#remember(progress.report);
    const now = performance.now();
    const last = phase === 'train' && progress.step === progress.steps;
    if (now < this.#nextCurves && !last) return;
    this.#nextCurves = now + CURVES_EVERY;
    const targets = this.#options.performer.targets.map(({ name }) => name);
    this.#data.curves = trainingCurves(this.#log, targets);
    const { share, curves } = this.#data;
    this.#server?.send('progress', { status, share, curves });
  }

  /** Lets a paused run go on and asks it to stop. */
  stop(): void {
    this.#setState('stopping');
    this.#stopped.abort();
  }

  /** Says that the run is over and ends the service. */
  async close(): Promise<void> {
    this.#setState('ended');
    await this.#server?.close();
  }

  #setState(state: LiveState): void {
    const { state: old } = this.#data;
    if (old === 'ended' || (old === 'stopping' && state !== 'ended')) return;
    this.#data.state = state;
    this.#server?.send('state', { state });
    if (state === 'paused') {
      this.#options.onPause?.(this.url);
      return;
    }
    this.#resume?.();
    this.#resume = undefined;
  }

  #remember(report: StepReport): void {
    this.#log.push(report);
    if (this.#log.length <= MOST_STEPS) return;
    const kept = this.#log.filter((_, i) => i % 2 === 0);
    this.#log.splice(0, this.#log.length, ...kept);
  }

  /** Draws the parts; while the run is paused it waits here. No failure of a picture ends the run. */
  async #take(maps: WatchedMaps): Promise<void> {
    try {
      await this.#draw(maps);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      this.#server?.send('problem', { problem: (this.#data.problem = problem) });
    }
    this.#nextMaps = performance.now() + (this.#options.every ?? 2000);
    if (this.#data.state !== 'paused') return;
    await new Promise<void>((resolve) => (this.#resume = resolve));
  }

  async #draw(maps: WatchedMaps): Promise<void> {
    if (this.#data.pictures.length === 0) {
      this.#data.pictures = await this.#loadPictures(maps.images);
      this.#server?.send('pictures', { pictures: this.#data.pictures });
    }
    this.#data.parts = partsOf(maps, this.#options.performer);
    this.#server?.send('parts', { parts: this.#data.parts });
  }

  async #loadPictures(paths: readonly string[]): Promise<Picture[]> {
    this.#files ??= listImages(this.#options.images).then(
      ({ images }) => new Map(images.map((file) => [file.path, file])),
    );
    const files = await this.#files;
    const chosen = paths.flatMap((path) => files.get(path) ?? []);
    const small = await shrinkPictures(chosen, { bytes: 2 ** 20 });
    return chosen.map(({ path }, i) => ({ image: path, class: 0, webp: small[i] ?? '' }));
  }
}

/** Filters spread evenly, each on its strongest photographs. */
function partsOf({ step, images, filters, layer2 }: WatchedMaps, performer: Performer): LiveParts {
  const grid = gridOf(performer);
  const cells = grid.rows * grid.columns;
  const gallery = new Gallery(images.length, { filters, cells });
  gallery.add(layer2, 0, images.length);
  const frame = { gallery, grid, size: [performer.input.height, performer.input.width] as const };
  const count = Math.min(FILTERS, filters);
  const chosen = Array.from({ length: count }, (_, i) => Math.floor((i * filters) / count));
  return {
    step,
    filters: chosen.map((f) => ({
      filter: f,
      spots: (gallery.strongest[f] ?? []).map((strong) =>
        spotOf(strong, f, { ...frame, pictureOf: (image) => image }),
      ),
    })),
  };
}
