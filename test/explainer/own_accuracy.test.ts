import { expect } from 'chai';
import { FeatureStore } from '../../lib/data/feature_store.js';
import {
  accuracySentence,
  accuracyWarning,
  ownAccuracy,
} from '../../lib/explainer/own_accuracy.js';
import { temporaryFolder } from '../data/temporary.js';

describe("the CNN's own accuracy", () => {
  const folder = temporaryFolder();
  const performer = { classes: ['cat', 'dog', 'owl'], output: { name: 'logits', size: 3 } };
  /** Photographs by folder, answered with class `said`, each with a mirrored copy that is always wrong. */
  const storeOf = async (
    rows: readonly [folder: string, said: number][],
  ): Promise<FeatureStore> => {
    const store = await FeatureStore.create(folder(), {
      fingerprint: 'f',
      tensors: { output: [3] },
      dtype: 'float32',
    });
    const row = (className: string, i: number, mirrored: boolean) => ({
      ...{ image: `${className}/${String(i)}`, mirrored, className, width: 2, height: 2 },
    });
    const one = (said: number): number[] => [0, 1, 2].map((k) => (k === said ? -1 : -4));
    const data = (of: number[][]) => ({ output: Float32Array.from(of.flat()) });
    await store.appendTogether([
      {
        rows: rows.map(([name], i) => row(name, i, false)),
        data: data(rows.map(([, said]) => one(said))),
      },
      { rows: rows.map(([name], i) => row(name, i, true)), data: data(rows.map(() => [0, 0, 0])) },
    ]);
    await store.finish();
    return store;
  };

  it('counts photographs in folders that have the name of a class', async () => {
    const store = await storeOf([
      ['cat', 0],
      ['cat', 1],
      ['dog', 1],
      ['owl', 0],
      ['bird', 2],
    ]);
    const own = await ownAccuracy(performer, store);
    expect(own).to.deep.equal({ photographs: 4, accuracy: 0.5 });
    if (!own) return;
    expect(accuracySentence(own)).to.equal(
      'The CNN names the class of its folder for 50.0 % of 4 photographs.',
    );
    expect(accuracyWarning(own)).to.match(/That is low: check channels \(RGB or BGR\)/);
    expect(accuracyWarning({ ...own, accuracy: 0.7 })).to.equal(undefined);
    expect(await ownAccuracy({ ...performer, classes: ['x', 'y', 'z'] }, store)).to.equal(
      undefined,
    );
    expect(await ownAccuracy({ ...performer, classes: undefined }, store)).to.equal(undefined);
    await store.close();
  });
});
