import { expect } from 'chai';
import { encodeModel } from '../../lib/performer/onnx_write.js';
import { loadPerformer } from '../../lib/performer/index.js';
import { loadValues, type LoadValuesOptions } from '../../lib/performer/values.js';
import { NetBuilder, randomImages } from '../support/onnx_models.js';
import { loadOnnxRuntime, relativeError, runOnnxRuntime } from '../support/onnxruntime.js';
import { failure, PLAIN, withModel } from '../support/performer.js';

const SIZE = 8;
const CPU = { backend: 'cpu', threads: 1, preprocessing: PLAIN } as const;

/** Fused layers, a skip connection, reshaped and transposed tensors, and a node that cannot be read. */
function net({ foreign = true } = {}): NetBuilder {
  const builder = new NetBuilder({ size: SIZE, seed: 31 });
  const same = { pads: [1, 1, 1, 1] };
  const stem = builder.relu(
    builder.batchNorm(builder.conv('image', 'stem,a', [4, 3, 3], same), 'bn', 4),
  );
  const sum = builder.node('Add', 'sum', [builder.conv(stem, 'branch', [4, 4, 3], same), stem]);
  const pooled = builder.node('GlobalAveragePool', 'pooled', [builder.relu(sum)]);
  const flat = builder.node('Flatten', 'flat', [pooled]);
  builder.node('Softmax', 'probability', [builder.gemm(flat, 'logits', [5, 4])], { axis: 1 });
  builder.node('Reshape', 'tokens', ['sum_relu', builder.ints('tokens.shape', [0, 4, 64])]);
  builder.node('Transpose', 'last', ['sum_relu'], { perm: [0, 2, 3, 1] });
  if (foreign) builder.node('NonMaxSuppression', 'boxes', ['tokens', 'tokens']);
  return builder;
}

/** Name, and the shape without the images' axis. */
const VALUES = [
  ['logits', [5]],
  ['stem,a', [4, 8, 8]],
  ['bn_relu', [4, 8, 8]],
  ['sum', [4, 8, 8]],
  ['pooled', [4, 1, 1]],
  ['flat', [4]],
  ['tokens', [4, 64]],
  ['last', [4, 8, 8]],
  ['probability', [5]],
  ['branch_node', [4, 8, 8]],
  ['image', [3, 8, 8]],
] as const;

const bytes = encodeModel(net().spec('probability', 'boxes'));
const use = (options: LoadValuesOptions) =>
  withModel(bytes, async (file) => {
    using model = await loadValues(file, { ...CPU, ...options });
    const { batch, values } = model;
    const images = randomImages(batch, SIZE);
    return { values, images, rows: await model.run(images, batch), info: model.info() };
  });

describe('performer: any values of a model', () => {
  it('are what onnxruntime gives, each in its shape, wherever they lie', async function () {
    if (!(await loadOnnxRuntime())) {
      console.log('      skipped: onnxruntime-node is not installed');
      this.skip();
    }
    const names = VALUES.map(([name]) => name);
    const { values, images, rows } = await use({ values: names, batch: 3 });
    expect(values.map(({ name, shape }) => [name, shape])).to.deep.equal(VALUES);
    const tensors = names.slice(0, -2).map((name) => (name === 'last' ? 'sum_relu' : name));
    const readable = encodeModel(net({ foreign: false }).spec('probability'));
    const options = { count: 3, size: SIZE, batch: 3, names: [...new Set([...tensors, 'branch'])] };
    const wanted = await runOnnxRuntime(readable, images, options);
    for (const [i, name] of names.entries()) {
      const like = { last: 'sum_relu', branch_node: 'branch' }[name as string] ?? name;
      const given = like === 'image' ? images : (wanted[like] ?? []);
      expect(relativeError(rows[i] ?? [], given), name).to.be.below(1e-5);
    }
  });

  it('the image alone, a name twice, a part of a batch', async () => {
    const { rows, images, values } = await use({ values: ['image', 'image'], batch: 2 });
    expect(values).to.have.length(1);
    expect(rows).to.deep.equal([images]);
    await withModel(bytes, async (file) => {
      using model = await loadValues(file, { ...CPU, values: ['logits'], batch: 4 });
      const given = randomImages(4, SIZE);
      const [whole] = await model.run(given, 4);
      const [part] = await model.run(given, 3);
      expect([...(part ?? [])]).to.deep.equal([...(whole ?? []).slice(0, 15)]);
      await failure('E_SHAPE', /4 x 192 values/, () => model.run(given.slice(192), 3));
      await failure('E_SHAPE', /4 x 192 values/, () => model.run(given, 5));
      model.dispose();
      await failure('E_STATE', /./, () => model.run(given, 4));
    });
  });

  it('gives the bits that the performer gives', async () => {
    await withModel(bytes, async (file) => {
      const cut = { layer: 'sum_relu', targets: ['logits'], output: 'logits' };
      using performer = await loadPerformer(file, { ...CPU, ...cut, batch: 2 });
      using model = await loadValues(file, { ...CPU, values: ['sum_relu'], batch: 2 });
      const images = randomImages(2, SIZE);
      const { layer } = await performer.features(images, 2);
      expect((await model.run(images, 2))[0]).to.deep.equal(layer);
    });
  });

  it('refuses unknown names with the nearest, none, what cannot be read, missing preprocessing', async () => {
    const load = (options: Partial<LoadValuesOptions>) =>
      withModel(bytes, (file) => loadValues(file, { ...CPU, values: ['logits'], ...options }));
    await failure('E_ARGUMENT', /"logit".*Nearest names: "logits"/s, () =>
      load({ values: ['logit'] }),
    );
    await failure('E_ARGUMENT', /at least one name for values/, () => load({ values: [] }));
    await failure('E_ARGUMENT', /integer >= 1 for batch/, () => load({ batch: 0 }));
    await failure('E_ONNX', /boxes_node.*NonMaxSuppression/s, () => load({ values: ['boxes'] }));
    await failure('E_ARGUMENT', /of the images/, () => load({ preprocessing: {} }));
  });
});
