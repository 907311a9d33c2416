import { expect } from 'chai';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import { meanSquare } from '../../lib/engine/ops/index.js';
import { createSession } from '../../lib/engine/session.js';
import { encodeModel, loadPerformer, type Performer } from '../../lib/performer/index.js';
import { NetBuilder, randomImages } from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError } from '../support/onnxruntime.js';
import { failure } from '../support/performer.js';
import { temporaryFolder } from '../data/temporary.js';
import { CLASSES, SIDE, tinyPerformer, withExplainer, writeTiny } from './tiny.js';

const SAME = { pads: [1, 1, 1, 1] };

/** Stem, a residual block, a stage of half the size, pooled vector, logits. */
async function writeResidual(
  path: string,
  [H, W]: readonly [number, number] = [SIDE, SIDE],
): Promise<string> {
  const net = new NetBuilder({ size: SIDE, seed: 4 });
  const stem = net.relu(net.conv('image', 'stem', [6, 3, 3], { ...SAME, strides: [2, 2] }));
  const inner = net.relu(net.conv(stem, 'inner', [8, 6, 3], SAME));
  const sum = net.node('Add', 'sum', [net.conv(inner, 'outer', [6, 8, 3], SAME), stem]);
  const block = net.relu(sum);
  const last = net.relu(net.conv(block, 'last', [10, 6, 3], { ...SAME, strides: [2, 2] }));
  const pooled = net.node('GlobalAveragePool', 'pooled', [last]);
  net.gemm(net.node('Flatten', 'flat', [pooled]), 'logits', [2, 10]);
  const spec = net.spec('logits');
  const inputs = [{ name: 'image', dims: ['N', 3, H, W] }];
  await writeFile(path, encodeModel({ ...spec, inputs }));
  const numbers = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], scale: 1 / 255 };
  const sidecar = { size: SIDE, ...numbers, channels: 'RGB', classes: CLASSES };
  await writeFile(path.replace(/\.onnx$/, '.json'), JSON.stringify(sidecar));
  return path;
}

describe('explainer: the decoder through the later layers of the performer', () => {
  const folder = temporaryFolder();
  const residual = async (layer: string, targets?: string[]): Promise<Performer> => {
    const path = await writeResidual(join(folder(), 'residual.onnx'));
    const cut = targets ? { layer, targets } : { layer };
    return loadPerformer(path, { ...cut, backend: 'cpu', threads: 1, batch: 3 });
  };

  it('the tail of the true maps gives what the network gives, also past a bypassed layer', async () => {
    for (const [layer, bypass] of [
      ['inner_relu', ['stem_relu']],
      ['sum_relu', []],
    ] as const) {
      const performer = await residual(layer);
      expect(performer.bypass.map(({ name }) => name)).to.deep.equal(bypass);
      const count = 4;
      const got = await performer.features(randomImages(count, SIDE), count);
      const again = await performer.tail(
        await performer.siteMaps(got.layer, count),
        got.bypass,
        count,
      );
      performer.dispose();
      expect(relativeError(again.output, got.output)).to.be.below(1e-6);
      got.targets.forEach((target, l) => {
        expect(relativeError(again.targets[l] ?? [], target)).to.be.below(1e-6);
      });
    }
  });

  it('gradients pass the frozen layers: central differences', async () => {
    const performer = await residual('inner_relu', ['sum_relu', 'flat', 'logits']);
    const tail = performer.tailPart;
    if (!tail) throw new Error('no tail');
    const count = 2;
    const { layer, bypass, targets } = await performer.features(randomImages(count, SIDE), count);
    performer.dispose();
    const graph = new Graph();
    const { channels, height, width } = performer.site;
    const maps = graph.input('maps', [count, channels, height, width]);
    const { targets: found, logits } = tail.append(graph, maps, tail.bypassInputs(graph, count));
    expect(logits?.shape).to.deep.equal([count, 2]);
    const losses = found.map((value, l) => {
      const { shape, layout, chw } = value;
      return meanSquare(value, graph.input(`target_${String(l)}`, shape, { layout, chw }));
    });
    losses.forEach((loss, l) => graph.output(`loss_${String(l)}`, loss));
    const [dx] = gradient(
      losses.map((of) => ({ of })),
      [maps],
    );
    if (!dx) throw new Error('no gradient');
    graph.output('dx', dx);
    const session = await createSession({ programs: { main: graph }, backend: 'cpu', threads: 1 });
    try {
      await session.write(tail.weights);
      const shifted = layer.map((value, i) => value + 0.1 * Math.sin(i) + 0.2);
      const wanted = Object.fromEntries(targets.map((t, l) => [`target_${String(l)}`, t]));
      const named = Object.fromEntries(bypass.map((b, i) => [`bypass_${String(i + 1)}`, b]));
      const run = async (given: Float32Array, fetch: string[]) =>
        session.run('main', { inputs: { maps: given, ...wanted, ...named }, fetch });
      const names = losses.map((_, l) => `loss_${String(l)}`);
      const loss = async (given: Float32Array): Promise<number> => {
        const values = await run(given, names);
        return names.reduce((sum, name) => sum + (values[name]?.[0] ?? NaN), 0);
      };
      const { dx: gradients } = await run(shifted, ['dx']);
      const g = Float64Array.from(gradients ?? []);
      const length = Math.hypot(...g);
      expect(length).to.be.above(0);
      // along the gradient itself the loss must grow by its length
      const step = 0.02;
      const moved = (sign: number): Float32Array =>
        shifted.map((value, i) => value + (sign * step * (g[i] ?? 0)) / length);
      const slope = ((await loss(moved(1))) - (await loss(moved(-1)))) / (2 * step);
      expect(Math.abs(slope / length - 1)).to.be.below(0.02);
    } finally {
      session.dispose();
    }
  });

  for (const [layer, targets] of [
    ['inner_relu', undefined],
    ['sum_relu', undefined],
    ['stem_relu', ['sum_relu', 'last_relu']],
  ] as const) {
    it(`a residual network is explained at ${layer}: train, evaluate, explain, intervene`, async () => {
      const performer = await residual(layer, targets && [...targets]);
      const tiny = await writeTiny(folder());
      const out = join(folder(), `run-${layer}`);
      await withExplainer(
        { performer, images: tiny.images, out, filters: 5 },
        async (explainer) => {
          const { network } = explainer.config;
          expect(network.site?.name).to.equal(performer.site.name);
          const { reconstruction, head } = await explainer.evaluate({ landmarks: tiny.landmarks });
          const names = [performer.site.name, ...performer.targets.map(({ name }) => name)];
          expect(Object.keys(reconstruction)).to.deep.equal(names);
          expect(Object.values(reconstruction).every(Number.isFinite)).to.equal(true);
          expect(head.agreement).to.be.within(0, 1);
          const found = await explainer.explain(join(tiny.images, 'bright/000.png'));
          expect(found.parts.length).to.be.above(0);
          expect(found.parts.every(({ alone }) => Number.isFinite(alone))).to.equal(true);
          const { interpretable, ordinary } = found.tracks;
          expect(Number.isFinite(interpretable + ordinary)).to.equal(true);
        },
      );
      performer.dispose();
    });
  }

  it('least squares let the first step begin with a small error', async () => {
    const tiny = await writeTiny(folder());
    const performer = await tinyPerformer(tiny.model);
    const run = { performer, images: tiny.images, filters: 24, tracks: 'ordinary' } as const;
    const first: number[] = [];
    await withExplainer(
      {
        ...{ ...run, out: join(folder(), 'run'), epochs: 1 },
        onProgress: (at) => at.phase === 'train' && first.push(at.report.rec[0] ?? NaN),
      },
      () => undefined,
    );
    performer.dispose();
    expect(first[0]).to.be.below(0.5);
  });

  it('the ordinary track keeps the strengths of the first batch, the parts follow theirs', async () => {
    const tiny = await writeTiny(folder());
    const performer = await tinyPerformer(tiny.model);
    const alphas = async (epochs: number, name: string): Promise<number[]> => {
      const run = { performer, images: tiny.images, filters: 5, epochs, lrEnd: 1 };
      const out = join(folder(), `run-${name}-${String(epochs)}`);
      return withExplainer({ ...run, out }, async (explainer) => {
        const { [`${name}.alpha`]: alpha } = await explainer.parameters();
        return Array.from(alpha?.data ?? [], Number);
      });
    };
    expect(await alphas(1, 'norm_ordin')).to.deep.equal(await alphas(3, 'norm_ordin'));
    expect(await alphas(1, 'norm_interp')).not.to.deep.equal(await alphas(3, 'norm_interp'));
    performer.dispose();
  });

  it('learns from its own maps alone where onnxruntime computes the performer', async function () {
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not there');
      this.skip();
    }
    const path = await writeResidual(join(folder(), 'residual.onnx'));
    const cut = { layer: 'inner_relu', runtime: 'onnxruntime', batch: 3 } as const;
    const performer = await loadPerformer(path, cut);
    const tiny = await writeTiny(folder());
    const out = join(folder(), 'run');
    const terms = new Set<string>();
    const options = { performer, images: tiny.images, out, filters: 5 };
    await withExplainer(
      {
        ...options,
        onProgress: (at) => at.phase === 'train' && terms.add(String(at.report.rec.length)),
      },
      async (explainer) => {
        expect([...terms]).to.deep.equal(['1']);
        const { reconstruction, head } = await explainer.evaluate({ landmarks: tiny.landmarks });
        const targets = performer.targets.map(({ name }) => name);
        expect(Object.keys(reconstruction)).to.deep.equal(['inner_relu', ...targets]);
        expect(Object.values(reconstruction).every(Number.isFinite)).to.equal(true);
        expect(head.agreement).to.be.within(0, 1);
        const { parts } = await explainer.explain(join(tiny.images, 'bright/000.png'));
        expect(parts.some(({ alone }) => Math.abs(alone) > 0)).to.equal(true);
      },
    );
    performer.dispose();
  });

  it('one number of an output is a score: its correlation instead of agreement', async () => {
    const path = await writeResidual(join(folder(), 'residual.onnx'));
    const whole = await loadPerformer(path, { layer: 'inner_relu' });
    const performer = await loadPerformer(path, { layer: 'inner_relu', output: 'logits[1]' });
    const { output } = performer;
    expect(output).to.deep.include({ name: 'logits[1]', size: 1, classifier: false });
    const images = randomImages(3, SIDE);
    const [one, all] = [await performer.features(images, 3), await whole.features(images, 3)];
    expect(Array.from(one.output)).to.deep.equal([1, 3, 5].map((i) => all.output[i]));
    whole.dispose();
    const tiny = await writeTiny(folder());
    const run = { performer, images: tiny.images, out: join(folder(), 'run'), filters: 5 };
    await withExplainer(run, async (explainer) => {
      const { head } = await explainer.evaluate();
      expect(head.agreement).to.be.NaN;
      expect(head.correlation).to.be.within(-1, 1);
      const { parts, prediction } = await explainer.explain(join(tiny.images, 'bright/000.png'));
      expect(prediction.index).to.equal(0);
      expect(parts.some(({ alone }) => Math.abs(alone) > 0)).to.equal(true);
    });
    performer.dispose();
    const wrong = { layer: 'inner_relu', output: 'logits[2]' };
    await failure('E_ARGUMENT', /places inside \(2\) for output logits/, () =>
      loadPerformer(path, wrong),
    );
  });

  it('refuses the decoder learned where its layers cannot follow', async () => {
    const performer = await residual('inner_relu');
    const tiny = await writeTiny(folder());
    const given = { performer, images: tiny.images, out: join(folder(), 'run') };
    await failure('E_ARGUMENT', /decoder.*\n?.*has maps|bypasses/, () =>
      withExplainer({ ...given, decoder: 'learned' }, () => undefined),
    );
    performer.dispose();
  });
});
