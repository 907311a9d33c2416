import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { listImages, readImage } from '../../lib/data/index.js';
import { maskPath } from '../../lib/data/masks.js';
import { drawPlacement, movePoint, type Placement } from '../../lib/data/placement.js';
import { evaluationJson } from '../../lib/evaluate/evaluation_json.js';
import type { Explainer } from '../../lib/explainer.js';
import type { Performer } from '../../lib/performer/index.js';
import { Random } from '../../lib/random.js';
import { temporaryFolder } from '../data/temporary.js';
import { CLASSES, N, tinyPerformer, withExplainer, writeTiny } from '../explainer/tiny.js';
import type { Tiny } from '../explainer/tiny.js';
import { failure } from '../support/performer.js';

const CELLS = N * N;
const mean = (values: readonly number[]): number =>
  values.reduce((sum, x) => sum + x, 0) / values.length;

/** Follow of every filter of each set, one photograph at a time: fewer than 100, so all count. */
async function followAnew(explainer: Explainer, folder: string): Promise<number[][]> {
  const { performer, config } = explainer;
  const { stride, firstCentre } = performer.layer.geometry;
  const frame = performer.preprocessing;
  const { images } = await listImages(folder);
  const peaks = async (path: string, place: Placement): Promise<number[][][]> => {
    const { pixels } = await readImage(path, frame, { place });
    const { layer } = await performer.features(pixels, 1);
    const { layer1, layer2 } = await explainer.maps(layer, 1);
    return [layer, layer1, layer2].map((maps) =>
      Array.from({ length: maps.length / CELLS }, (_, f) => {
        const map = [...maps.subarray(f * CELLS, (f + 1) * CELLS)];
        const cell = map.indexOf(Math.max(...map));
        const y = firstCentre[0] + stride[0] * Math.floor(cell / N);
        return [Math.max(...map), y, firstCentre[1] + stride[1] * (cell % N)];
      }),
    );
  };
  const rows: { className: string; a: number[][][]; b: number[][][]; at: Placement[] }[] = [];
  for (const { path, file, className } of images) {
    const at = ['a', 'b'].map((which) =>
      drawPlacement(frame, new Random(config.options.seed, `evaluate/jitter/${which}/${path}`)),
    );
    const [a, b] = [await peaks(file, at[0]!), await peaks(file, at[1]!)];
    rows.push({ className, a, b, at });
  }
  return [0, 1, 2].map((m) =>
    (rows[0]?.a[m] ?? []).map((_, f) => {
      const loud = (name: string): number =>
        mean(rows.filter((r) => r.className === name).map((r) => r.a[m]?.[f]?.[0] ?? NaN));
      const best = loud(CLASSES[0]) >= loud(CLASSES[1]) ? CLASSES[0] : CLASSES[1];
      const fires = (r: (typeof rows)[number]): boolean =>
        r.a[m]![f]![0]! > 0 && r.b[m]![f]![0]! > 0;
      // strongest first: floating-point sums depend on the order
      const counted = rows
        .filter((r) => r.className === best && fires(r))
        .sort((r, s) => s.a[m]![f]![0]! - r.a[m]![f]![0]!);
      if (counted.length < 10) return NaN;
      let [error, way] = [0, 0];
      for (const { a, b, at } of counted) {
        const [, y = NaN, x = NaN] = a[m]?.[f] ?? [];
        const [, v = NaN, u = NaN] = b[m]?.[f] ?? [];
        const [ty, tx] = movePoint([y, x], at[0]!, at[1]!);
        error += Math.hypot(v - ty, u - tx) ** 2;
        way += Math.hypot(y - ty, x - tx) ** 2;
      }
      return 1 - error / way;
    }),
  );
}

describe('explainer: evaluate, follow', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let performer: Performer;

  beforeEach(async () => {
    tiny = await writeTiny(folder(), { count: 24 });
    performer = await tinyPerformer(tiny.model);
  });
  afterEach(() => performer.dispose());

  const use = <T>(work: (explainer: Explainer) => Promise<T>): Promise<T> =>
    withExplainer(
      {
        ...{ performer, images: tiny.images, out: join(folder(), 'run') },
        ...{ filters: 7, decoder: 'learned' },
      },
      work,
    );

  it('filters follow photographs that are placed elsewhere, without landmarks', async () => {
    await use(async (explainer) => {
      const seen: number[] = [];
      const onProgress = (done: number, total: number): number => seen.push(done / total);
      const { follow } = await explainer.evaluate({ jitter: true, onProgress });
      const own = ['performer', 'layer1', 'layer2'];
      const maps = ['untrained', 'energy', 'performerSmoothed'];
      expect(Object.keys(follow ?? {})).to.deep.equal([
        ...own,
        ...maps,
        'fixedPositionCentre',
        'random',
      ]);
      expect(follow?.['fixedPositionCentre']).to.include({ mean: 0, median: 0, filters: 1 });
      expect(follow?.['random']?.mean).to.be.below(-1);
      const wanted = await followAnew(explainer, tiny.images);
      for (const [m, name] of own.entries()) {
        const scores = follow![name]!;
        expect(scores.images).to.equal(24);
        expect([...scores.perFilter]).to.deep.equal(wanted[m]);
        expect(scores.filters).to.equal(wanted[m]?.filter((value) => !Number.isNaN(value)).length);
      }
      expect(follow?.['performer']?.filters).to.be.above(0);
      expect(seen.at(-1)).to.equal(1);
      const json = evaluationJson(await explainer.evaluate({ jitter: 12 }));
      const { performer: first, controls } = json as {
        performer: { follow: object };
        controls: Record<string, { follow: object | null }>;
      };
      expect(controls['energy']?.follow).to.include({ images: 12 });
      expect(controls['random']?.follow).to.include({ images: 12 });
      expect(controls['fixedPositionBest']?.follow).to.equal(null);
      expect(first.follow).to.include({ images: 12 });
      expect(JSON.stringify(json)).not.to.include('NaN');
      for (const jitter of [0, 1.5]) {
        await failure('E_ARGUMENT', />= 1 for jitter/, () => explainer.evaluate({ jitter }));
      }
    });
  });

  it('filters are clusters of the cells of masks: labels that are filters are found', async () => {
    const masks = join(folder(), 'masks');
    const { images } = await listImages(tiny.images);
    await use(async (explainer) => {
      await mkdir(masks);
      await failure('E_FILE', /at least one photograph/, () => explainer.evaluate({ masks }));
      const maps: Float32Array[] = [];
      for (const { file } of images) {
        const { pixels } = await readImage(file, performer.preprocessing);
        maps.push((await performer.features(pixels, 1)).layer);
      }
      const scale = Array.from({ length: (maps[0]?.length ?? 0) / CELLS }, (_, f) =>
        mean(maps.map((map) => Math.max(0, ...map.subarray(f * CELLS, (f + 1) * CELLS)))),
      );
      for (const [n, { path, className }] of images.entries()) {
        const labels = Buffer.alloc(CELLS);
        for (let cell = 0; cell < CELLS; cell++) {
          const values = scale.map((by, f) =>
            by > 0 ? (maps[n]?.[f * CELLS + cell] ?? 0) / by : 0,
          );
          const most = Math.max(...values);
          labels[cell] = most > 0 ? 2 + values.indexOf(most) : 1;
        }
        await mkdir(join(masks, className), { recursive: true });
        await sharp(labels, { raw: { width: N, height: N, channels: 1 } })
          .toColourspace('b-w')
          .png()
          .toFile(maskPath(masks, path));
      }
      const { clusters } = await explainer.evaluate({ masks });
      expect(clusters).to.include({ from: 'masks', photographs: 24, cells: 24 * 32 });
      expect(clusters?.sets['performer']?.[1]?.ari, '6 filters').to.be.closeTo(1, 1e-12);
      expect(clusters?.sets['layer2']?.[1]?.ari).to.be.below(0.9);
      expect(clusters?.sets).to.include.keys('untrained', 'energy', 'performerSmoothed');
      await sharp({ create: { width: 4, height: 4, channels: 3, background: '#123' } })
        .png()
        .toFile(maskPath(masks, images[0]?.path ?? ''));
      await failure('E_FILE', /one grey channel.*3 channels/, () => explainer.evaluate({ masks }));
    });
  });
});
