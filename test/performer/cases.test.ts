import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { lowerModel } from '../../lib/performer/lower.js';
import { readOnnx } from '../../lib/performer/onnx_read.js';
import { readNpz } from '../support/npz_read.js';
import { loadOnnxRuntime, relativeError } from '../support/onnxruntime.js';
import { canonicalImages, runEngine, runWritten } from '../support/whole_network.js';

const ONNX = '../shared/cases/onnx';
const TORCH = '../shared/cases/torch211';

interface Values {
  dims: number[];
  sumAbs: number;
}

interface Case {
  input: { shape: number[]; type: string; rule: string };
  outputs: Record<string, Values & { values: number[] }>;
  maps?: Values & { name: string; first: number[] };
}

/** Files that are refused, with what the message says, and why that is right. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'bn_training_mode.onnx': /training_mode.*eval/s, // the reference would use the batch's statistics
  'dropout_training_true.onnx': /training_mode = false/, // random numbers
};

/** Files that need a size from the user. */
const SIZES: Readonly<Record<string, number>> = { 'input_hw_named.onnx': 16 };

/** Files whose numbers differ, up to this, and why that is right. */
const LOOSE: Readonly<Record<string, number>> = {
  'fp16_keep_io.onnx': 2e-3, // half precision
  'fp16_whole.onnx': 2e-3, // half precision
  'int8_qdq.onnx': 2e-2, // read as its float meaning: activations are not rounded to bytes
};

/** Outputs that no network reads: what the file gives beside them is compared. */
const UNREAD: Readonly<Record<string, string>> = {
  'output_argmax.onnx': 'label', // an index
  'multi_output_second_unsupported.onnx': 'boxes',
};

function expectedCases(): [string, Case][] {
  const text = readFileSync(path.join(ONNX, 'expected.json'), 'utf8');
  return Object.entries(JSON.parse(text) as Record<string, Case>);
}

/** The largest difference relative to the largest value, over outputs and maps. */
async function errorOf(file: string, { input, outputs, maps }: Case): Promise<number> {
  const model = await readOnnx(path.join(ONNX, file));
  const wanted = Object.keys(outputs).filter((name) => name !== UNREAD[file]);
  const size = SIZES[file];
  const network = lowerModel(model, {
    wanted: wanted.length > 0 || !maps ? wanted : [maps.name],
    ...(size === undefined ? {} : { size }),
  });
  const length = input.shape.reduce((product, one) => product * one, 1);
  const bytes = input.type === 'uint8';
  const numbers = Float32Array.from({ length }, (_, i) =>
    bytes ? (i * 7919) % 256 : ((i * 7919) % 1000) / 500 - 1,
  );
  const [count = 1] = input.shape;
  const known = maps && network.names.has(maps.name) ? maps : undefined;
  const names = [...wanted, ...(known ? [known.name] : [])];
  const images = canonicalImages(network, numbers);
  let worst = 0;
  for (const run of [runEngine, runWritten]) {
    const got = await run(network, images, count, names);
    const compare = (name: string, first: number[], sumAbs: number): void => {
      const data = got[name] ?? new Float32Array(0);
      const sum = data.reduce((total, value) => total + Math.abs(value), 0);
      const near = relativeError(data.slice(0, first.length), first);
      const total = sumAbs === 0 ? sum : Math.abs(sum - sumAbs) / sumAbs;
      worst = Math.max(worst, near, total);
    };
    for (const name of wanted)
      compare(name, outputs[name]?.values ?? [], outputs[name]?.sumAbs ?? 0);
    if (known) compare(known.name, known.first, known.sumAbs);
  }
  return worst;
}

describe('performer: files of many exporters', function () {
  this.timeout(300_000);

  before(async function () {
    const missing = [ONNX, TORCH].filter((folder) => !existsSync(folder));
    if (missing.length === 0 && (await loadOnnxRuntime())) return;
    console.log(`      skipped: ${[...missing, 'or onnxruntime-node'].join(', ')} is not there`);
    this.skip();
  });

  it('equal the given values, or are refused with the reason', async () => {
    const wrong: string[] = [];
    for (const [file, one] of expectedCases()) {
      const refusal = REFUSED[file];
      try {
        const error = await errorOf(file, one);
        if (refusal || !(error <= (LOOSE[file] ?? 1e-4))) wrong.push(`${file}: ${String(error)}`);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        if (!refusal?.test(message)) wrong.push(`${file}: ${message}`);
      }
    }
    expect(wrong).to.deep.equal([]);
  });

  it('equal what PyTorch computes, for exports of its newest exporter', async () => {
    const wrong: string[] = [];
    for (const file of readdirSync(TORCH).filter((name) => name.endsWith('.onnx'))) {
      const network = lowerModel(await readOnnx(path.join(TORCH, file)));
      const { x, y } = readNpz(path.join(TORCH, file.replace('.dynamo.onnx', '.npz')));
      const [name = ''] = network.outputs.map((value) => value.name);
      for (const run of [runEngine, runWritten]) {
        const got = await run(network, x?.data ?? new Float32Array(0), x?.dims[0] ?? 1, [name]);
        const error = relativeError(got[name] ?? [], y?.data ?? []);
        if (!(error <= 1e-4)) wrong.push(`${file} by ${run.name}: ${String(error)}`);
      }
    }
    expect(wrong).to.deep.equal([]);
  });
});
