import { toBinary } from '@bufbuild/protobuf';
import { expect } from 'chai';
import { ModelSchema, type ModelProto } from '../../lib/performer/onnx_proto.js';
import { parseModel } from '../../lib/performer/onnx_read.js';
import type { OnnxModel } from '../../lib/performer/onnx_model.js';
import { buildModel } from '../../lib/performer/onnx_write.js';
import { run, writeRead } from './onnx_case.js';
import { NetBuilder, randomNumbers } from './onnx_models.js';
import { relativeError } from './onnxruntime.js';

export type Build = (net: NetBuilder, x: string) => string;

/** A network with what `build` adds behind a convolution; the output is called as it says. */
export function model(build: Build, opset = 17): ModelProto {
  const net = new NetBuilder({ size: 8, opset });
  const x = net.conv('image', 'x', [6, 3, 3], { pads: [1, 1, 1, 1] });
  return buildModel(net.spec(build(net, x)));
}

export const read = (proto: ModelProto): OnnxModel => parseModel(proto, 'test.onnx', '');

/** The node that gives the output of the model. */
export function last(parsed: OnnxModel) {
  const found = parsed.nodes.find(({ outputs }) => outputs[0] === parsed.outputs[0]);
  if (!found) throw new Error('the output is missing');
  return found;
}

/** The largest relative error of the model as read against the file, both in onnxruntime. */
export async function difference(proto: ModelProto, parsed: OnnxModel): Promise<number> {
  const next = randomNumbers(11);
  const data = Float32Array.from({ length: 3 * 64 }, () => 6 * next() - 3);
  const feeds = { image: { dims: [1, 3, 8, 8], data } };
  const [name = ''] = parsed.outputs;
  const wanted = await run(toBinary(ModelSchema, proto), feeds);
  const got = await run(writeRead(parsed), feeds);
  expect(got[name]?.dims).to.deep.equal(wanted[name]?.dims);
  return relativeError(got[name]?.data ?? [], wanted[name]?.data ?? [1]);
}

export const number = (net: NetBuilder, value: number): string =>
  net.weight(`n${String(Object.keys(net.initializers).length)}`, [], () => value);

export const op =
  (opType: string, name: string, ...inputs: string[]) =>
  (net: NetBuilder): string =>
    net.node(opType, name, inputs);
