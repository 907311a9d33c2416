import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import {
  completePreprocessing,
  parsePreprocessing,
  parseSidecar,
  readSidecar,
  type Preprocessing,
  sidecarPath,
  type ModelInput,
} from '../../lib/performer/preprocessing.js';
import { failure, inFolder, PLAIN } from '../support/performer.js';

const input = (height: number, more: Partial<ModelInput> = {}): ModelInput => ({
  channels: 3,
  height,
  width: height,
  bytes: false,
  ...more,
});
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
    await refused(/input\.colour/, () => words({ colour: 'YUV' }));
    await refused(/mean: must be 1, 3 or 4 numbers/, () => strict({ mean: [1, 2] }));
    await refused(/size/, () => strict({ size: [1, 2, 3] }));
    await refused(/size/, () => parsePreprocessing({ size: [16, 0] }));
    await refused(/input\.resize/, () =>
      words({ resize: '48x32 crop -> 16x24 by averaging each 2x2 block' }),
    );
    await refused(/std: must not be 0/, () => strict({ std: [1, 0, 1] }));
    await refused(/Unrecognized key: .*meen/, () => strict({ meen: [1, 2, 3] }));
    await refused(/scale/, () => parsePreprocessing({ scale: -1 }));
    await refused(/Unrecognized key/, () => parsePreprocessing({ colour: 'RGB' }));
    await refused(/Expected JSON for net\.json/, () => parseSidecar('{', 'net.json'));
    await refused(/valid preprocessing/, () => parseSidecar('[1]', 'net.json'));
  });

  it('names what is missing instead of guessing', async () => {
    await refused(
      /channels, scale, mean, std of the images.*Write a JSON file.*"size": 224, "mean": \[0\.485, .*--image-channels/s,
      () => completePreprocessing(NONE, {}, input(224)),
    );
    await refused(/Expected mean of the images/, () =>
      completePreprocessing(NONE, { channels: 'RGB', scale: 1, std: [1, 1, 1] }, input(8)),
    );
    const grey = input(16, { channels: 1, width: 24 });
    await refused(/"size": \[16, 24\], "mean": \[0\.5\], .*"channels": "grey"/, () =>
      completePreprocessing(NONE, { scale: 1 }, grey),
    );
  });

  it('reads a height and a width, grey and four channels, in both forms', () => {
    const grey = { channels: 'grey', scale: 1, mean: [0.5], std: [2] } as const;
    expect(strict({ ...grey, size: [16, 24] }).preprocessing).to.deep.equal({
      ...grey,
      size: [16, 24],
    });
    expect(strict({ size: [16, 16] }).preprocessing).to.deep.equal({ size: 16 });
    const { preprocessing } = words({
      shape: ['N', 1, 16, 24],
      colour: 'grey',
      mean: [0.5],
      resize: '32x48 crop -> 16x24 by averaging each 2x2 block',
    });
    expect(preprocessing).to.deep.equal({
      size: [16, 24],
      supersample: 2,
      channels: 'grey',
      mean: [0.5],
    });
    expect(words({ shape: ['N', 16, 24, 4] }).preprocessing).to.deep.equal({ size: [16, 24] });
    expect(words({ shape: ['N', 3, 'h', 'w'] }).preprocessing).to.deep.equal({});
    const whole = completePreprocessing(NONE, grey, input(16, { channels: 1, width: 24 }));
    expect(whole).to.deep.equal({ ...grey, size: [16, 24], supersample: 1 });
  });

  it('refuses what does not fit the model, naming the flag', async () => {
    const complete = (given: Partial<Preprocessing>, model: ModelInput) =>
      completePreprocessing(NONE, { ...PLAIN, ...given }, model);
    const wide = input(16, { width: 24 });
    await refused(/224, as the model has for size.*--image-size/s, () =>
      complete({ size: 64 }, input(224)),
    );
    await refused(/16x24, as the model has for size/, () => complete({ size: 16 }, wide));
    await refused(/16x24, as the model has for size/, () => complete({ size: [24, 16] }, wide));
    await refused(/"grey", as .* C = 1 for channels .*"RGB".*--image-channels/s, () =>
      complete({}, input(8, { channels: 1 })),
    );
    await refused(/"RGBA", as .* C = 4 for channels/, () =>
      complete({}, input(8, { channels: 4 })),
    );
    await refused(/"RGB" or "BGR", as .* C = 3 for channels/, () =>
      complete({ channels: 'grey' }, input(8)),
    );
    await refused(/4 numbers, as RGBA has channels for mean .*--image-mean/s, () =>
      complete({ channels: 'RGBA' }, input(8, { channels: 4 })),
    );
    await refused(/3 numbers, as RGB has channels for std .*--image-std/s, () =>
      complete({ std: [1] }, input(8)),
    );
  });

  it('gives a model of bytes bytes, and nothing else', async () => {
    const model = input(8, { channels: 1, bytes: true });
    const whole = completePreprocessing(NONE, { channels: 'grey' }, model);
    expect(whole).to.deep.equal({
      size: 8,
      supersample: 1,
      channels: 'grey',
      scale: 1,
      mean: [0],
      std: [1],
    });
    for (const [field, value] of [
      ['scale', 1 / 255],
      ['mean', [0.5]],
      ['std', [0.5]],
    ] as const) {
      await refused(
        new RegExp(`as the model takes bytes, for ${field} .*--image-${field}`, 's'),
        () => completePreprocessing(NONE, { channels: 'grey', [field]: value }, model),
      );
    }
    await refused(/Expected channels of the images/, () => completePreprocessing(NONE, {}, model));
  });

  it("lets the caller's fields win over the file", () => {
    const sidecar = { ...NONE, preprocessing: { ...PLAIN, channels: 'BGR' as const } };
    const joined = completePreprocessing(sidecar, { scale: 1 }, input(64));
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
