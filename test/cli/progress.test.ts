import { expect } from 'chai';
import { showDemo } from '../../lib/cli/demo.js';
import { clock, ProgressLine, showTraining } from '../../lib/cli/progress.js';
import type { TrainProgress } from '../../lib/index.js';
import { table } from '../../lib/cli/table.js';

/** A stream that remembers what is written. */
function stream(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  let text = '';
  const write = (part: string): boolean => {
    text += part;
    return true;
  };
  return {
    stream: { isTTY, columns: 20, write } as unknown as NodeJS.WriteStream,
    text: () => text,
  };
}

const REPORT = {
  step: 119,
  loss: 0.5,
  rec: [0.41234, 0.22],
  contribution: 0.209,
  filter: [-0.0131, -1.204],
  overlap: [0.031, 0.12],
  lambda: [3, 2],
  p: 0.52,
  learningRate: 1e-3,
};

describe('partlens: progress line', () => {
  it('says step, speed, every term of the loss, p and the time left', () => {
    const progress = {
      ...{
        phase: 'train' as const,
        step: 120,
        steps: 900,
        imagesPerSecond: 410.4,
        secondsLeft: 80.2,
      },
      report: REPORT,
    } satisfies TrainProgress;
    expect(showTraining(progress)).to.equal(
      'step 120/900  410 images/s  rec 0.412 0.220  filter -0.0131 -1.20  overlap 0.0310 0.120  ' +
        'contribution 0.209  p 0.520  1:20 left',
    );
    const bare = { ...progress, report: { ...REPORT, filter: [], overlap: [] } };
    expect(showTraining(bare)).not.to.match(/filter|overlap/);
    expect(showTraining({ phase: 'features', done: 3, total: 20 })).to.equal(
      'features 3/20 images',
    );
    expect(showTraining({ phase: 'features', done: 3, total: 20, secondsLeft: 65 })).to.equal(
      'features 3/20 images  1:05 left',
    );
  });

  it('shows how far the whole demo is', () => {
    const at = { phase: 'training the CNN', share: 0.25, detail: 'loss 0.412' } as const;
    expect(showDemo(at, 20)).to.equal(
      '#####...............   25 %  training the CNN  loss 0.412  1:00 left',
    );
    expect(showDemo({ ...at, share: 0, detail: '' }, 0)).to.equal(
      '....................    0 %  training the CNN',
    );
  });

  it('is written over on a terminal, cut to its width', () => {
    const { stream: tty, text } = stream(true);
    const line = new ProgressLine(tty);
    line.show('a text that is much longer than the line');
    line.show('too soon to be seen');
    line.note('a note');
    expect(text()).to.equal(`\ra text that is much\r${' '.repeat(19)}\ra note\n`);
  });

  it('writes a line every ten seconds on anything but a terminal, notes at once', () => {
    const { stream: file, text } = stream(false);
    let now = 0;
    const line = new ProgressLine(file, () => now);
    for (; now < 29_999; now += 500) line.show(`a text longer than twenty columns, ${String(now)}`);
    line.clear();
    now = 29_900;
    line.show('too soon');
    line.note('warning: x');
    const at = (time: number): string => `a text longer than twenty columns, ${String(time)}\n`;
    expect(text()).to.equal(`${at(10_000)}${at(20_000)}warning: x\n`);
  });

  it('shows whole texts on a terminal of 0 columns', () => {
    const { stream: tty, text } = stream(true);
    Object.assign(tty, { columns: 0 });
    new ProgressLine(tty).show('step 1/9  410 images/s');
    expect(text()).to.equal('\rstep 1/9  410 images/s');
  });

  it('tells times', () => {
    expect([0, 5.4, 65, 3600, 7322, -3].map(clock)).to.deep.equal([
      '0:00',
      '0:05',
      '1:05',
      '1:00:00',
      '2:02:02',
      '0:00',
    ]);
  });

  it('tables align names left and numbers right', () => {
    const rows = [
      ['layer', 'value'],
      ['a', '0.12'],
      ['longer', '-'],
    ];
    expect(table(rows)).to.equal('layer   value\na        0.12\nlonger      -');
  });
});
