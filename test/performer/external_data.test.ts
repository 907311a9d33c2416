import { mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { readOnnx } from '../../lib/performer/onnx_read.js';
import { EXTERNAL, ModelSchema } from '../../lib/performer/onnx_proto.js';
import { readTensor } from '../../lib/performer/onnx_tensor.js';
import { buildModel } from '../../lib/performer/onnx_write.js';
import { smallNet } from '../support/onnx_models.js';
import { failure, inFolder } from '../support/performer.js';

type Place = Readonly<Record<string, string>>;

/** Writes smallNet with `fc.w` in `weights/fc.bin`, described by `place`. */
async function writeExternal(folder: string, place: Place): Promise<string> {
  const model = buildModel(smallNet().spec('logits'));
  const tensor = model.graph?.initializer.find(({ name }) => name === 'fc.w');
  if (!tensor) throw new Error('fc.w is missing');
  await mkdir(path.join(folder, 'models', 'weights'), { recursive: true });
  const padding = new Uint8Array(64);
  const data = Buffer.concat([padding, tensor.rawData]);
  await writeFile(path.join(folder, 'models', 'weights', 'fc.bin'), data);
  await writeFile(path.join(folder, 'outside.bin'), data);
  tensor.rawData = new Uint8Array(0);
  tensor.dataLocation = EXTERNAL;
  for (const [key, value] of Object.entries(place)) {
    tensor.externalData.push({ $typeName: 'onnx.StringStringEntryProto', key, value });
  }
  const file = path.join(folder, 'models', 'model.onnx');
  await writeFile(file, toBinary(ModelSchema, model));
  return file;
}

const GOOD = { location: 'weights/fc.bin', offset: '64', length: '1536' };

describe('performer: external data', () => {
  it('reads tensors beside the model, as if they were inside', async () => {
    await inFolder(async (folder) => {
      const model = await readOnnx(await writeExternal(folder, GOOD));
      const stored = model.initializers.get('fc.w');
      if (!stored) throw new Error('fc.w is missing');
      expect(readTensor(stored).data).to.deep.equal(smallNet().initializers['fc.w']?.data);
    });
  });

  it('reads nothing for tensors that no node reads, and shared bytes once', async () => {
    await inFolder(async (folder) => {
      const file = await writeExternal(folder, GOOD);
      const { fingerprint } = await readOnnx(file);
      const model = fromBinary(ModelSchema, await readFile(file));
      const used = model.graph?.initializer.find(({ name }) => name === 'fc.w');
      if (!model.graph || !used) throw new Error('fc.w is missing');
      const place = (location: string, offset: number) =>
        Object.entries({ location, offset: String(offset) }).map(
          ([key, value]) => ({ $typeName: 'onnx.StringStringEntryProto', key, value }) as const,
        );
      for (let i = 0; i < 8; i++) {
        model.graph.initializer.push({
          ...used,
          name: `unused${i}`,
          dims: [2n ** 28n],
          externalData: place('weights/sparse.bin', 0),
        });
        // The same floats from i elements on.
        model.graph.initializer.push({
          ...used,
          name: `part${i}`,
          dims: [384n - BigInt(i)],
          externalData: place('weights/fc.bin', 64 + 4 * i),
        });
        const [first] = model.graph.node;
        if (!first) throw new Error('no node');
        model.graph.node.push({
          ...first,
          name: `twice${i}`,
          opType: 'Identity',
          input: [`part${i}`],
          output: [`twice${i}`],
          attribute: [],
        });
      }
      await writeFile(path.join(folder, 'models', 'weights', 'sparse.bin'), '');
      await truncate(path.join(folder, 'models', 'weights', 'sparse.bin'), 2 ** 30);
      await writeFile(file, toBinary(ModelSchema, model));
      const { initializers, ...read } = await readOnnx(file);
      expect(read.fingerprint).not.to.equal(fingerprint);
      expect(initializers.get('unused0')?.rawData).to.have.length(0);
      const wanted = smallNet().initializers['fc.w']?.data;
      const buffers = new Set<unknown>();
      for (let i = 0; i < 8; i++) {
        const part = initializers.get(`part${i}`);
        if (!part) throw new Error('no part');
        expect(readTensor(part).data).to.deep.equal(wanted?.slice(i));
        buffers.add(part.rawData.buffer);
      }
      expect(buffers.size).to.equal(1);
    });
  });

  it('counts the external bytes in the fingerprint', async () => {
    await inFolder(async (folder) => {
      const file = await writeExternal(folder, GOOD);
      const before = await readOnnx(file);
      const bin = path.join(folder, 'models', 'weights', 'fc.bin');
      await writeFile(bin, new Uint8Array(64 + 1536).fill(1));
      const after = await readOnnx(file);
      expect(after.fingerprint).not.to.equal(before.fingerprint);
    });
  });

  it("refuses everything outside the model's folder", async () => {
    await inFolder(async (folder) => {
      const outside = path.join(folder, 'outside.bin');
      for (const location of [
        '../outside.bin',
        'weights/../../outside.bin',
        outside,
        '.',
        '..',
        'a\0b',
      ]) {
        const file = await writeExternal(folder, { ...GOOD, location });
        await failure('E_ONNX', /inside the model's folder/, () => readOnnx(file));
      }
      await symlink(outside, path.join(folder, 'models', 'link.bin'));
      await symlink(folder, path.join(folder, 'models', 'up'));
      for (const location of ['link.bin', 'up/outside.bin']) {
        const file = await writeExternal(folder, { ...GOOD, location });
        await failure('E_ONNX', /a link that leaves it/, () => readOnnx(file));
      }
    });
  });

  it("reads data beside the model's own file where the path is a link to it", async () => {
    await inFolder(async (folder) => {
      const file = await writeExternal(folder, { ...GOOD, location: 'fc.bin' });
      const [blobs, snapshot] = ['blobs', 'snapshot'].map((name) => path.join(folder, name));
      if (blobs === undefined || snapshot === undefined) throw new Error('no folders');
      await mkdir(blobs);
      await mkdir(snapshot);
      await rename(file, path.join(blobs, 'aaaa'));
      await rename(path.join(folder, 'models', 'weights', 'fc.bin'), path.join(blobs, 'bbbb'));
      await symlink('../blobs/aaaa', path.join(snapshot, 'model.onnx'));
      await symlink('../blobs/bbbb', path.join(snapshot, 'fc.bin'));
      const model = await readOnnx(path.join(snapshot, 'model.onnx'));
      expect(model.initializers.get('fc.w')?.rawData.length).to.equal(1536);

      await rm(path.join(snapshot, 'fc.bin'));
      await symlink('../outside.bin', path.join(snapshot, 'fc.bin'));
      await failure('E_ONNX', /a link that leaves it/, () =>
        readOnnx(path.join(snapshot, 'model.onnx')),
      );
    });
  });

  it('checks offset and length against the tensor and the file', async () => {
    await inFolder(async (folder) => {
      for (const [place, message] of [
        [{ ...GOOD, length: '1532' }, /1536 bytes.*length of external tensor "fc\.w".*1532/],
        [{ ...GOOD, offset: '68' }, /bytes 68 to 1604.*a file of 1600 bytes/],
        [{ ...GOOD, offset: '-4' }, /a number of bytes.*"-4"/],
        [{ ...GOOD, offset: '9'.repeat(30) }, /a number of bytes/],
        [{ ...GOOD, location: 'weights/none.bin' }, /readable file.*ENOENT/],
        [{ ...GOOD, location: 'weights' }, /Expected a file/],
        [{ offset: '0' }, /Expected a location/],
      ] as const) {
        const file = await writeExternal(folder, place);
        await failure('E_ONNX', message, () => readOnnx(file));
      }
      const file = await writeExternal(folder, GOOD);
      await truncate(path.join(folder, 'models', 'weights', 'fc.bin'), 100);
      await failure('E_ONNX', /a file of 100 bytes/, () => readOnnx(file));
    });
  });
});
