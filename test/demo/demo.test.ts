import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { listImages, readImages } from '../../lib/data/index.js';
import { runDemo, type DemoProgress, type DemoResult } from '../../lib/demo/demo.js';
import { prepareFolder } from '../../lib/demo/folder.js';
import { inspectModel, loadPerformer } from '../../lib/performer/index.js';
import { names, temporaryFolder } from '../data/temporary.js';
import { loadOnnxRuntime, relativeError, runOnnxRuntime } from '../support/onnxruntime.js';
import { failure, inFolder } from '../support/performer.js';

const DEVICE = { backend: 'cpu', threads: 2 } as const;

async function scores(result: DemoResult): Promise<void> {
  const { accuracy, evaluation, model, run } = result;
  const { instability, p, head, reconstruction } = evaluation;
  const finite = {
    accuracy,
    p,
    ...reconstruction,
    agreement: head.agreement,
    performerError: head.performerError,
    kl: head.kl,
    performer: instability?.performer.value,
    layer1: instability?.layer1.value,
    layer2: instability?.layer2.value,
    random: instability?.controls.random.value,
    best: instability?.controls.fixedPositionBest.value,
  };
  for (const [name, value] of Object.entries(finite)) {
    expect(Number.isFinite(value), `${name} ${String(value)}`).to.equal(true);
  }
  expect(Object.keys(reconstruction)).to.include.members(['fc5_relu']);
  expect(accuracy).to.be.within(0, 1);
  const { layers, proposal, classes } = await inspectModel(model);
  expect(layers.map(({ name }) => name)).to.include('conv4_relu');
  expect(proposal?.targets).to.include('fc5_relu');
  expect(classes).to.have.length(7);
  expect(await names(run)).to.include.members(['config.json', 'metrics.jsonl', 'checkpoints']);
}

/** The exported network in the engine and in onnxruntime, on drawn pictures. */
async function parity({ model, pictures }: DemoResult): Promise<Record<string, number>> {
  const targets = ['fc5_relu', 'fc6_relu'];
  const performer = await loadPerformer(model, { ...DEVICE, targets });
  try {
    const { images } = await listImages(pictures);
    const some = images.filter((_, i) => i % 25 === 0);
    const errors: Record<string, number> = {};
    for await (const batch of readImages(some, performer.preprocessing, { batch: some.length })) {
      const options = { count: some.length, size: performer.input.width, batch: some.length };
      const wanted = ['conv4_relu', 'fc5_relu', 'fc6_relu', 'logits'];
      const theirs = await runOnnxRuntime(await readFile(model), batch.pixels, {
        ...options,
        names: wanted,
      });
      const got = await performer.features(batch.pixels, some.length);
      [got.layer, ...got.targets, got.output].forEach((ours, i) => {
        const name = wanted[i] ?? '';
        errors[name] = relativeError(ours, theirs[name] ?? new Float32Array(0));
      });
    }
    return errors;
  } finally {
    performer.dispose();
  }
}

describe('demo: runDemo', () => {
  it('runs the whole method on few pictures, and its ONNX file is what it trained', async function () {
    await inFolder(async (folder) => {
      const out = join(folder, 'demo');
      const seen: DemoProgress[] = [];
      const result = await runDemo({
        ...{ out, images: 200, cnnEpochs: 1, epochs: 1, seed: 2, ...DEVICE },
        onProgress: (progress) => seen.push(progress),
      });
      await scores(result);
      expect([...new Set(seen.map(({ phase }) => phase))]).to.deep.equal([
        'drawing birds',
        'training the CNN',
        'extracting features',
        'training the explainer',
        'writing the report',
      ]);
      const shares = seen.map(({ share }) => share);
      expect(shares, 'one display for the whole').to.deep.equal([...shares].sort((a, b) => a - b));
      expect([shares[0], shares.at(-1)].map((share) => share?.toFixed(2))).to.deep.equal([
        '0.00',
        '1.00',
      ]);
      if (!(await loadOnnxRuntime())) {
        console.log('      skipped: parity, since onnxruntime-node is not installed');
        return;
      }
      const errors = await parity(result);
      expect(Object.keys(errors)).to.have.length(4);
      for (const [name, error] of Object.entries(errors)) {
        expect(error, name).to.be.below(1e-4);
      }
    });
  });

  it('is refused before anything is removed when an option is wrong', async () => {
    await inFolder(async (out) => {
      await prepareFolder(out);
      await mkdir(join(out, 'birds'));
      const cases = [
        [{ images: 199 }, /at least 200 for images/],
        [{ size: 8 }, /32 to 1024 for size/],
        [{ epochs: 0 }, />= 1 for epochs/],
        [{ seed: 2 ** 40 }, /for seed/],
      ] as const;
      for (const [options, message] of cases) {
        await failure('E_ARGUMENT', message, () => runDemo({ out, ...options, ...DEVICE }));
      }
      expect(await names(out)).to.deep.equal(['.partlens-demo', 'birds']);
    });
  });

  it('stopped, it can be started again in the same folder', async () => {
    await inFolder(async (folder) => {
      const out = join(folder, 'demo');
      const controller = new AbortController();
      const { signal } = controller;
      const onProgress = (): void => controller.abort();
      await failure('E_STATE', /demo was stopped/, () =>
        runDemo({ out, images: 200, signal, onProgress, ...DEVICE }),
      );
      expect(await names(out)).to.deep.equal(['.partlens-demo', 'birds']);
      await prepareFolder(out);
      expect(await names(out)).to.deep.equal(['.partlens-demo']);
    });
  });
});

describe('demo: its folder', () => {
  const folder = temporaryFolder();

  it('takes a new or an empty folder, and its own again', async () => {
    const out = join(folder(), 'new', 'demo');
    await prepareFolder(out);
    for (const name of ['birds', 'run']) await mkdir(join(out, name));
    await writeFile(join(out, 'bird_cnn.onnx'), '');
    await writeFile(join(out, 'notes.txt'), 'mine');
    await prepareFolder(out);
    expect(await names(out)).to.deep.equal(['.partlens-demo', 'notes.txt']);
    await mkdir(join(folder(), 'empty'));
    await prepareFolder(join(folder(), 'empty'));
  });

  it('does not touch a folder with other files, even of the same names', async () => {
    await mkdir(join(folder(), 'birds'));
    await writeFile(join(folder(), 'birds', 'landmarks.csv'), 'mine');
    await failure('E_ARGUMENT', /older demo.*for out but received.*\n.*not touched/, () =>
      runDemo({ out: folder(), images: 200, ...DEVICE }),
    );
    expect(await names(folder())).to.deep.equal(['birds']);
    expect(await readFile(join(folder(), 'birds', 'landmarks.csv'), 'utf8')).to.equal('mine');
  });

  it('a file in its place is an E_FILE', async () => {
    await writeFile(join(folder(), 'file'), 'mine');
    await failure('E_FILE', /ENOTDIR/, () => prepareFolder(join(folder(), 'file')));
  });
});
