import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { readImage, readSafetensors, writeSafetensors } from '../../lib/data/index.js';
import { drawnRegions, regionsApart } from '../../lib/explain/overlay.js';
import { drawExplanation, explanationPage, type Explanation } from '../../lib/index.js';
import { listCheckpoints } from '../../lib/explainer/checkpoint.js';
import { Explainer } from '../../lib/explainer.js';
import { firstClass } from '../../lib/evaluate/metrics/index.js';
import type { Performer } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { C, CLASSES, N, SIDE, tinyPerformer, withExplainer, writeTiny } from '../explainer/tiny.js';
import { failure } from '../support/performer.js';

/** Size of the tiny photographs, pixels. */
const [WIDTH, HEIGHT] = [20, 24];

describe('explain: one prediction', () => {
  const folder = temporaryFolder();
  let performer: Performer;
  let run: string;
  let photo: string;

  beforeEach(async () => {
    const tiny = await writeTiny(folder());
    performer = await tinyPerformer(tiny.model);
    run = join(folder(), 'run');
    photo = join(tiny.images, 'dark', '003.png');
    const decoder = 'learned' as const;
    const options = { performer, images: tiny.images, out: run, filters: C, decoder };
    await withExplainer(options, () => undefined);
  });
  afterEach(() => performer.dispose());

  /** Loads the run after its newest checkpoint was changed. */
  async function use<T>(
    body: (explainer: Explainer) => Promise<T>,
    change: (tensors: Record<string, Float32Array>) => void = () => undefined,
  ): Promise<T> {
    const { path } = (await listCheckpoints(run)).at(-1)!;
    const { tensors, metadata } = await readSafetensors(path);
    const whole = await readFile(path);
    const named = Object.entries(tensors).map(([name, { data }]) => [name, data] as const);
    change(Object.fromEntries(named) as Record<string, Float32Array>);
    const { step, fingerprint } = metadata; // no checksums, as 0.1.0 wrote them
    await writeSafetensors(path, tensors, { step: step!, fingerprint: fingerprint! });
    const explainer = await Explainer.load(run, { performer, backend: 'cpu', threads: 1 });
    try {
      return await body(explainer);
    } finally {
      explainer.dispose();
      await writeFile(path, whole);
    }
  }

  /** Logits of the head on the features that `maps` rebuilds. */
  async function logits(explainer: Explainer): Promise<Float32Array> {
    const { pixels } = await readImage(photo, performer.preprocessing);
    const { layer } = await performer.features(pixels, 1);
    const { rebuilt } = await explainer.maps(layer, 1);
    return performer.head(rebuilt.at(-1)!, 1);
  }

  /** Switches filters of a convolution off where it is computed: weights and bias are 0. */
  const silence =
    (layer: string, filters: readonly number[]) =>
    (tensors: Record<string, Float32Array>): void => {
      for (const name of [`${layer}.weight`, `${layer}.bias`]) {
        const data = tensors[name]!;
        const each = data.length / C;
        for (const f of filters) data.fill(0, f * each, (f + 1) * each);
      }
    };

  it('contributions are what networks without those filters say', async () => {
    const found = await use((explainer) => explainer.explain(photo));
    const { index } = found.prediction;
    const every = [...Array(C).keys()];
    /** Score of a network that has these part filters, with the ordinary track or without it. */
    const score = async (filters: readonly number[], ordinary: boolean): Promise<number> => {
      const gone = every.filter((f) => !filters.includes(f));
      const change = (tensors: Record<string, Float32Array>): void => {
        silence('conv_interp_2', gone)(tensors);
        if (!ordinary) silence('conv_ordin', every)(tensors);
      };
      return (await use(logits, change))[index]!;
    };
    const [full, none] = [await score(every, true), await score([], false)];
    const [parts, ordinary] = [await score(every, false), await score([], true)];
    expect(found.explained.score).to.be.closeTo(full, 1e-5);
    expect(found.parts.length).to.be.above(2);
    const { stride } = performer.layer.geometry;
    for (const part of found.parts) {
      expect(part.alone).to.be.closeTo((await score([part.filter], false)) - none, 1e-5);
      const around = found.parts.filter(({ place }) => {
        const rows = Math.abs(place.y - part.place.y) / ((stride[0] * HEIGHT) / SIDE);
        const columns = Math.abs(place.x - part.place.x) / ((stride[1] * WIDTH) / SIDE);
        return Math.max(rows, columns) < 1.5;
      });
      const left = every.filter((f) => !around.some(({ filter }) => filter === f));
      expect(part.removed).to.be.closeTo(full - (await score(left, true)), 1e-5);
      expect(found.regions[part.region]!.filters).to.include(part.filter);
    }
    for (const { filters, removed } of found.regions) {
      const left = every.filter((f) => !filters.includes(f));
      expect(removed).to.be.closeTo(full - (await score(left, true)), 1e-5);
    }
    const { interpretable, ordinary: rest } = found.tracks;
    expect(interpretable).to.be.closeTo((parts - none + (full - ordinary)) / 2, 1e-5);
    expect(interpretable + rest).to.be.closeTo(full - none, 1e-5);
    const values = found.regions.map(({ value }) => value);
    expect(values).to.deep.equal([...values].sort((a, b) => b - a));
    const sum = values.reduce((a, b) => a + b, 0);
    expect(sum, 'regions share what parts give').to.be.closeTo(interpretable, 1e-5);
    expect(found.shapley).to.deep.equal({ exact: true, coalitions: 2 ** values.length });
    const lifted = full - none;
    if (lifted > 0) expect(found.share).to.be.closeTo(interpretable / lifted, 1e-4);
    else expect(found.share).to.be.NaN;
    expect(Math.max(...found.parts.map(({ alone }) => Math.abs(alone)))).to.be.above(1e-4);
  });

  it('parts are the filters that fire, with the place of their peak in the photograph', async () => {
    await use(async (explainer) => {
      const found = await explainer.explain(photo);
      const { pixels } = await readImage(photo, performer.preprocessing);
      const { layer2 } = await explainer.maps((await performer.features(pixels, 1)).layer, 1);
      const { stride, firstCentre, size } = performer.layer.geometry;
      const fires = (f: number): boolean =>
        layer2.slice(f * N * N, (f + 1) * N * N).some((v) => v > 0);
      const firing = [...Array(C).keys()].filter(fires);
      expect(found.parts.map(({ filter }) => filter).sort((a, b) => a - b)).to.deep.equal(firing);
      for (const { filter, place, activation, strength, map } of found.parts) {
        const own = layer2.slice(filter * N * N, (filter + 1) * N * N);
        const cell = own.indexOf(Math.max(...own));
        expect(activation).to.be.closeTo(own[cell]!, 1e-6);
        expect(map[cell]).to.be.closeTo(own[cell]!, 1e-6);
        const y = firstCentre[0] + stride[0] * Math.floor(cell / N);
        const x = firstCentre[1] + stride[1] * (cell % N);
        expect(place.y).to.be.closeTo(((y + 0.5) * HEIGHT) / SIDE - 0.5, 1e-9);
        expect(place.x).to.be.closeTo(((x + 0.5) * WIDTH) / SIDE - 0.5, 1e-9);
        const { left, width, top, height } = place.field;
        const edge = ((x + 0.5 - size[1] / 2) * WIDTH) / SIDE;
        expect(left).to.be.closeTo(Math.max(0, edge), 1e-9);
        expect(left + width).to.be.at.most(WIDTH);
        expect(top + height).to.be.at.most(HEIGHT);
        expect(strength).to.be.above(0);
      }
      const regions = found.parts.map(({ region }) => region);
      expect(regions).to.deep.equal([...regions].sort((a, b) => a - b));
      const order = found.parts.map(({ alone }) => alone);
      const total = order.reduce((sum, value) => sum + value, 0);
      expect(found.control.random).to.be.closeTo(total / C, 1e-12);
    });
  });

  it('curves begin and end with all and no parts; the best order beats random ones', async () => {
    await use(async (explainer) => {
      const { deletion, insertion, explained } = await explainer.explain(photo);
      const none = (await use(logits, silence('conv_interp_2', [...Array(C).keys()])))[
        explained.index
      ]!;
      for (const kind of ['parts', 'random'] as const) {
        expect(deletion[kind][0]).to.equal(explained.score);
        expect(insertion[kind].at(-1)).to.equal(explained.score);
        expect(deletion[kind].at(-1)).to.be.closeTo(none, 1e-5);
        expect(insertion[kind][0]).to.be.closeTo(none, 1e-5);
      }
      expect(deletion.area.parts).to.be.below(deletion.area.random);
      expect(insertion.area.parts).to.be.above(insertion.area.random);
    });
  });

  it('bytes give what the path gives, twice the same', async () => {
    await use(async (explainer) => {
      const first = await explainer.explain(photo);
      expect(first.path).to.equal(photo);
      const second = await explainer.explain(await readFile(photo));
      expect({ ...second, path: photo }).to.deep.equal(first);
    });
  });

  it('explains another class when asked, by name or number', async () => {
    await use(async (explainer) => {
      const own = await explainer.explain(photo);
      const other = 1 - own.prediction.index;
      const byName = await explainer.explain(photo, { class: CLASSES[other] });
      expect(byName.explained).to.include({ index: other, name: CLASSES[other] });
      expect(byName.prediction).to.deep.equal(own.prediction);
      expect(await explainer.explain(photo, { class: other })).to.deep.equal(byName);
      const sum = byName.explained.probability + own.explained.probability;
      expect(sum).to.be.closeTo(1, 1e-6);
    });
  });

  it('warns when the rebuilt features make another class', async () => {
    const own = await use(async (explainer) => (await explainer.explain(photo)).prediction.index);
    // Features that are 1 everywhere or 0 but for one: some of them make the head say otherwise.
    for (let k = 0; k < 64; k++) {
      const change = (tensors: Record<string, Float32Array>): void => {
        tensors['fc_dec_2.weight']!.fill(0);
        tensors['fc_dec_2.bias']!.forEach(
          (_, i, bias) => (bias[i] = (i * (k + 1)) % 7 === 0 ? 50 : 0),
        );
      };
      const head = await use(logits, change);
      if (firstClass(head) === own) continue;
      const told: string[] = [];
      const onWarning = (text: string): number => told.push(text);
      const found = await use((explainer) => explainer.explain(photo, { onWarning }), change);
      expect(found.rebuilt.index).to.equal(1 - own);
      expect(found.explained.index).to.equal(own);
      expect(found.warnings).to.deep.equal(told);
      expect(told[0])
        .to.include(`performer says ${CLASSES[own]}`)
        .and.include(CLASSES[1 - own]!);
      return;
    }
    throw new Error('no features of another class found');
  });

  it('a run whose filters are all silent says so', async () => {
    await use(
      async (explainer) => {
        const found = await explainer.explain(photo);
        expect(found.parts).to.deep.equal([]);
        expect(found.warnings.join()).to.include('No part filter answers');
        expect(found.tracks.interpretable).to.equal(0);
        expect(await explanationPage(found, photo)).to.include('0 of 6 filters answer');
        expect((await drawExplanation(found, photo)).length).to.be.above(1000);
      },
      silence('conv_interp_2', [...Array(C).keys()]),
    );
  });

  it('an ordinary track that is nothing gives nothing: the share is that of the parts alone', async () => {
    await use(
      async (explainer) => {
        const both = [0, 1].map((index) => explainer.explain(photo, { class: index }));
        for (const { tracks, share } of await Promise.all(both)) {
          expect(tracks.ordinary).to.equal(0);
          if (tracks.interpretable > 0) expect(share).to.equal(1);
          else expect(share).to.be.NaN;
        }
      },
      silence('conv_ordin', [...Array(C).keys()]),
    );
  });

  it('refuses what it cannot explain', async () => {
    await use(async (explainer) => {
      const explain = (image: string | Uint8Array, options = {}) =>
        explainer.explain(image, options);
      await failure('E_ARGUMENT', /one of bright, dark, or a number from 0 to 1/, () =>
        explain(photo, { class: 'cat' }),
      );
      await failure('E_ARGUMENT', /from 0 to 1 for class but received 2/, () =>
        explain(photo, { class: 2 }),
      );
      await failure('E_ARGUMENT', /another class for versus/, () =>
        explain(photo, { class: 1, versus: 1 }),
      );
      await failure('E_ARGUMENT', /even number/, () => explain(photo, { orders: 3 }));
      await failure('E_FILE', /none\.png/, () => explain(join(folder(), 'none.png')));
      await failure('E_FILE', /no image of a known format/, () => explain(Buffer.from('no image')));
      const signal = AbortSignal.abort();
      await failure('E_STATE', /explanation was stopped/, () => explain(photo, { signal }));
    });
  });

  it('where the performer ends in a softmax the score is the log of the probability', async () => {
    await use(async (explainer) => {
      const soft = Object.create(performer, {
        output: { value: { ...performer.output, softmax: true } },
        head: {
          value: async (data: Float32Array, count: number) => {
            const z = await performer.head(data, count);
            return z.map((value, i) => {
              const row = z.subarray(i - (i % 2), i - (i % 2) + 2);
              return Math.exp(value) / (Math.exp(row[0]!) + Math.exp(row[1]!));
            });
          },
        },
        features: { value: performer.features.bind(performer) },
      }) as Performer;
      const logit = await explainer.explain(photo);
      const other = Object.create(explainer, {
        performer: { value: soft },
        encodingSize: { value: explainer.encodingSize },
        encode: { value: explainer.encode.bind(explainer) },
        decode: { value: explainer.decode.bind(explainer) },
      }) as Explainer;
      const found = await other.explain(photo, { class: logit.prediction.index });
      expect(found.unit).to.equal('log probability');
      expect(found.explained.score).to.be.closeTo(Math.log(logit.explained.probability), 1e-5);
    });
  });

  describe('drawn', () => {
    const PLANTED = '<img src=x onerror=alert(1)>';

    async function explained(): Promise<{ found: Explanation; image: string }> {
      const image = join(folder(), `${PLANTED.replaceAll('/', '')}.png`);
      await writeFile(image, await readFile(photo));
      const found = await use((explainer) => explainer.explain(image));
      found.prediction.name = `${PLANTED}\u001b[31m`;
      found.explained.name = PLANTED;
      found.warnings.push(`"${PLANTED}"`);
      found.regions.forEach((region) => (region.name = PLANTED));
      found.sentence = PLANTED;
      found.parts.forEach(
        (part) =>
          (part.part = {
            ...{ name: PLANTED, category: PLANTED, label: PLANTED },
            ...{ at: 'inside', purity: 0.8, photographs: 12 },
          }),
      );
      return { found, image };
    }

    it('a page without script, network or path; text from data is text', async () => {
      const { found, image } = await explained();
      const page = await explanationPage(found, image);
      expect(page).not.to.match(/<img|<script/);
      expect(page).not.to.include('\u001b');
      expect(page).to.include('&lt;img src=x onerror=alert(1)&gt;');
      expect(page.replace(/data:image[^"]+/g, '')).not.to.match(/(https?:)?\/\/[a-z]/i);
      expect(page).not.to.include(folder());
      expect(page).to.include(basename(image).replace('<', '&lt;').replace('>', '&gt;'));
      const places = regionsApart(found).length;
      expect(page.match(/<figure>/g)).to.have.length(places);
      expect(page.match(/data:image/g), 'photograph, once').to.have.length(1);
      expect(page).not.to.match(/NaN|undefined|Infinity/);
    });

    it('contours lie apart, each filter is drawn or counted, idle ones are left out', async () => {
      const { found } = await explained();
      const { stride } = performer.layer.geometry;
      const all = regionsApart(found);
      const counted = all.reduce((sum, { filters }) => sum + filters.length, 0);
      expect(counted).to.equal(found.parts.length);
      for (const [i, { part: a }] of all.entries()) {
        for (const { part: b } of all.slice(0, i)) {
          const rows = Math.abs(a.place.y - b.place.y) / ((stride[0] * 24) / SIDE);
          const columns = Math.abs(a.place.x - b.place.x) / ((stride[1] * 20) / SIDE);
          expect(Math.max(rows, columns)).to.be.above(1.5);
        }
      }
      const [first] = found.regions;
      found.regions.slice(1).forEach((region) => (region.value = first!.value / 11));
      expect(drawnRegions(found).map(({ part }) => part.filter)).to.deep.equal([first!.filters[0]]);
    });

    it('a picture of the photograph with colours of the parts', async () => {
      const { found, image } = await explained();
      const png = await drawExplanation(found, image);
      const { data, info } = await sharp(png)
        .removeAlpha()
        .raw()
        .toBuffer({ resolveWithObject: true });
      expect([info.width, info.height]).to.deep.equal([Math.round((640 * 20) / 24) + 420, 640]);
      const { place } = drawnRegions(found)[0]!.part;
      const [x, y] = [place.x, place.y].map((at) => Math.round(((at + 0.5) * 640) / 24));
      const at = (y! * info.width + x!) * 3;
      expect([...data.subarray(at, at + 3)], 'the dot of the first part').to.deep.equal([
        230, 159, 0,
      ]);
    });
  });
});
