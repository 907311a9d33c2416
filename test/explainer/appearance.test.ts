import { join } from 'node:path';
import { expect } from 'chai';
import { appearanceSums, gatesOf, type Encoded } from './appearance_reference.js';
import { intervene, type Intervention } from '../../lib/explainer/interventions.js';
import { parseTrainOptions } from '../../lib/explainer/options.js';
import { PartlensError } from '../../lib/errors.js';
import type { Explainer } from '../../lib/explainer.js';
import { listImages, readImages } from '../../lib/data/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { relativeError } from '../support/onnxruntime.js';
import { QUICK, tinyPerformer, withExplainer, writeTiny } from './tiny.js';

const GIVEN = { appearance: 5, ordinaryChannels: 3, gateRadius: 4 } as const;

describe('explainer: appearance behind competing gates', () => {
  const folder = temporaryFolder();

  async function use(
    body: (explainer: Explainer, encoded: Encoded[]) => Promise<void>,
    { pool = true, ...given }: Record<string, unknown> = {},
  ): Promise<void> {
    const tiny = await writeTiny(folder(), { pool: pool === true });
    const performer = await tinyPerformer(tiny.model);
    const { images } = await listImages(tiny.images);
    try {
      const options = { ...QUICK, ...GIVEN, ...given };
      const run = { performer, images: tiny.images, out: join(folder(), 'run'), ...options };
      await withExplainer(run, async (explainer) => {
        const encoded: Encoded[] = [];
        for await (const { pixels } of readImages(images.slice(0, 4), performer.preprocessing, {
          batch: 1,
        })) {
          const { layer, bypass } = await performer.features(pixels, 1);
          encoded.push({ layer, bypass, encoding: await explainer.encode(layer) });
        }
        await body(explainer, encoded);
      });
    } finally {
      performer.dispose();
    }
  }

  for (const pool of [true, false]) {
    it(`tracks as the equations say, ${pool ? 'behind a pooling' : 'without one'}`, async () => {
      await use(
        async (explainer, encoded) => {
          const tensors = await explainer.parameters();
          for (const image of encoded) {
            const wanted = appearanceSums(explainer, tensors, image);
            const { interp, ordin, code } = image.encoding;
            expect(relativeError(code ?? [], wanted.code)).to.be.below(1e-5);
            expect(relativeError(interp, wanted.interp)).to.be.below(1e-5);
            expect(relativeError(ordin, wanted.ordin)).to.be.below(1e-5);
          }
        },
        { pool },
      );
    });
  }

  it('a part that is off loses map and gate, and hands its places to nobody', async () => {
    await use(async (explainer, encoded) => {
      const tensors = await explainer.parameters();
      const { filters } = explainer.config.network;
      const { positions } = explainer;
      for (const { encoding } of encoded) {
        const on = Float32Array.from({ length: 3 * filters }, (_, i) =>
          Number(i < filters || (i < 2 * filters && i % 2 === 0)),
        );
        const gated = await explainer.gated(encoding, on, 3);
        const size = gated.length / 3;
        expect(relativeError(gated.subarray(0, size), gatedOf(encoding.interp))).to.be.below(1e-6);
        const half = gatesOf(explainer, tensors, encoding.layer2, (d) => d % 2 === 0);
        const code = encoding.code ?? new Float32Array(0);
        const wanted = code.map((value, i) => value * (half[i % positions] ?? NaN));
        expect(relativeError(gated.subarray(size, 2 * size), wanted)).to.be.below(1e-5);
        expect(gated.subarray(2 * size).every((value) => value === 0)).to.equal(true);
      }
      function gatedOf(interp: Float32Array): Float32Array {
        return interp.subarray(filters * positions, (filters + GIVEN.appearance) * positions);
      }
    });
  });

  it('all parts off is the track off; none off is nothing done', async () => {
    await use(async (explainer, encoded) => {
      const every = Array.from({ length: explainer.config.network.filters }, (_, d) => d);
      const asked: Intervention[] = [{}, { off: [] }, { off: every }, { partsOff: true }];
      for (const image of encoded) {
        const outputs = await intervene(explainer, image, asked);
        const size = outputs.length / asked.length;
        const row = (n: number): number[] => [...outputs.subarray(n * size, (n + 1) * size)];
        expect(row(1)).to.deep.equal(row(0));
        expect(row(3)).to.deep.equal(row(2));
        expect(row(2)).to.not.deep.equal(row(0));
      }
    });
  });

  it('no ordinary track: parts carry all', async () => {
    await use(
      async (explainer) => {
        const { tracks } = await explainer.evaluate({ occlusion: 0 });
        expect(tracks.share).to.equal(1);
        expect(tracks.agreement.parts).to.equal(tracks.agreement.full);
      },
      { ordinaryChannels: 0 },
    );
  });

  it('defaults hang on the form; what does not go together is refused', () => {
    const form = ({
      appearance,
      imageNorm,
      competition,
      balance,
    }: ReturnType<typeof parseTrainOptions>) => [...[appearance, imageNorm, competition, balance]];
    expect(form(parseTrainOptions({ decoder: 'learned' }))).to.deep.equal([0, 0, 0, 0]);
    expect(form(parseTrainOptions({ appearance: 0 }))).to.deep.equal([0, 0, 0, 0]);
    expect(form(parseTrainOptions({ appearance: 8, balance: 1 }))).to.deep.equal([8, 2.5, 0.3, 1]);
    for (const given of [{ decoder: 'learned' }, { tracks: 'ordinary' }] as const) {
      expect(() => parseTrainOptions({ ...given, appearance: 8 }))
        .to.throw(PartlensError, /appearance/)
        .with.property('code', 'E_ARGUMENT');
    }
  });
});
