import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import {
  completePreprocessing,
  parsePreprocessing,
  parseSidecar,
  readSidecar,
  sidecarPath,
} from '../../lib/performer/preprocessing.js';
import { failure, inFolder, PLAIN } from '../support/performer.js';

const NONE = { path: undefined, preprocessing: {}, classes: undefined };
const SHARED = '../shared/models/vgg_animals.onnx';

const words = (input: object, more: object = {}) =>
  parseSidecar(JSON.stringify({ input, ...more }), 'net.json');
const strict = (fields: object) => parseSidecar(JSON.stringify(fields), 'net.json');
const refused = (message: RegExp, run: () => unknown) => failure('E_ARGUMENT', message, run);

describe('performer: preprocessing', () => {
  it('reads the strict form', () => {
    const { preprocessing, classes } = strict({ ...PLAIN, size: 224, classes: ['a', 'b'] });
    expect(preprocessing).to.deep.equal({ ...PLAIN, size: 224 });
    expect(classes).to.deep.equal(['a', 'b']);
  });

  it('reads the descriptive form, with words for scale and resizing', () => {
    const { preprocessing } = words({
      name: 'image',
      shape: ['N', 3, 112, 112],
      colour: 'RGB',
      scale: '1/255 (0..1) before mean and std',
      mean: [0.1, 0.2, 0.3],
      std: [1, 2, 3],
      resize: '224x224 crop -> 112x112 by averaging each 2x2 block (rounded to uint8)',
    });
    expect(preprocessing).to.deep.equal({
      size: 112,
      supersample: 2,
      channels: 'RGB',
      scale: 1 / 255,
      mean: [0.1, 0.2, 0.3],
      std: [1, 2, 3],
    });
  });

  it('reads the sidecar of the shared network', async function () {
    if (!existsSync(SHARED)) {
      console.log(`      skipped: ${SHARED} is not there`);
      this.skip();
    }
    const { preprocessing, classes, path: file } = await readSidecar(SHARED);
    expect(file).to.equal('../shared/models/vgg_animals.json');
    expect(preprocessing).to.deep.include({
      size: 112,
      supersample: 2,
      channels: 'RGB',
      scale: 1 / 255,
    });
    expect(classes).to.have.length(31);
  });

  it('understands numbers, fractions and "none" as scale, and nothing else', async () => {
    expect(words({ scale: 0.5 }).preprocessing.scale).to.equal(0.5);
    expect(words({ scale: '0.0078125' }).preprocessing.scale).to.equal(1 / 128);
    expect(words({ scale: 'none (0..255)' }).preprocessing.scale).to.equal(1);
    expect(words({ scale: '1 / 127.5 and no more' }).preprocessing.scale).to.equal(1 / 127.5);
    for (const scale of ['0..1', 'ImageNet', '1/0', '255x', '']) {
      await refused(/input\.scale in net\.json/, () => words({ scale }));
    }
  });

  it('prefers explicit numbers to words', () => {
    const { preprocessing } = words({ resize: 'as usual', supersample: 1, size: 64 });
    expect(preprocessing).to.deep.equal({ supersample: 1, size: 64 });
  });

  it('refuses what it does not understand', async () => {
    await refused(/input\.resize in net\.json.*"bicubic"/, () => words({ resize: 'bicubic' }));
    await refused(/input\.resize/, () =>
      words({ resize: '224x224 crop -> 112x112 by averaging each 4x4 block' }),
    );
    await refused(/square input/, () => words({ shape: ['N', 3, 112, 96] }));
    await refused(/input\.colour/, () => words({ colour: 'YUV' }));
    await refused(/mean/, () => strict({ mean: [1, 2] }));
    await refused(/std: must not be 0/, () => strict({ std: [1, 0, 1] }));
    await refused(/Unrecognized key: .*meen/, () => strict({ meen: [1, 2, 3] }));
    await refused(/scale/, () => parsePreprocessing({ scale: -1 }));
    await refused(/Unrecognized key/, () => parsePreprocessing({ colour: 'RGB' }));
    await refused(/Expected JSON for net\.json/, () => parseSidecar('{', 'net.json'));
    await refused(/valid preprocessing/, () => parseSidecar('[1]', 'net.json'));
  });

  it('names what is missing instead of guessing', async () => {
    await refused(/channels, scale, mean, std of the images.*Write a JSON file/s, () =>
      completePreprocessing(NONE, {}, 224),
    );
    await refused(/Expected size of the images/, () =>
      completePreprocessing(NONE, PLAIN, undefined),
    );
    await refused(/224, as the model has for size/, () =>
      completePreprocessing(NONE, { ...PLAIN, size: 64 }, 224),
    );
  });

  it("lets the caller's fields win over the file", () => {
    const sidecar = { ...NONE, preprocessing: { ...PLAIN, channels: 'BGR' as const } };
    const joined = completePreprocessing(sidecar, { scale: 1 }, 64);
    expect(joined).to.deep.equal({ ...PLAIN, channels: 'BGR', scale: 1, size: 64, supersample: 1 });
  });

  it('finds the file by the name of the model', async () => {
    expect(sidecarPath(path.join('a', 'net.v2.onnx'))).to.equal(path.join('a', 'net.v2.json'));
    await inFolder(async (folder) => {
      const model = path.join(folder, 'net.onnx');
      expect(await readSidecar(model)).to.deep.equal(NONE);
      await writeFile(path.join(folder, 'net.json'), JSON.stringify({ scale: 1 }));
      expect((await readSidecar(model)).preprocessing).to.deep.equal({ scale: 1 });
      await mkdir(path.join(folder, 'other.json'));
      await failure('E_FILE', /Cannot read .*other\.json.*EISDIR/, () =>
        readSidecar(path.join(folder, 'other.onnx')),
      );
    });
  });
});
