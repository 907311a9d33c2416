#!/bin/sh
# onnxruntime-node 1.30.0: pooling in ceil mode announces other sizes than it gives, below opset 22.
#
# Expected: the shape of an output in a session's metadata is the shape of the tensor that a run gives.
# Seen: MaxPool and AveragePool of 2 x 2 cells, stride 2, pads 1, ceil_mode 1 over 15 x 15 cells: the ninth window
# lies in the padding alone. At opset 17 the session announces 9 x 9 and the run gives 8 x 8 (with a warning); at
# opset 22 both are 8 x 8. Whoever reserves memory, or cuts a network, by announced sizes is wrong at old opsets.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > npm.log 2>&1
ONNXRUNTIME_NODE_INSTALL=skip npm install --no-audit --no-fund --save-exact onnxruntime-node@1.30.0 \
  >> npm.log 2>&1 || { cat npm.log; exit 2; }
cat > model.mjs << 'END'
// A model of one pooling, in protobuf's wire format: field numbers of onnx.proto.
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >> 7)]);
const field = (number, value) =>
  typeof value === 'number'
    ? [...varint(number << 3), ...varint(value)]
    : [...varint((number << 3) | 2), ...varint(value.length), ...value];
const text = (string) => [...Buffer.from(string)];
const maps = (name, sizes) => {
  const shape = sizes.flatMap((size) => field(1, field(1, size)));
  const type = sizes.length > 0 ? field(2, field(1, [...field(1, 1), ...field(2, shape)])) : [];
  return [...field(1, text(name)), ...type];
};
const ints = (name, values) => [
  ...field(1, text(name)), ...values.flatMap((one) => field(8, one)), ...field(20, 7),
];
export function model(opType, opset) {
  const node = [
    ...field(1, text('x')), ...field(2, text('y')), ...field(4, text(opType)),
    ...field(5, ints('kernel_shape', [2, 2])), ...field(5, ints('strides', [2, 2])),
    ...field(5, ints('pads', [1, 1, 1, 1])),
    ...field(5, [...field(1, text('ceil_mode')), ...field(3, 1), ...field(20, 2)]),
  ];
  const graph = [
    ...field(1, node), ...field(2, text('g')), ...field(11, maps('x', [1, 1, 15, 15])), ...field(12, maps('y', [])),
  ];
  return Uint8Array.from([...field(1, 8), ...field(7, graph), ...field(8, field(2, opset))]);
}
END
cat > run.mjs << 'END'
import ort from 'onnxruntime-node';
import { model } from './model.mjs';
const x = new ort.Tensor('float32', new Float32Array(225).fill(1), [1, 1, 15, 15]);
for (const opType of ['MaxPool', 'AveragePool']) {
  for (const [opset, announced] of [[17, 9], [22, 8]]) {
    const session = await ort.InferenceSession.create(model(opType, opset), { logSeverityLevel: 4 });
    const [{ shape }] = session.outputMetadata;
    const { y } = await session.run({ x });
    console.log(opType, 'opset', opset, 'announces', shape.join(' x '), 'gives', y.dims.join(' x '));
    if (shape[3] !== announced || y.dims[3] !== 8) process.exitCode = 1;
  }
}
END
node run.mjs
