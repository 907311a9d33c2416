import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPeer, drawStart } from '../../bench/train/compare.js';
import { quantile } from '../../bench/train/measure.js';
import { workOf } from '../../bench/train/operations.js';
import { Ours } from '../../bench/train/ours.js';
import { findTorch, torchPeer } from '../../bench/train/peer.js';
import { drawBatch, settingOf } from '../../bench/train/settings.js';

// As TINY in bench/gpu/setting.py.
const tiny = settingOf('tiny', { channels: 5, batch: 4, targets: [9, 8], side: 6, bar: 1 });
tiny.spec.filters = 7;

describe('bench/train', () => {
  it('counts what the calls of a step must do', async () => {
    const setting = settingOf('small', { channels: 32, batch: 8, targets: [9], side: 7, bar: 1 });
    const ours = await Ours.create(setting, drawBatch(setting, 1));
    const program = ours.session.program('train');
    ours.dispose();
    const work = (kernel: string, winograd: number) => {
      const op = program.ops.find((each) => each.kernel === kernel);
      return workOf(program, op!, winograd);
    };
    const [maps, filters, pixels] = [8 * 32, 32 * 32, 8 * 49];
    const conv = work('conv2d_forward', 0);
    expect(conv.operations).to.equal(2 * pixels * filters * 9);
    expect(conv.done).to.equal(conv.operations);
    expect(conv.bytes).to.equal(4 * (2 * maps * 49 + 9 * filters + 32));
    expect(work('conv2d_forward', 4).done).to.equal(2 * 36 * 8 * 4 * filters);
    expect(work('conv2d_backward_weight', 2).done).to.equal(2 * 16 * 8 * 16 * filters);
    const features = 32 * 9;
    const step = work('linear_adam_step', 4);
    expect(step.operations).to.equal(2 * 2 * 8 * features * 9);
    // g, x and dx; w, m and v are read and written.
    expect(step.bytes).to.equal(4 * (8 * 9 + 2 * 8 * features + 6 * 9 * features + 3));
    expect(work('mask_layer_forward', 4).operations).to.equal(0);
  });

  it('quantile: between neighbours', () => {
    expect(quantile([4, 1, 3, 2], 0.5)).to.equal(2.5);
    expect(quantile([5], 0.1)).to.equal(5);
  });

  it('PyTorch: losses and gradients of the first step; a wrong loss is found', async function () {
    this.timeout(60_000);
    const python = findTorch();
    if (python === undefined) {
      console.log('      skipped: torch is not installed (Debian: python3-torch)');
      this.skip();
    }
    const folder = mkdtempSync(join(tmpdir(), 'partlens-bench-'));
    const start = await drawStart(tiny, folder, { threads: 1 });
    const peer = torchPeer(python, start.tensors, { setting: 'tiny', threads: 1 });
    try {
      const { loss, gradient } = await checkPeer(peer, 'eager', start);
      expect(loss).to.be.below(1e-4);
      expect(gradient).to.be.below(1e-4).and.above(0);
      start.losses['rec_1'] = 1.01 * (start.losses['rec_1'] ?? NaN);
      await checkPeer(peer, 'channels_last', start).then(
        () => expect.fail('accepted a wrong loss'),
        (error: unknown) => expect(String(error)).to.match(/differ by .* in rec_1/),
      );
    } finally {
      peer.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
