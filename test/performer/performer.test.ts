import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { inspectModel } from '../../lib/performer/inspect.js';
import { encodeModel } from '../../lib/performer/onnx_write.js';
import {
  loadPerformer,
  type LoadPerformerOptions,
  type Performer,
} from '../../lib/performer/index.js';
import { randomImages, smallModel, smallNet } from '../support/onnx_models.js';
import { failure, PLAIN, withModel } from '../support/performer.js';

const SHARED = '../shared/models/vgg_animals.onnx';

/** Loads the small network and disposes it after use. */
async function withPerformer(
  options: LoadPerformerOptions,
  use: (performer: Performer) => Promise<void> | void,
): Promise<void> {
  await withModel(smallModel(), async (file) => {
    const performer = await loadPerformer(file, {
      preprocessing: PLAIN,
      backend: 'cpu',
      ...options,
    });
    try {
      await use(performer);
    } finally {
      performer.dispose();
    }
  });
}

describe('performer: loadPerformer', () => {
  it('describes what it loaded', async () => {
    await withPerformer({ layer: 'conv_relu', targets: ['fc_relu'], batch: 4 }, (performer) => {
      expect(performer.layer).to.deep.include({
        name: 'conv_relu',
        channels: 4,
        height: 8,
        width: 8,
        relu: true,
      });
      expect(performer.layer.geometry).to.deep.equal({
        stride: [1, 1],
        firstCentre: [0, 0],
        size: [3, 3],
      });
      expect(performer.targets).to.deep.equal([
        { name: 'fc_relu', shape: [6], size: 6, relu: true },
      ]);
      expect(performer.output).to.deep.equal({
        ...{ name: 'logits', size: 5, softmax: false, classifier: true },
      });
      const pool = { kernel: [2, 2], stride: [2, 2], pad: [0, 0, 0, 0], ceil: false };
      expect(performer.site).to.deep.include({ channels: 4, height: 4, width: 4, pool });
      expect(performer.learned).to.deep.equal({ pool });
      expect(performer.bypass).to.deep.equal([]);
      expect(performer.input).to.deep.equal({ name: 'image', channels: 3, height: 8, width: 8 });
      expect(performer.preprocessing).to.deep.equal({ ...PLAIN, size: 8, supersample: 1 });
      expect(performer.classes).to.equal(undefined);
      expect(performer.batch).to.equal(4);
      expect(performer.info().backend).to.equal('cpu');
    });
  });

  it('takes what inspectModel proposes as default', async function () {
    if (!existsSync(SHARED)) {
      console.log(`      skipped: ${SHARED} is not there`);
      this.skip();
    }
    const { proposal, layers, preprocessing } = await inspectModel(SHARED);
    expect(proposal?.layer).to.equal('conv5_relu');
    expect(proposal?.targets).to.deep.equal(['fc6_relu', 'logits']);
    const performer = await loadPerformer(SHARED, { backend: 'cpu', batch: 1 });
    performer.dispose();
    expect(performer.layer.name).to.equal('conv5_relu');
    expect(performer.layer.geometry).to.deep.equal({
      stride: [8, 8],
      firstCentre: [3.5, 3.5],
      size: [70, 70],
    });
    expect(layers.find(({ name }) => name === 'conv5_relu')?.geometry).to.deep.equal(
      performer.layer.geometry,
    );
    expect(performer.targets.map(({ name, size }) => [name, size])).to.deep.equal([
      ['fc6_relu', 768],
      ['logits', 31],
    ]);
    expect(performer.classes).to.have.length(31);
    expect(performer.preprocessing).to.deep.equal(preprocessing);
  });

  it('gives each image the same bits in any batch, full or padded', async () => {
    const images = randomImages(5, 8);
    const run = async (batch: number): Promise<number[][]> => {
      let result: number[][] = [];
      await withPerformer({ batch }, async (performer) => {
        const { layer, targets, output } = await performer.features(images, 5);
        expect([layer.length, targets[0]?.length, output.length]).to.deep.equal([1280, 30, 25]);
        result = [layer, ...targets, output].map((data) => [...data]);
      });
      return result;
    };
    const [one, three, eight] = [await run(1), await run(3), await run(8)];
    expect(three).to.deep.equal(one);
    expect(eight).to.deep.equal(one);
  });

  it('rebuilds targets and output from layer and last target', async () => {
    await withPerformer({ batch: 3 }, async (performer) => {
      const { layer, targets, output } = await performer.features(randomImages(4, 8), 4);
      const last = targets.at(-1) ?? new Float32Array(0);
      const site = await performer.siteMaps(layer, 4);
      expect(site).to.have.length(4 * 64);
      expect(await performer.tail(site, [], 4)).to.deep.equal({ targets, output });
      expect(await performer.head(last, 4)).to.deep.equal(output);
    });
  });

  it('gives the last target itself where it is the output', async () => {
    await withPerformer({ targets: ['fc_relu', 'logits'] }, async (performer) => {
      const { targets, output } = await performer.features(randomImages(2, 8), 2);
      expect(targets[1]).to.deep.equal(output);
      const copy = await performer.head(output, 2);
      expect(copy).to.deep.equal(output);
      expect(copy).not.to.equal(output);
      await failure('E_SHAPE', /3 x 5 values for lastTarget/, () => performer.head(output, 3));
    });
  });

  it('answers several calls at once in order', async () => {
    await withPerformer({ batch: 2 }, async (performer) => {
      const images = [1, 2, 3].map((seed) => randomImages(3, 8, seed));
      const together = await Promise.all(images.map((x) => performer.features(x, 3)));
      for (const [i, x] of images.entries()) {
        expect(together[i]).to.deep.equal(await performer.features(x, 3));
      }
    });
  });

  it('reads preprocessing and classes from the JSON file', async () => {
    await withModel(smallModel(), async (file, folder) => {
      const json = path.join(folder, 'model.json');
      const classes = ['a', 'b', 'c', 'd', 'e'];
      await writeFile(json, JSON.stringify({ ...PLAIN, classes }));
      const performer = await loadPerformer(file, { preprocessing: { channels: 'BGR' } });
      performer.dispose();
      expect(performer.preprocessing).to.deep.include({ channels: 'BGR', size: 8 });
      expect(performer.classes).to.deep.equal(classes);
      await writeFile(json, JSON.stringify({ ...PLAIN, classes: ['a', 'b'] }));
      await failure('E_ARGUMENT', /5 classes, as the output has/, () => loadPerformer(file));
      const inner = await loadPerformer(file, { output: 'fc_relu' });
      inner.dispose();
      expect(inner.output.name).to.equal('fc_relu');
    });
  });

  it('takes the side of an open input from the preprocessing', async () => {
    const spec = {
      ...smallNet().spec('logits'),
      inputs: [{ name: 'image', dims: ['N', 3, 'H', 'W'] }],
    };
    await withModel(encodeModel(spec), async (file) => {
      const performer = await loadPerformer(file, { preprocessing: { ...PLAIN, size: 8 } });
      performer.dispose();
      expect(performer.input.height).to.equal(8);
      await failure('E_ONNX', /height and a width/, () => loadPerformer(file));
    });
  });

  it('refuses missing preprocessing and wrong arguments', async () => {
    await withModel(smallModel(), async (file) => {
      await failure('E_ARGUMENT', /channels, scale, mean, std.*Write a JSON file/s, () =>
        loadPerformer(file),
      );
      for (const batch of [0, 1.5, NaN]) {
        await failure('E_ARGUMENT', /integer >= 1 for batch/, () => loadPerformer(file, { batch }));
      }
      const preprocessing = { ...PLAIN, size: 16 };
      await failure('E_ARGUMENT', /8, as the model has/, () =>
        loadPerformer(file, { preprocessing }),
      );
      await failure('E_ARGUMENT', /Nearest names: "conv_relu"/, () =>
        loadPerformer(file, { preprocessing: PLAIN, layer: 'conv_rleu' }),
      );
    });
  });

  it('refuses arrays of another length and calls after dispose', async () => {
    await withPerformer({}, async (performer) => {
      await failure('E_SHAPE', /2 x 192 values for images/, () =>
        performer.features(randomImages(1, 8), 2),
      );
      await failure('E_SHAPE', /1 x 256 values/, () => performer.siteMaps(new Float32Array(9), 1));
      await failure('E_SHAPE', /1 x 64 values for siteMaps/, () =>
        performer.tail(new Float32Array(9), [], 1),
      );
      await failure('E_ARGUMENT', /integer >= 1 for count/, () =>
        performer.features(new Float32Array(0), 0),
      );
      performer.dispose();
      performer.dispose();
      await failure('E_STATE', /dispose/, () => performer.features(randomImages(1, 8), 1));
    });
  });

  it('says what is missing in an inspection instead of failing', async () => {
    await withModel(smallModel(), async (file) => {
      const inspection = await inspectModel(file);
      expect(inspection.preprocessing)
        .to.have.property('missing')
        .that.matches(/channels, scale/);
      expect(inspection.layers.map(({ name }) => name)).to.deep.equal([
        'conv',
        'conv_relu',
        'pool',
      ]);
      expect(inspection.outputs).to.deep.equal([
        { name: 'logits', shape: [5], size: 5, relu: false },
      ]);
      const given = await inspectModel(file, { preprocessing: PLAIN });
      expect(given.preprocessing).to.deep.include({ size: 8 });
    });
  });
});
