import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type ModelProto } from '../../lib/performer/onnx_proto.js';
import { buildModel, encodeModel } from '../../lib/performer/onnx_write.js';
import { createOnnxRuntimeRunner, type TensorRef } from '../../lib/performer/runtime/index.js';
import { NetBuilder, randomImages, resNet, smallNet } from '../support/onnx_models.js';
import { failure, inFolder } from '../support/performer.js';
import { LOADER, moduleFile } from '../support/source.js';
import { IMAGE, LOGITS, needOnnxRuntime, open, ref, whole } from '../support/runtime.js';

describe('onnxruntime worker', () => {
  before(needOnnxRuntime);

  describe('refusals', () => {
    const model = (): ModelProto => buildModel(smallNet().spec('logits'));

    it('names that the model has not, constants, and values of something else', async () => {
      const cut = (inputs: TensorRef[], outputs: TensorRef[]) => () =>
        open(model(), { p: { inputs, outputs } });
      const fc = ref('layer', 'fc', 6);
      await failure(
        'E_ARGUMENT',
        /"conv_rleu".*\n.*"conv_relu"/,
        cut([IMAGE], [ref('o', 'conv_rleu', 1)]),
      );
      await failure('E_ARGUMENT', /"fx"/, cut([ref('layer', 'fx', 6)], [LOGITS]));
      await failure(
        'E_ARGUMENT',
        /o of program p .*constant fc\.w/,
        cut([IMAGE], [ref('o', 'fc.w', 64)]),
      );
      await failure('E_ARGUMENT', /constant fc\.w/, cut([ref('x', 'fc.w', 64)], [LOGITS]));
      await failure(
        'E_ARGUMENT',
        /computed from "fc".*needs image too/,
        cut([fc], [ref('o', 'conv', 256)]),
      );
      using runner = await open(model(), { p: whole });
      const x = randomImages(1, 8);
      await failure('E_ARGUMENT', /program .*"q"/, () =>
        runner.run('q', { inputs: { x }, fetch: [] }),
      );
      await failure('E_ARGUMENT', /"y"/, () => runner.run('p', { inputs: { x }, fetch: ['y'] }));
      await failure('E_SHAPE', /192 values/, () =>
        runner.run('p', { inputs: { x: x.subarray(1) }, fetch: ['output'] }),
      );
    });

    it('wrong sizes, bytes that are no model, and ops that nobody knows', async () => {
      await failure('E_SHAPE', /\(1, 7\) for output .* \(1, 5\)/, () =>
        open(model(), { p: { inputs: [IMAGE], outputs: [ref('output', 'logits', 7)] } }),
      );
      await failure('E_ONNX', /an ONNX model/, () =>
        createOnnxRuntimeRunner({ path: 'a', model: Uint8Array.of(1, 2, 3) }, { p: whole }),
      );
      await failure('E_FILE', /ENOENT/, () =>
        createOnnxRuntimeRunner({ path: '/nowhere.onnx' }, { p: whole }),
      );
      const strange = smallNet();
      strange.node('Frobnicate', 'y', ['logits']);
      await failure('E_BACKEND', /Frobnicate/, () =>
        open(buildModel(strange.spec('y')), {
          p: { inputs: [IMAGE], outputs: [ref('output', 'y', 5)] },
        }),
      );
    });

    it('a missing peer says how to install it', async () => {
      const told =
        /npm install onnxruntime-node \(any version from 1\.20 on\)\n.*ONNXRUNTIME_NODE_INSTALL=skip/;
      const module = 'onnxruntime-node-that-nobody-has';
      const error = await failure('E_BACKEND', told, () => open(model(), { p: whole }, { module }));
      expect(error.details['missing']).to.equal(module);
    });

    it('a thread that ends rejects and leaves the process alive', async () => {
      const module = 'data:text/javascript,process.exit(3)';
      await failure('E_BACKEND', /ended with code 3/, () =>
        open(model(), { p: whole }, { module }),
      );
      const thrown =
        'data:text/javascript,setTimeout(()=>{throw new Error("crash")});await 0;'.concat(
          'await new Promise(()=>{})',
        );
      await failure('E_BACKEND', /crash/, () => open(model(), { p: whole }, { module: thrown }));
    });
  });

  describe('worker thread', () => {
    it('leaves the event loop free', async () => {
      const net = new NetBuilder({ size: 224 });
      let x = net.conv('image', 'c0', [64, 3, 3], { pads: [1, 1, 1, 1] });
      for (const i of [1, 2, 3]) {
        x = net.conv(x, `c${i}`, [64, 64, 3], { pads: [1, 1, 1, 1] });
      }
      net.node('GlobalAveragePool', 'pooled', [x]);
      const program = {
        inputs: [ref('x', 'image', 3, 224, 224)],
        outputs: [ref('output', 'pooled', 64, 1, 1)],
      };
      using runner = await open(buildModel(net.spec('pooled')), { p: program }, { batch: 4 });
      const images = randomImages(4, 224);
      let ticks = 0;
      const timer = setInterval(() => ticks++, 5);
      const start = performance.now();
      await runner.run('p', { inputs: { x: images }, fetch: ['output'] });
      const took = performance.now() - start;
      clearInterval(timer);
      expect(took).to.be.above(60);
      expect(ticks).to.be.above(took / 5 / 4);
    });

    it('ends with dispose; what waits is rejected', async () => {
      const threads = (): number => readdirSync('/proc/self/task').length;
      const { spec, size, output } = resNet();
      const program = {
        inputs: [ref('x', 'image', 3, size, size)],
        outputs: [ref('output', output, 10)],
      };
      const linux = process.platform === 'linux';
      const before = linux ? threads() : 0;
      for (let i = 0; i < 3; i++) {
        const runner = await open(buildModel(spec), { p: program });
        const x = randomImages(50, size);
        const pending = runner.run('p', { inputs: { x }, fetch: ['output'] });
        const rejected = failure('E_STATE', /disposed/, () => pending);
        await sleep(10);
        runner.dispose();
        runner.dispose();
        await rejected;
        await failure('E_STATE', /disposed/, () =>
          runner.run('p', { inputs: { x }, fetch: ['output'] }),
        );
      }
      for (let i = 0; linux && threads() > before && i < 100; i++) await sleep(50);
      if (linux) expect(threads()).to.be.at.most(before);
    });

    for (const [how, end] of [
      ['disposed', 'runner.dispose();'],
      ['left alone', 'process.exit(0);'],
    ]) {
      it(`lets a process end in the middle of a run, ${how}`, () =>
        inFolder(async (folder) => {
          const { stderr, status, stdout } = await inProcess(
            folder,
            `const runner = await createOnnxRuntimeRunner({ path }, { p }, { batch: 8192 });
             const x = new Float32Array(192 * 8192 * 20);
             runner.run('p', { inputs: { x }, fetch: ['output'] }).catch(({ code }) => console.log(code));
             setTimeout(() => { console.log('end'); ${end} }, 100);`,
          );
          expect(stderr).to.equal('');
          expect(status).to.equal(0);
          expect(stdout).to.equal(how === 'disposed' ? 'end\nE_STATE\n' : 'end\n');
        }));
    }

    it('lets an idle process end', () =>
      inFolder(async (folder) => {
        const { stderr, status, stdout } = await inProcess(
          folder,
          `const runner = await createOnnxRuntimeRunner({ path }, { p });
           const x = new Float32Array(192);
           const { output } = await runner.run('p', { inputs: { x }, fetch: ['output'] });
           console.log(output.length);`,
        );
        expect([stderr, status, stdout]).to.deep.equal(['', 0, '5\n']);
      }));
  });
});

/** Runs a script in a process of its own; it finds `smallNet` at `path`, with the program `p`. */
async function inProcess(
  folder: string,
  script: string,
): Promise<{ stdout: string; stderr: string; status: number | null }> {
  const file = path.join(folder, 'model.onnx');
  await writeFile(file, encodeModel(smallNet().spec('logits')));
  const module = JSON.stringify(moduleFile('lib/performer/runtime/index'));
  const head = `const { createOnnxRuntimeRunner } = await import(${module});
    const [path, p] = [${JSON.stringify(file)}, ${JSON.stringify(whole)}];`;
  return spawnSync(process.execPath, [...LOADER, '--input-type=module', '--eval', head + script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
}
