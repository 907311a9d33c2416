import { expect } from 'chai';
import { kmeansMaps } from '../../lib/evaluate/controls/kmeans.js';
import { failure } from '../support/performer.js';

describe('evaluate: k-means as maps', () => {
  const size = { channels: 2, height: 1, width: 2 };
  // two photographs whose cells show one of two directions each
  const features = Float32Array.from([3, 0, 0, 4, 0, 6, 5, 0]);

  it('centres are the directions of the vectors, maps their projections', async () => {
    const source = kmeansMaps({ features, count: 2 }, size, { filters: 2, seed: 1 });
    expect(source.filters).to.equal(2);
    const maps = [...(await source.maps(features, 2))];
    const wanted = [3, 0, 0, 4, 0, 6, 5, 0];
    const swapped = [0, 4, 3, 0, 5, 0, 0, 6];
    expect(maps).to.deep.equal(maps[0] === 3 ? wanted : swapped);
    await failure('E_SHAPE', /8 values for features/, () => source.maps(features.subarray(1), 2));
  });

  it('features that are nothing have no directions', async () => {
    const none = { features: new Float32Array(8), count: 2 };
    await failure('E_ARGUMENT', /above 0/, () => kmeansMaps(none, size, { filters: 2, seed: 1 }));
  });
});
