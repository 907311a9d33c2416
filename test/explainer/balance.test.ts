import { expect } from 'chai';
import { join } from 'node:path';
import { listImages, readImages } from '../../lib/data/index.js';
import { foreignImages } from '../../lib/explainer/balance.js';
import { readRunConfig } from '../../lib/explainer/run_folder.js';
import { temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny } from './tiny.js';

describe('explainer: filters of every class', () => {
  it('an image is foreign to the filters of the classes that it is not put into', () => {
    const outputs = Float32Array.of(0, 2, 1, /**/ 5, 1, 1, /**/ 0, 0, 3);
    const foreign = foreignImages(outputs, { classes: [1, 2], filters: 5 }, 3);
    expect([...foreign]).to.deep.equal([
      ...[0, 1, 0, 1, 0],
      ...[1, 1, 1, 1, 1],
      ...[1, 0, 1, 0, 1],
    ]);
  });

  const folder = temporaryFolder();
  it('classes are those that the performer predicts, most frequent first; none where one is left', async () => {
    const tiny = await writeTiny(folder());
    const performer = await tinyPerformer(tiny.model);
    try {
      const out = join(folder(), 'run');
      const options = { performer, images: tiny.images, out, balance: 0.2, mirror: false };
      await withExplainer(options, () => undefined);
      const { network, images } = await readRunConfig(out);
      const list = (await listImages(tiny.images)).images;
      const counts = [0, 0];
      const training = list.filter(({ path }) => images.train.includes(path));
      for await (const { pixels } of readImages(training, performer.preprocessing, { batch: 1 })) {
        const [a = NaN, b = NaN] = (await performer.features(pixels, 1)).output;
        counts[b > a ? 1 : 0]!++;
      }
      expect(counts[0]! + counts[1]!).to.equal(17);
      const seen = [0, 1].filter((k) => counts[k]! > 0).sort((a, b) => counts[b]! - counts[a]!);
      expect(network.classes).to.deep.equal(seen.length > 1 ? seen : undefined);
    } finally {
      performer.dispose();
    }
  });

  it('nothing without balance, filter loss or a classifier', async () => {
    const tiny = await writeTiny(folder());
    const performer = await tinyPerformer(tiny.model);
    try {
      for (const given of [{ balance: 0 }, { rho: 0 }, { lambdaFilter: 0 }]) {
        const out = join(folder(), `run ${Object.keys(given).join('')}`);
        await withExplainer({ performer, images: tiny.images, out, ...given }, () => undefined);
        expect((await readRunConfig(out)).network.classes).to.equal(undefined);
      }
    } finally {
      performer.dispose();
    }
  });
});
