import { create } from '@bufbuild/protobuf';
import { expect } from 'chai';
import type { ImageSize } from '../../lib/data/image_size.js';
import { imageInput } from '../../lib/performer/image_input.js';
import { DataType, ModelSchema, type ModelProto } from '../../lib/performer/onnx_proto.js';
import { parseModel } from '../../lib/performer/onnx_read.js';
import { chooseOutput, readableOutputs } from '../../lib/performer/outputs.js';
import { buildModel, type ValueSpec } from '../../lib/performer/onnx_write.js';
import { NetBuilder, smallNet } from '../support/onnx_models.js';
import { failure } from '../support/performer.js';

interface InputOptions {
  type?: number;
  opType?: string;
  size?: ImageSize;
}

/** What becomes of an input of those sizes and that element type behind a node of `opType`. */
function input(dims: ValueSpec['dims'], { type = 1, opType = 'Cast', size }: InputOptions = {}) {
  const net = new NetBuilder({ size: 8 });
  net.node(opType, 'y', ['image']);
  const proto = buildModel({ ...net.spec('y'), inputs: [{ name: 'image', dims }] });
  const tensor = proto.graph?.input[0]?.type?.tensorType;
  if (tensor) tensor.elemType = type;
  const model = parseModel(proto, 'test.onnx', '');
  expect(model.notes.length).to.equal(type === DataType.UINT8 ? 1 : 0);
  const { value, ...rest } = imageInput(model, model.nodes, size);
  return { shape: value.shape, ...rest };
}

describe('performer: the image input', () => {
  it('takes grey, colour and four channels, first or last, of any height and width', () => {
    for (const [dims, shape, channelsLast, batch] of [
      [['N', 1, 16, 16], [1, 16, 16], false, undefined],
      [['N', 4, 16, 24], [4, 16, 24], false, undefined],
      [[1, 3, 8, 4], [3, 8, 4], false, 1],
      [['N', 16, 24, 3], [3, 16, 24], true, undefined],
      [[4, 28, 28, 1], [1, 28, 28], true, 4],
      [['N', 3, 3, 3], [3, 3, 3], false, undefined],
    ] as const) {
      expect(input(dims)).to.deep.equal({ shape, channelsLast, batch, bytes: false });
    }
  });

  it('takes the size where height and width are open, and names the flag without it', async () => {
    expect(input(['N', 3, 'h', 'w'], { size: 32 }).shape).to.deep.equal([3, 32, 32]);
    expect(input(['N', 'h', 'w', 3], { size: 32 })).to.include({ channelsLast: true });
    expect(input(['N', 1, 'h', 'w'], { size: [16, 24] }).shape).to.deep.equal([1, 16, 24]);
    expect(input(['N', 'h', 24, 4], { size: [16, 24] }).shape).to.deep.equal([4, 16, 24]);
    await failure('E_ONNX', /height and a width .*--image-size/s, () => input(['N', 3, 'h', 'w']));
  });

  it('takes bytes that become floats', async () => {
    const dims = ['N', 3, 8, 8];
    expect(input(dims, { type: DataType.UINT8 }).bytes).to.equal(true);
    for (const options of [{ type: DataType.UINT8, opType: 'Relu' }, { type: DataType.INT64 }]) {
      await failure('E_ONNX', /floats, or of bytes that a Cast/, () => input(dims, options));
    }
  });
});

describe('performer: outputs', () => {
  const read = (outputs: readonly string[], change?: (proto: ModelProto) => void) => {
    const net = smallNet();
    net.node('NonMaxSuppression', 'boxes', ['logits']);
    net.node('ArgMax', 'label', ['logits']);
    const proto = buildModel(net.spec('logits'));
    const named = create(ModelSchema, { graph: { output: outputs.map((name) => ({ name })) } });
    if (proto.graph) proto.graph.output = named.graph?.output ?? [];
    change?.(proto);
    return parseModel(proto, 'test.onnx', '');
  };

  it('tells which can be read, why others cannot, and what to take instead', () => {
    expect(readableOutputs(read(['logits']))).to.deep.equal({
      readable: ['logits'],
      unreadable: [],
    });
    const { readable, unreadable } = readableOutputs(read(['boxes', 'logits']));
    expect(readable).to.deep.equal(['logits']);
    expect(unreadable[0]?.reason).to.match(/node "boxes_node" \(NonMaxSuppression, opset 13\)/);
    const { readable: none, unreadable: label } = readableOutputs(read(['label']));
    expect([none, label[0]?.instead]).to.deep.equal([[], 'logits']);
  });

  it('chooses the only one, the scores before an index, or leaves the choice to the user', async () => {
    const choose = (outputs: readonly string[], runtime: 'auto' | 'onnxruntime' = 'auto') =>
      chooseOutput(read(outputs), undefined, { runtime, size: undefined });
    expect(choose(['logits'])).to.equal('logits');
    expect(choose(['boxes', 'logits'])).to.equal('logits');
    expect(choose(['label'])).to.equal('logits');
    expect(choose(['label'], 'onnxruntime')).to.equal('label');
    await failure('E_ARGUMENT', /one of "boxes", "logits" for output/, () =>
      choose(['boxes', 'logits'], 'onnxruntime'),
    );
  });

  it('throws what is wrong where nothing can be read', async () => {
    await failure('E_ONNX', /images \(N, C, H, W\)/, () =>
      readableOutputs(
        read(['label', 'logits'], (proto) => {
          proto.graph?.input[0]?.type?.tensorType?.shape?.dim.splice(0, 1);
        }),
      ),
    );
  });
});
