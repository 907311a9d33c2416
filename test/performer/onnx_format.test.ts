import { existsSync, readFileSync } from 'node:fs';
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { lowerModel } from '../../lib/performer/lower.js';
import {
  AttributeSchema,
  AttributeType,
  DataType,
  GraphSchema,
  ModelSchema,
  NodeSchema,
  TensorSchema,
  type ModelProto,
} from '../../lib/performer/onnx_proto.js';
import { parseModel, readOnnx } from '../../lib/performer/onnx_read.js';
import { readTensor } from '../../lib/performer/onnx_tensor.js';
import { decodeModel } from '../../lib/performer/onnx_wire.js';
import { buildModel, encodeModel } from '../../lib/performer/onnx_write.js';
import { alexNet, randomNumbers, smallModel, smallNet } from '../support/onnx_models.js';
import { failure, inFolder, withModel } from '../support/performer.js';

const SHARED = '../shared/models/vgg_animals.onnx';

function tensor(fields: MessageInitShape<typeof TensorSchema>) {
  return readTensor(create(TensorSchema, { name: 't', ...fields }));
}

describe('performer: ONNX format', () => {
  it('writes and reads nodes, attributes, initializers and dimensions', async () => {
    const net = alexNet();
    await withModel(encodeModel(net.spec), async (file) => {
      const model = await readOnnx(file);
      expect(model.opset).to.equal(9);
      expect(model.outputs).to.deep.equal(['fc8']);
      expect(model.inputs[0]?.dims).to.deep.equal([undefined, 3, 131, 131]);
      expect(model.nodes.map(({ opType }) => opType)).to.include.members(['Conv', 'LRN', 'Gemm']);
      expect(model.nodes[0]?.attributes.get('strides')?.ints).to.deep.equal([4n, 4n]);
      expect(model.fingerprint).to.match(/^[0-9a-f]{64}$/);
      const stored = model.initializers.get('conv1.w');
      if (!stored) throw new Error('conv1.w is missing');
      expect(readTensor(stored).data).to.deep.equal(net.spec.initializers['conv1.w']?.data);
    });
  });

  it('keeps unknown fields: a decoded model is encoded to the same bytes', function () {
    const bytes = smallModel();
    // field 6 (doc_string), field 25 (functions), a 64-bit and a 32-bit field nobody knows
    const extra = Uint8Array.of(0x32, 2, 104, 105, 0xca, 1, 0, 0xe9, 7, 1, 2, 3, 4, 5, 6, 7, 8);
    const whole = Uint8Array.from([...bytes, ...extra, 0xf5, 7, 1, 2, 3, 4]);
    const again = toBinary(ModelSchema, decodeModel(whole, 'test'));
    expect(again.length).to.equal(whole.length);
    expect(toBinary(ModelSchema, decodeModel(again, 'test'))).to.deep.equal(again);
    if (!existsSync(SHARED)) {
      console.log(`      ${SHARED} is not there: only a generated model was compared`);
      return;
    }
    const real = readFileSync(SHARED);
    expect(Buffer.compare(toBinary(ModelSchema, decodeModel(real, SHARED)), real)).to.equal(0);
  });

  it('decodes every numeric element type from raw and typed fields', () => {
    const { FLOAT, FLOAT16, BFLOAT16, DOUBLE, INT64, INT32, UINT8, INT8, BOOL, UINT64 } = DataType;
    const raw = (array: { buffer: ArrayBufferLike }) => new Uint8Array(array.buffer);
    const dims = [2n];
    const cases: [MessageInitShape<typeof TensorSchema>, number[]][] = [
      [{ dims, dataType: FLOAT, rawData: raw(Float32Array.of(1.5, -2)) }, [1.5, -2]],
      [{ dims, dataType: FLOAT, floatData: [1.5, -2] }, [1.5, -2]],
      [{ dims, dataType: DOUBLE, rawData: raw(Float64Array.of(0.25, 3)) }, [0.25, 3]],
      [{ dims, dataType: DOUBLE, doubleData: [0.25, 3] }, [0.25, 3]],
      [{ dims, dataType: FLOAT16, rawData: raw(Uint16Array.of(0x3c00, 0xc500)) }, [1, -5]],
      [{ dims, dataType: FLOAT16, int32Data: [0x0001, 0x7bff] }, [2 ** -24, 65504]],
      [{ dims, dataType: BFLOAT16, rawData: raw(Uint16Array.of(0x3f80, 0xc0a0)) }, [1, -5]],
      [{ dims, dataType: INT64, rawData: raw(BigInt64Array.of(-1n, 7n)) }, [-1, 7]],
      [{ dims, dataType: INT64, int64Data: [-1n, 7n] }, [-1, 7]],
      [{ dims, dataType: UINT64, uint64Data: [1n, 7n] }, [1, 7]],
      [{ dims, dataType: INT32, int32Data: [-3, 4] }, [-3, 4]],
      [{ dims, dataType: INT8, rawData: Uint8Array.of(255, 3) }, [-1, 3]],
      [{ dims, dataType: UINT8, rawData: Uint8Array.of(255, 3) }, [255, 3]],
      [{ dims, dataType: BOOL, rawData: Uint8Array.of(1, 0) }, [1, 0]],
    ];
    for (const [fields, values] of cases) {
      const read = tensor(fields);
      expect([...read.data], JSON.stringify(fields.dataType)).to.deep.equal(values);
      expect(read.data).to.be.instanceOf(read.kind === 'float' ? Float32Array : Float64Array);
    }
    expect(tensor({ dataType: FLOAT, floatData: [3] }).dims).to.deep.equal([]);
  });

  it('reads raw data at addresses that are no multiple of 4', () => {
    const bytes = new Uint8Array(9);
    bytes.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 1);
    const { data } = tensor({ dims: [2n], dataType: DataType.FLOAT, rawData: bytes.subarray(1) });
    expect([...data]).to.deep.equal([1.5, -2]);
  });

  it('reads initializers that are listed as graph inputs (IR 3)', async () => {
    const net = smallNet();
    const spec = net.spec('logits');
    const inputs = Object.entries(spec.initializers).map(([name, { dims }]) => ({ name, dims }));
    const bytes = encodeModel({ ...spec, irVersion: 3, inputs: [...inputs, ...spec.inputs] });
    await withModel(bytes, async (file) => {
      const model = await readOnnx(file);
      expect(model.inputs.map(({ name }) => name)).to.deep.equal(['image']);
    });
  });
});

describe('performer: broken ONNX files', () => {
  const broken = async (bytes: Uint8Array, message: RegExp): Promise<void> => {
    await withModel(bytes, async (file) => {
      await failure('E_ONNX', message, () => readOnnx(file));
    });
  };
  const changed = (change: (model: ModelProto) => void): Uint8Array => {
    const model = buildModel(smallNet().spec('logits'));
    change(model);
    return toBinary(ModelSchema, model);
  };

  it('refuses empty files, text and random bytes', async () => {
    await broken(new Uint8Array(0), /ONNX model/);
    await broken(
      new TextEncoder().encode('<html>Not found</html>'),
      /truncated or is no ONNX file/,
    );
    const next = randomNumbers(3);
    for (let i = 0; i < 50; i++) {
      const bytes = Uint8Array.from({ length: 200 }, () => Math.floor(256 * next()));
      await broken(bytes, /ONNX model|opset/);
    }
  });

  it('refuses graphs inside graphs without end', async () => {
    const nested = (depth: number): Uint8Array =>
      changed(({ graph }) => {
        let inner = create(GraphSchema, { name: 'innermost' });
        for (let i = 0; i < depth; i++) {
          inner = create(GraphSchema, { node: [{ attribute: [{ name: 'body', g: inner }] }] });
        }
        graph?.node.push(
          create(NodeSchema, { opType: 'If', attribute: [{ name: 'b', g: inner }] }),
        );
      });
    decodeModel(nested(15), 'model');
    await broken(nested(40), /messages nested more than 100 deep/);
  });

  it('refuses a model truncated anywhere', async () => {
    const bytes = smallModel();
    for (let length = 0; length < bytes.length - 8; length += 13) {
      const cut = bytes.subarray(0, length);
      await failure('E_ONNX', /ONNX model/, () => decodeModel(cut, 'cut.onnx'));
    }
  });

  it('answers flipped bytes with E_ONNX or a model, never with another error', () => {
    const next = randomNumbers(7);
    const original = smallModel();
    let refused = 0;
    for (let i = 0; i < 600; i++) {
      const bytes = original.slice();
      const at = Math.floor(next() * 500);
      bytes[i % 2 === 0 ? at : bytes.length - 1 - at] = Math.floor(256 * next());
      try {
        lowerModel(parseModel(decodeModel(bytes, 'flipped'), 'flipped', ''));
      } catch (error) {
        refused += 1;
        expect(error).to.have.property('code', 'E_ONNX', String((error as Error).stack));
      }
    }
    expect(refused).to.be.greaterThan(50);
  });

  it('bounds the memory of a file of millions of tiny records', async () => {
    const start = process.memoryUsage().rss;
    await broken(
      new Uint8Array(6_000_000).map((_, i) => (i % 2 === 0 ? 0x58 : 0)),
      /more than 2000000/,
    );
    expect(process.memoryUsage().rss - start).to.be.lessThan(300e6);
  });

  it('refuses graphs nested without end', async () => {
    const { GRAPH } = AttributeType;
    const inside = changed((model) => {
      for (let i = 0; i < 40; i++) {
        const g = model.graph;
        if (!g) return;
        const attribute = [create(AttributeSchema, { name: 'then_branch', type: GRAPH, g })];
        model.graph = create(GraphSchema, { node: [{ opType: 'If', attribute }] });
      }
    });
    await broken(inside, /nested more than 100 deep/);
  });

  it('refuses models without graph, nodes or a known opset', async () => {
    await broken(
      changed((model) => delete model.graph),
      /graph of at least one node/,
    );
    await broken(
      changed((model) => (model.graph?.node ?? []).splice(0)),
      /at least one node/,
    );
    await broken(
      changed((model) => ((model.opsetImport[0] as { version: bigint }).version = 6n)),
      /opset 7 to 26/,
    );
    await broken(
      changed((model) => ((model.opsetImport[0] as { version: bigint }).version = 27n)),
      /opset 7 to 26.*27/,
    );
    await broken(
      changed((model) => model.opsetImport.splice(0)),
      /opset 7 to 26/,
    );
    await broken(
      changed((model) => (model.irVersion = 14n)),
      /IR version 3 to 13 .*14.*older release/s,
    );
  });

  it('names the file when it cannot be read', async () => {
    await failure('E_FILE', /Cannot read the model "no-such\.onnx": ENOENT/, () =>
      readOnnx('no-such.onnx'),
    );
    await inFolder((folder) => failure('E_FILE', /is not a file/, () => readOnnx(folder)));
  });

  it('refuses negative, enormous and disagreeing sizes of tensors', async () => {
    const { FLOAT, STRING } = DataType;
    const cases: [MessageInitShape<typeof TensorSchema>, RegExp][] = [
      [{ dims: [-2n, 3n], dataType: FLOAT }, /sizes >= 0 .* tensor "t" .*\(-2, 3\)/],
      [{ dims: [65536n, 65536n], dataType: FLOAT }, /fewer than 2\^31/],
      [{ dims: [2n ** 62n], dataType: FLOAT }, /fewer than 2\^31/],
      [{ dims: [1000n, 1000n], dataType: FLOAT }, /data for \(1000, 1000\).*0 values/],
      [{ dims: [3n], dataType: FLOAT, rawData: new Uint8Array(8) }, /data for \(3\).*8 bytes/],
      [{ dims: [1n], dataType: STRING }, /numeric element type.*type 8/],
    ];
    for (const [fields, message] of cases) await failure('E_ONNX', message, () => tensor(fields));
  });

  it('refuses negative and enormous sizes of the input', async () => {
    for (const [sizes, message] of [
      [['N', 3, -8, 8], /sizes from 1 to 2\^31/],
      [['N', 3, 2 ** 31, 8], /sizes from 1 to 2\^31/],
      [['N', 3, 2 ** 20, 2 ** 20], /fewer than 2\^31 elements/],
      [['N', 2, 8, 8], /images \(N, C, H, W\) or .* C = 1, 3 or 4/],
      [[3, 8, 8], /images \(N, C, H, W\)/],
    ] as const) {
      const spec = { ...smallNet().spec('logits'), inputs: [{ name: 'image', dims: sizes }] };
      await withModel(encodeModel(spec), async (file) => {
        await failure('E_ONNX', message, async () => lowerModel(await readOnnx(file)));
      });
    }
  });

  it('takes an open batch as a name, -1, 0 or nothing', async () => {
    for (const batch of ['N', '', -1, 0, 1, 4]) {
      await withModel(smallModel({ batch }), async (file) => {
        const network = lowerModel(await readOnnx(file));
        expect(network.outputs[0]?.shape).to.deep.equal([5]);
      });
    }
  });

  it('tells models apart by their bytes', async () => {
    const [one, two] = [smallModel({ seed: 1 }), smallModel({ seed: 2 })];
    const prints = await Promise.all(
      [one, one, two].map((bytes) =>
        withModel(bytes, async (file) => (await readOnnx(file)).fingerprint),
      ),
    );
    expect(prints[0]).to.equal(prints[1]);
    expect(prints[0]).not.to.equal(prints[2]);
  });
});
