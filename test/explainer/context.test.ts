import { expect } from 'chai';
import { createSession, type Session } from '../../lib/engine/session.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { buildNetwork } from '../../lib/explainer/network.js';
import { parseTrainOptions, type TrainOptionsInput } from '../../lib/explainer/options.js';
import { Random } from '../../lib/random.js';
import { relativeError } from '../support/onnxruntime.js';
import { SPEC } from './network_cases.js';

const { channels: C, filters: D, height: H, width: W } = SPEC;
const IMAGES = 3;
const random = new Random(3, 'test/context');
const drawn = (length: number): Float32Array =>
  Float32Array.from({ length }, () => random.normal());
const features = drawn(IMAGES * C * H * W).map((value) => Math.max(value, 0));

/** Maps of conv_interp_1 with weights that are given, others 0. */
async function layer1(
  given: TrainOptionsInput,
  weights: Record<string, Float32Array>,
): Promise<Float32Array> {
  const options = parseTrainOptions({ decoder: 'learned', appearance: 0, ...given });
  const { graph, a1 } = buildNetwork(SPEC, options, { batch: IMAGES, mode: 'evaluate' });
  graph.output('layer1', a1);
  const session: Session = await createSession({ programs: { network: graph }, backend: 'cpu' });
  try {
    const values = [...session.persistent()].map(([name, { shape }]) => [
      name,
      weights[name] ?? new Float32Array(sizeOf(shape)),
    ]);
    await session.write(Object.fromEntries(values) as Record<string, Float32Array>);
    const { layer1: maps } = await session.run('network', {
      inputs: { features },
      fetch: ['layer1'],
    });
    return maps as Float32Array;
  } finally {
    session.dispose();
  }
}

describe('explainer: what conv_interp_1 sees', () => {
  it('a kernel over linear channels is one kernel over the features', async () => {
    const [side, K] = [5, 4];
    const narrow = drawn(D * K * side * side);
    const along = drawn(K * C);
    const whole = new Float32Array(D * C * side * side);
    for (let d = 0; d < D; d++) {
      for (let c = 0; c < C; c++) {
        for (let tap = 0; tap < side * side; tap++) {
          let sum = 0;
          for (let k = 0; k < K; k++) {
            sum += (narrow[(d * K + k) * side * side + tap] ?? 0) * (along[k * C + c] ?? 0);
          }
          whole[(d * C + c) * side * side + tap] = sum;
        }
      }
    }
    const bias = drawn(D);
    for (const imageNorm of [0, 2]) {
      const wanted = await layer1(
        { context: side, imageNorm },
        { 'conv_interp_1.weight': whole, 'conv_interp_1.bias': bias },
      );
      const given = await layer1(
        { context: side, contextChannels: K, imageNorm },
        {
          'conv_interp_0.weight': along,
          'conv_interp_1.weight': narrow,
          'conv_interp_1.bias': bias,
        },
      );
      expect(wanted.some((value) => value > 0)).to.equal(true);
      expect(relativeError(given, wanted)).to.be.below(1e-5);
    }
  });

  it('has its own side alone, and no more channels than the layer', () => {
    const shapes = (given: TrainOptionsInput): Record<string, readonly number[]> => {
      const options = parseTrainOptions({ decoder: 'learned', ...given });
      const { graph } = buildNetwork(SPEC, options, { batch: IMAGES, mode: 'evaluate' });
      return Object.fromEntries(graph.parameters().map(({ node, shape }) => [node.name, shape]));
    };
    expect(shapes({ context: 7, contextChannels: 99 })).to.deep.include({
      'conv_interp_0.weight': [C, C, 1, 1],
      'conv_interp_1.weight': [D, C, 7, 7],
      'conv_interp_2.weight': [D, D, 3, 3],
    });
    expect(shapes({ kernel: 5 })).to.deep.include({
      'conv_interp_1.weight': [D, C, 5, 5],
      'conv_interp_2.weight': [D, D, 5, 5],
    });
  });

  it('is 7 cells of 64 channels with appearance, the published kernel without', () => {
    expect(parseTrainOptions({})).to.include({ context: 7, contextChannels: 64 });
    expect(parseTrainOptions({ kernel: 9 })).to.include({ context: 9 });
    const published = parseTrainOptions({ appearance: 0, kernel: 5 });
    expect(published).to.include({ context: 5, contextChannels: 0 });
    expect(() => parseTrainOptions({ context: 4 })).to.throw(/an odd number for context/);
  });
});
