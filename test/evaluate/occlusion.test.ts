import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { greyOf, occlusionCheck, occlusionVerdict } from '../../lib/evaluate/occlusion.js';
import {
  cellDistance,
  energyPeak,
  occlusionFalls,
  occlusionHolds,
  withSquare,
  type PlaceFalls,
} from '../../lib/evaluate/metrics/index.js';
import type { TrainedExplainer } from '../../lib/explainer/trained.js';
import type { Preprocessing } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';

/** Cells of the maps, pixels of a cell. */
const [N, CELL] = [8, 4];
const SIDE = N * CELL;

const PREPROCESSING: Preprocessing = {
  ...{ size: SIDE, supersample: 1, channels: 'grey', scale: 1 / 255, mean: [0.5], std: [0.25] },
};

/**
 * A performer whose class score is the light of one cell and nothing else, and an explainer of two filters:
 * one at that cell, one far from it, that gives `gifts` to the score of what is rebuilt.
 */
function synthetic(place: number, far: number, gifts: readonly [number, number]): TrainedExplainer {
  const pixelsOf = (cell: number): [number, number] => [
    Math.floor(cell / N) * CELL,
    (cell % N) * CELL,
  ];
  const performer = {
    input: { channels: 1, height: SIDE, width: SIDE },
    layer: {
      ...{ height: N, width: N },
      geometry: { stride: [CELL, CELL], firstCentre: [(CELL - 1) / 2, (CELL - 1) / 2] },
    },
    output: { size: 2, softmax: false },
    preprocessing: PREPROCESSING,
    tailCost: 1,
    features: (images: Float32Array, count: number) => {
      const [y, x] = pixelsOf(place);
      const output = new Float32Array(2 * count);
      for (let n = 0; n < count; n++) {
        output[2 * n] = images[n * SIDE * SIDE + (y + 1) * SIDE + x + 1] ?? NaN;
        output[2 * n + 1] = -9;
      }
      const layer = new Float32Array(N * N).fill(0.01);
      layer[far] = 1; // the strongest features are where the class is not
      return Promise.resolve({ layer, bypass: [], targets: [], output });
    },
  };
  const map = (cell: number): number[] => Array.from({ length: N * N }, (_, i) => +(i === cell));
  const two = Float32Array.from([...map(place), ...map(far)]);
  return {
    config: { network: { filters: 2 }, options: { seed: 1, tracks: 'both' } },
    ...{ performer, cells: N * N, positions: 1, encodingSize: 2, p: 0.5 },
    encode: () =>
      Promise.resolve({
        ...{ layer1: two, layer2: two, masked: two },
        ...{ interp: Float32Array.of(1, 1), ordin: Float32Array.of(0, 0) },
      }),
    decode: (encodings: Float32Array) => Promise.resolve([encodings]),
    answer: ([x = new Float32Array(0)]: Float32Array[], _: unknown, count: number) =>
      Promise.resolve({
        targets: [],
        output: Float32Array.from({ length: 2 * count }, (_, i) =>
          i % 2 ? 0 : gifts[0] * x[i]! + gifts[1] * x[i + 1]!,
        ),
      }),
  } as unknown as TrainedExplainer;
}

describe('evaluate: occlusion', () => {
  const folder = temporaryFolder();

  /** Photographs of one light each, and one that is all white. */
  async function photographs(): Promise<string[]> {
    const files: string[] = [];
    for (const light of [255, 250, 245]) {
      const file = join(folder(), `${String(light)}.png`);
      const create = {
        ...{ width: SIDE, height: SIDE, channels: 3 as const },
        background: { r: light, g: light, b: light },
      };
      await sharp({ create }).png().toFile(file);
      files.push(file);
    }
    return files;
  }

  it('a performer that looks at one place alone: the part there costs it all, others nothing', async () => {
    const files = await photographs();
    const [place, far] = [2 * N + 2, 6 * N + 6];
    const found = (await occlusionCheck(synthetic(place, far, [2, -1]), files))!;
    const mean = ([255, 250, 245].reduce((sum, x) => sum + x, 0) / 3 / 255 - 0.5) / 0.25;
    for (const falls of [found, found.alone]) {
      expect(falls.largest).to.be.closeTo(mean, 1e-5);
      expect(falls.smallest).to.equal(0);
      expect(falls.energy).to.equal(0);
      expect(falls.pairedDifference).to.be.closeTo(mean, 1e-5);
      expect(falls.againstEnergy.pairedDifference).to.be.closeTo(mean, 1e-5);
      expect(falls.standardError).to.be.closeTo(5 / 255 / 0.25 / Math.sqrt(3), 1e-5);
    }
    expect(found.images).to.equal(3);
    expect(occlusionVerdict(found)).to.match(/check holds.*and more than/);
    expect(await occlusionCheck(synthetic(place, far, [2, -1]), files)).to.deep.equal(found);
  });

  it('contributions that are not true of the performer fail', async () => {
    const files = await photographs();
    const wrong = (await occlusionCheck(synthetic(2 * N + 2, 6 * N + 6, [-1, 2]), files))!;
    expect(wrong.largest).to.equal(0);
    expect(wrong.pairedDifference).to.be.below(-1.5);
    expect(occlusionVerdict(wrong)).to.match(/check fails/);
  });

  it('parts within two cells are removed together', async () => {
    const files = (await photographs()).slice(0, 1);
    // At a distance of two cells, both are one group: the first part is the largest, and the smallest too.
    const near = (await occlusionCheck(synthetic(2 * N + 2, 4 * N + 4, [2, -1]), files))!;
    expect(near.largest).to.equal(near.smallest);
    expect(near.alone.largest).to.be.closeTo(2, 1e-5);
    expect(near.standardError).to.be.NaN;
    const apart = (await occlusionCheck(synthetic(2 * N + 2, 5 * N + 2, [2, -1]), files))!;
    expect(apart.largest).not.to.equal(apart.smallest);
  });

  it('is undefined without photographs or parts; a photograph that is gone is an error', async () => {
    const explainer = synthetic(0, 9, [1, 1]);
    expect(await occlusionCheck(explainer, [])).to.equal(undefined);
    explainer.config.options.tracks = 'ordinary';
    expect(await occlusionCheck(explainer, await photographs())).to.equal(undefined);
    await failure('E_FILE', /none\.png/, () =>
      occlusionCheck(synthetic(0, 9, [1, 1]), [join(folder(), 'none.png')]),
    );
  });

  it('a square is a fourth of the side, centred, cut off at the border', () => {
    const options = { channels: 2, height: 8, width: 12, fill: [7, undefined] };
    const square = withSquare(new Float32Array(2 * 96), [3.5, 1], options);
    const hidden = [...square].flatMap((value, i) => (value === 7 ? [i] : []));
    // Rows 3, 4; columns 0 to 2.
    expect(hidden).to.deep.equal([36, 37, 38, 48, 49, 50]);
  });

  it('grey is the mean colour, middle grey where none is taken off; transparency stays', () => {
    expect(greyOf(PREPROCESSING)).to.deep.equal([0]);
    const raw = { ...PREPROCESSING, mean: [0, 0, 0, 0], std: [1, 1, 1, 1], scale: 1 } as const;
    expect(greyOf({ ...raw, channels: 'RGBA' })).to.deep.equal([128, 128, 128, undefined]);
  });

  it('the energy is averaged over 5 x 5 cells, its border counts as nothing', () => {
    const maps = new Float32Array(2 * 64);
    maps[0] = 3; // a corner: only reached from there
    maps[64 + 5 * 8 + 5] = 2;
    maps[6 * 8 + 6] = 2;
    expect(energyPeak(maps, { rows: 8, columns: 8 })).to.equal(4 * 8 + 4);
    expect(cellDistance(1, 3 * 8 + 2, 8)).to.equal(3);
  });

  it('means, paired differences and standard errors by hand', () => {
    const one = (largest: number, smallest: number): PlaceFalls => ({
      ...{ largest, smallest, random: 1, energy: 1, randomPlace: 2 },
    });
    const falls = occlusionFalls([one(1, 0), one(2, 1), one(6, 2)]);
    expect(falls).to.include({ largest: 3, smallest: 1, randomPlace: 2, pairedDifference: 2 });
    expect(falls.standardError).to.be.closeTo(1, 1e-12); // differences 1, 1, 4
    expect(falls.againstEnergy.pairedDifference).to.be.closeTo(2, 1e-12);
    expect(occlusionHolds(falls)).to.equal(false); // 2 is not above 2 * 1
    expect(occlusionHolds({ pairedDifference: 2, standardError: 0.9 })).to.equal(true);
    expect(occlusionHolds(occlusionFalls([]))).to.equal(false);
  });
});
