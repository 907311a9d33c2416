// TensorFlow.js's side of `npm run bench -- train`: the lines of bench/peers/torch_train.py.
//   node serve.mjs FILE OPTIMIZER    FILE: weights, features, targets as safetensors
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs-core';
import { setWasmPaths, version_wasm as version } from '@tensorflow/tfjs-backend-wasm';
import { Step } from './step.mjs';

function readSafetensors(path) {
  const raw = readFileSync(path);
  const size = Number(raw.readBigUInt64LE());
  const header = JSON.parse(raw.subarray(8, 8 + size).toString());
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        name,
        {
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        const bytes = Uint8Array.from(raw.subarray(8 + size + begin, 8 + size + end));
        return [name, { shape, data: new Float32Array(bytes.buffer) }];
      },
    ),
  );
}

function difference(found, wanted) {
  let [off, norm] = [0, 0];
  wanted.forEach((value, i) => {
    off += (found[i] - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(off / Math.max(norm, 1e-60));
}

const [file, settings] = process.argv.slice(2);
setWasmPaths(new URL('node_modules/@tensorflow/tfjs-backend-wasm/dist/', import.meta.url).pathname);
await tf.setBackend('wasm');
const step = new Step(readSafetensors(file), JSON.parse(settings));

const commands = {
  start: () => ({ tfjs: version, backend: tf.getBackend(), threads: 1 }),
  step(count) {
    const [begin, cpu] = [performance.now(), process.cpuUsage()];
    let losses = {};
    for (let i = 0; i < Number(count); i++) losses = step.run(step.steps === 0);
    const ms = (performance.now() - begin) / Number(count);
    const { user, system } = process.cpuUsage(cpu);
    return { ms, cpuMs: (user + system) / 1e3 / Number(count), losses };
  },
  compare(path) {
    return Object.fromEntries(
      Object.entries(readSafetensors(path)).map(([name, { data }]) => {
        const grad = tf.tidy(() => step.turned(name, step.gradients[name], true).dataSync());
        return [name, difference(grad, data)];
      }),
    );
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [, name, argument] = /^(\w+) (.*)$/.exec(line) ?? [];
  console.log(JSON.stringify(commands[name](argument)));
}
