import { toBinary } from '@bufbuild/protobuf';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { unzipSync } from 'fflate';
import { readImage } from '../../lib/data/images.js';
import { exportMaps, exportOnnx } from '../../lib/export/index.js';
import { inspectModel, loadPerformer } from '../../lib/performer/index.js';
import { DataType, ModelSchema } from '../../lib/performer/onnx_proto.js';
import { buildModel } from '../../lib/performer/onnx_write.js';
import { writeReport } from '../../lib/report/report.js';
import { here } from '../cli/run_cli.js';
import { temporaryFolder } from '../data/temporary.js';
import { readReport } from '../report/report_data.js';
import { NetBuilder } from '../support/onnx_models.js';
import { failure } from '../support/performer.js';
import { CLASSES, withExplainer, writePhotographs } from './tiny.js';

/** Size of the network's input, pixels; the explained maps are 8 x 12. */
const [HEIGHT, WIDTH] = [16, 24];
const GREY = { channels: 'grey', scale: 1 / 255, mean: [0.5], std: [0.25] } as const;
const CPU = { backend: 'cpu', threads: 1 } as const;

interface InputChange {
  channels?: number;
  /** Declared sizes of the image. */
  sides?: readonly (number | string)[];
  bytes?: boolean;
}

/** Conv, pooling, `conv2_relu` (6, 8, 12), pooling, one hidden layer, logits. */
async function writeNet(
  path: string,
  { channels = 1, sides = [HEIGHT, WIDTH], bytes = false }: InputChange = {},
): Promise<string> {
  const net = new NetBuilder({ size: HEIGHT, seed: 22 });
  const same = { pads: [1, 1, 1, 1] };
  const image = bytes ? net.node('Cast', 'floats', ['image'], { to: DataType.FLOAT }) : 'image';
  let x = net.maxPool(net.relu(net.conv(image, 'conv1', [4, channels, 3], same)), 'pool1', 2);
  x = net.maxPool(net.relu(net.conv(x, 'conv2', [6, 4, 3], same)), 'pool2', 2);
  x = net.relu(net.gemm(net.node('Flatten', 'flat', [x]), 'fc1', [10, 6 * 4 * 6]));
  net.gemm(x, 'logits', [CLASSES.length, 10]);
  const inputs = [{ name: 'image', dims: ['N', channels, ...sides] }];
  const proto = buildModel({ ...net.spec('logits'), inputs });
  const tensor = proto.graph?.input[0]?.type?.tensorType;
  if (tensor && bytes) tensor.elemType = DataType.UINT8;
  await writeFile(path, toBinary(ModelSchema, proto));
  return path;
}

describe('a network of grey images that are not square', () => {
  const folder = temporaryFolder();
  const at = (name: string): string => join(folder(), name);

  it('trains, is evaluated, explained, reported and exported', async function () {
    this.timeout(60_000);
    const images = await writePhotographs(at('photos'), 20);
    const model = await writeNet(at('net.onnx'));
    await writeFile(at('net.json'), JSON.stringify({ ...GREY, supersample: 2, classes: CLASSES }));
    using performer = await loadPerformer(model, { layer: 'conv2_relu', ...CPU });
    expect(performer.preprocessing.size).to.deep.equal([HEIGHT, WIDTH]);
    const out = at('run');
    await withExplainer({ performer, images, out, filters: 5 }, async (explainer) => {
      const landmarks = join(images, 'landmarks.csv');
      const { instability, head } = await explainer.evaluate({ landmarks });
      expect(instability?.layer2.value).to.be.within(0, 1);
      expect(head.labelled).to.be.above(0);
      const photo = join(images, 'dark', '003.png');
      const found = await explainer.explain(photo);
      for (const { map, place } of found.parts) {
        expect(map).to.have.length(8 * 12);
        expect(place.x).to.be.within(0, 20);
        expect(place.y).to.be.within(0, 24);
      }
      const { path } = await writeReport(explainer, { landmarks });
      const { data } = await readReport(path);
      const rows = data.configuration.flatMap(({ entries }) => entries);
      expect(rows).to.deep.include(['network input', '16 x 24 pixels']);
      expect(rows).to.deep.include(['channels', '"grey"']);
      await exportMaps(explainer, [photo], at('maps.npz'));
      const { inputs } = await exportOnnx(explainer, at('fused.onnx'), { fused: true });
      expect(inputs).to.deep.equal([{ name: 'image', dims: ['N', 1, HEIGHT, WIDTH] }]);
      const maps = unzipSync(await readFile(at('maps.npz')))['part_maps_2.npy'];
      expect(Buffer.from(maps ?? []).toString('latin1')).to.include("'shape': (1, 5, 8, 12,)");
    });
  });

  it('needs the size where the model leaves it open, from a file or --image-size', async () => {
    const model = await writeNet(at('net.onnx'), { sides: ['h', 'w'] });
    await failure('E_ONNX', /a height and a width .*--image-size/s, () =>
      loadPerformer(model, { preprocessing: GREY, ...CPU }),
    );
    const flags = ['--image-channels', 'grey', '--image-mean', '0.5', '--image-std', '0.25'];
    const given = ['--image-size', '16x24', '--image-scale', '0.5', ...flags];
    const told = await here('inspect', model, ...given);
    expect(told).to.include({ code: 0, stderr: '' });
    expect(told.stdout).to.include('input image 1 x 16 x 24');
    expect(told.stdout).to.include(
      'images: 16 x 24 (height x width), grey, scale 0.5000, mean 0.5',
    );
    const images = await writePhotographs(at('photos'), 20);
    const run = ['--out', at('run'), '--layer', 'conv2_relu', '--epochs', '1', '--batch', '8'];
    const device = ['--backend', 'cpu', '--threads', '1'];
    const trained = await here(
      ...['train', '--performer', model, '--images', images],
      ...[...run, ...given, ...device],
    );
    expect(trained).to.include({ code: 0, stderr: '' });
    // the run folder remembers how images are read
    const explained = await here('explain', at('run'), join(images, 'dark', '001.png'), ...device);
    expect(explained).to.include({ code: 0, stderr: '' });
    const wrong = await here('inspect', model, '--image-size', '16:24');
    expect(wrong.code).to.equal(2);
    expect(wrong.stderr).to.include('height x width such as 240x320');
  });

  it('says which channels a model has when they are not given', async () => {
    const model = await writeNet(at('net.onnx'));
    const { scale, mean, std } = GREY;
    const rest = { scale, mean, std };
    await failure(
      'E_ARGUMENT',
      /channels of the images.*"channels": "grey".*--image-channels/s,
      () => loadPerformer(model, { preprocessing: rest, ...CPU }),
    );
    const { preprocessing } = await inspectModel(model, { preprocessing: rest });
    expect(preprocessing).to.have.property('missing');
    const rgba = await writeNet(at('rgba.onnx'), { channels: 4 });
    await failure('E_ARGUMENT', /"RGBA", as the model's input has C = 4 for channels/, () =>
      loadPerformer(rgba, { preprocessing: GREY, ...CPU }),
    );
    await failure('E_ARGUMENT', /16x24, as the model has for size but received 16/, () =>
      loadPerformer(model, { preprocessing: { ...GREY, size: 16 }, ...CPU }),
    );
  });

  it('gives bytes to a model of bytes: the features of the same model of floats', async () => {
    const images = await writePhotographs(at('photos'), 2);
    const photo = join(images, 'dark', '001.png');
    const four = [1, 1, 1, 1];
    const plain = { channels: 'RGBA', scale: 1, mean: [0, 0, 0, 0], std: four } as const;
    const found = [];
    for (const bytes of [false, true]) {
      const model = await writeNet(at(`${String(bytes)}.onnx`), { channels: 4, bytes });
      const preprocessing = bytes ? ({ channels: 'RGBA' } as const) : plain;
      using performer = await loadPerformer(model, { layer: 'conv2_relu', preprocessing, ...CPU });
      expect(performer.preprocessing).to.deep.include({ ...plain, size: [HEIGHT, WIDTH] });
      const { pixels } = await readImage(photo, performer.preprocessing);
      expect(pixels).to.have.length(4 * HEIGHT * WIDTH);
      found.push(await performer.features(pixels, 1));
      if (!bytes) continue;
      await failure('E_ARGUMENT', /1, as the model takes bytes, for scale/, () =>
        loadPerformer(model, { preprocessing: { ...plain, scale: 1 / 255 }, ...CPU }),
      );
    }
    expect(found[0]).to.deep.equal(found[1]);
  });
});
