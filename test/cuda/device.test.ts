import { expect } from 'chai';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { finished } from '../support/op_tests.js';
import { LOADER, moduleFile } from '../support/source.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { canEmulate, buildEmulated } = (await import(
  path.join(root, 'scripts/build_emulated.mjs')
)) as { canEmulate: () => boolean; buildEmulated: (variant: string) => Promise<string> };

const SOURCE = `
  const { Graph } = await import(${JSON.stringify(moduleFile('lib/engine/graph'))});
  const { mean, relu } = await import(${JSON.stringify(moduleFile('lib/engine/ops/index'))});
  const { createSession } = await import(${JSON.stringify(moduleFile('lib/engine/session'))});
  const { loadBinding } = await import(${JSON.stringify(moduleFile('lib/engine/binding'))});
  const attempt = (body) => body().catch((e) => console.log(e.code, e.message.replaceAll('\\n', ' | ')));
  const graph = (elements) => {
    const made = new Graph();
    made.output('y', relu(made.input('x', [elements])));
    return made;
  };
  const run = async (backend, elements = 8) => {
    const session = await createSession({ programs: { main: graph(elements) }, backend });
    try {
      const { y } = await session.run('main', {
        inputs: { x: new Float32Array(elements).fill(-1) }, fetch: ['y'],
      });
      console.log(session.info().backend, session.info().precision, session.info().reason, y[0]);
    } finally {
      session.dispose();
    }
  };
`;

/** What a process prints that runs `body` with an emulated CUDA device in a given state. */
async function printed(body: string, env: NodeJS.ProcessEnv = {}): Promise<string[]> {
  const library = path.join(await buildEmulated('plain'), 'libpartlens_cuda.so');
  const { code, output } = await finished(
    process.execPath,
    [...LOADER, '--input-type=module', '-e', SOURCE + body],
    { PARTLENS_CUDA_LIBRARY: library, ...env },
  );
  if (code !== 0) throw new Error(output);
  return output.trim().split('\n');
}

describe('the CUDA device', function () {
  this.timeout(600_000);
  beforeEach(function () {
    if (canEmulate()) return;
    console.log('      skipped: the emulator needs Linux on x86-64 and g++');
    this.skip();
  });

  it('auto takes it where there is one; its facts are listed', async () => {
    const [auto, devices] = await printed(
      `await run('auto'); console.log(JSON.stringify(loadBinding().devices()[1]));`,
    );
    expect(auto).to.equal('cuda tf32  0');
    expect(JSON.parse(devices ?? '')).to.include({
      backend: 'cuda',
      available: true,
      isa: 'sm_90',
      name: 'CUDA emulator',
    });
  });

  it('none: auto says why and takes the CPU, cuda is E_CUDA with the remedy', async () => {
    const [auto, asked] = await printed(`await run('auto'); await attempt(() => run('cuda'));`, {
      EMULATOR_DEVICES: '0',
    });
    expect(auto).to.equal('cpu fp32 no CUDA-capable device is detected 0');
    expect(asked).to.match(/^E_CUDA The CUDA backend is not available: no CUDA-capable .*cpu/);
  });

  for (const [driver, reason] of [
    ['0', 'no NVIDIA driver is installed'],
    [
      '12040',
      'the NVIDIA driver is too old: it knows CUDA 12.4, this library needs 13.0: install a newer one',
    ],
  ] as const) {
    it(`driver ${driver}: ${reason}`, async () => {
      const body = `await run('auto'); await attempt(() => run('cuda'));`;
      const [auto, asked] = await printed(body, { EMULATOR_DRIVER: driver });
      expect(auto).to.equal(`cpu fp32 ${reason} 0`);
      expect(asked).to.contain(`E_CUDA The CUDA backend is not available: ${reason}.`);
    });
  }

  it('no library, or one that is none: the reason is said', async () => {
    for (const [library, reason] of [
      ['/nonexistent.so', /not installed/],
      [path.join(root, 'package.json'), /cannot be opened/],
    ] as const) {
      const [line] = await printed(`await attempt(() => run('cuda'));`, {
        PARTLENS_CUDA_LIBRARY: library,
      });
      expect(line).to.match(reason);
    }
  });

  it('too little memory is E_MEMORY; a smaller session works after it', async () => {
    const lines = await printed(`await attempt(() => run('cuda', 1e6)); await run('cuda');`, {
      EMULATOR_MEMORY_MIB: '4',
    });
    expect(lines[0]).to.match(/^E_MEMORY \[createSession\] The plan needs 7 MiB: out of memory/);
    expect(lines[1]).to.equal('cuda tf32  0');
  });

  it('too little memory for a run is E_MEMORY; other runs work after it', async () => {
    const body = `
      const large = await createSession({ programs: { main: graph(4e5) }, backend: 'cuda' });
      await attempt(() => large.run('main', { inputs: { x: new Float32Array(4e5) }, fetch: ['y'] }));
      await run('cuda');
      large.dispose();
    `;
    const lines = await printed(body, { EMULATOR_MEMORY_MIB: '6' });
    expect(lines[0]).to.match(/^E_MEMORY \[upload\] out of memory .*cudaMalloc/);
    expect(lines[1]).to.equal('cuda tf32  0');
  });

  it('a program whose first run found too little memory runs and replays after it', async () => {
    const body = `
      const averaged = new Graph();
      averaged.output('y', mean(averaged.parameter('x', [1e5])));
      const session = await createSession({ programs: { main: averaged }, backend: 'cuda' });
      await session.write({ x: new Float32Array(1e5).fill(3) });
      await session.read(['x']);
      const others = [];
      for (let elements = 2 ** 22; elements >= 1; elements /= 2) {
        const other = { programs: { main: graph(elements) }, backend: 'cuda' };
        await createSession(other).then((made) => others.push(made)).catch(() => undefined);
      }
      await attempt(() => session.run('main'));
      for (const other of others) other.dispose();
      for (let i = 0; i < 3; i++) console.log((await session.run('main', { fetch: ['y'] })).y[0]);
      session.dispose();
    `;
    const lines = await printed(body, { EMULATOR_MEMORY_MIB: '8' });
    expect(lines[0]).to.match(/^E_MEMORY \[mean_forward\] out of memory/);
    expect(lines.slice(1)).to.deep.equal(['3', '3', '3']);
  });

  for (const copies of ['late', 'early', 'ahead']) {
    it(`steps that are sent before the last one ends keep their own inputs: copies ${copies}`, async () => {
      const body = `
        const elements = 3000;
        const session = await createSession({ programs: { main: graph(elements) }, backend: 'cuda' });
        const x = new Float32Array(elements);
        const runs = Array.from({ length: 9 }, (_, i) => {
          const given = session.run('main', { inputs: { x: x.fill(i + 1) }, fetch: ['y'] });
          return given.then(({ y }) => (y.every((v) => v === i + 1) ? i + 1 : 'wrong'));
        });
        console.log((await Promise.all(runs)).join(' '));
        session.dispose();
      `;
      expect(await printed(body, { EMULATOR_COPIES: copies })).to.deep.equal(['1 2 3 4 5 6 7 8 9']);
    });
  }

  it('a call that CUDA refuses is E_CUDA with its reason; the device is not called lost', async () => {
    const [line] = await printed(`await attempt(() => run('cuda'));`, {
      EMULATOR_COPIES: 'refused',
    });
    expect(line).to.match(/^E_CUDA \[\w+\] an error of the emulator \(cudaMemcpyAsync/);
    expect(line).not.to.contain('cannot use the device any more');
  });

  it('a lost device is E_CUDA, now and later; the CPU goes on', async () => {
    const lines = await printed(
      `await attempt(() => run('cuda')); await attempt(() => run('cuda')); await run('cpu');`,
      { EMULATOR_LOST_AFTER: '1' },
    );
    expect(lines[0]).to.match(
      /^E_CUDA \[synchronize\] unspecified launch failure .* --backend cpu/,
    );
    expect(lines[1]).to.match(/^E_CUDA /);
    expect(lines[2]).to.equal('cpu fp32  0');
  });
});
