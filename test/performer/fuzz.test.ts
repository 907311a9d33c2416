import { expect } from 'chai';
import { encodeModel } from '../../lib/performer/onnx_write.js';
import { randomImages } from '../support/onnx_models.js';
import { loadOnnxRuntime } from '../support/onnxruntime.js';
import { randomGraph } from '../support/random_graph.js';
import { furthest, lowerBytes, runEngine, runFile, runWritten } from '../support/whole_network.js';

/** Random graphs of all ops; `PARTLENS_FUZZ=2000` runs more, `PARTLENS_FUZZ_FIRST` other ones. */
const SEEDS = Number(process.env['PARTLENS_FUZZ'] ?? 40);
const FIRST = Number(process.env['PARTLENS_FUZZ_FIRST'] ?? 0);

/** Where the network differs from onnxruntime, or undefined. */
async function difference(seed: number): Promise<string | undefined> {
  const { spec, size, names } = randomGraph(seed);
  const bytes = encodeModel(spec);
  const images = randomImages(2, size, seed);
  const wanted = await runFile(bytes, images, [2, 3, size, size], names);
  const network = lowerBytes(bytes);
  for (const run of [runEngine, runWritten]) {
    const got = await run(network, images, 2, names);
    const { name, error } = furthest(spec.nodes, got, wanted);
    if (!(error < 2e-4)) return `seed ${String(seed)}, ${run.name}, ${name}: ${String(error)}`;
  }
  return undefined;
}

describe('performer: random graphs against onnxruntime', function () {
  this.timeout(120_000 + SEEDS * 2000);

  before(async function () {
    if (await loadOnnxRuntime()) return;
    console.log('      skipped: onnxruntime-node is not installed');
    this.skip();
  });

  it(`every tensor of ${String(SEEDS)} graphs, also written as ONNX again`, async () => {
    const found: string[] = [];
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const one = await difference(seed);
      if (one !== undefined) found.push(one);
    }
    expect(found).to.deep.equal([]);
  });
});
