import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { MetricsLog, readMetrics } from '../../lib/explainer/metrics_log.js';
import { trainingCurves } from '../../lib/report/curves.js';
import { temporaryFolder } from '../data/temporary.js';
import { failure } from '../support/performer.js';

const REPORT = {
  step: 3,
  loss: 1.5,
  rec: [1, 0.5],
  contribution: 0.2,
  filter: [-0.1, -0.2],
  overlap: [0.1, 0.1],
  lambda: [0.3, 0.7],
  p: 0.5,
  learningRate: 0.001,
};

/** JSON values of every kind, in place of what a field holds. */
const STRANGE = [
  '{}',
  '"1"',
  '[]',
  '[[1]]',
  '["1"]',
  'true',
  'null',
  '1e999',
  '-1',
  '2.5',
  '[null]',
];

describe('metrics.jsonl', () => {
  const folder = temporaryFolder();

  async function read(...lines: string[]): Promise<Awaited<ReturnType<typeof readMetrics>>> {
    await writeFile(join(folder(), 'metrics.jsonl'), lines.join('\n'));
    return readMetrics(folder());
  }

  it('lines of another form are passed over; curves can be drawn of what is left', async () => {
    const text = JSON.stringify(REPORT);
    const lines = [
      '{"step":0}',
      '',
      ' ',
      '[]',
      '7',
      '"x"',
      'null',
      '{',
      '\u0000',
      text.slice(0, -1),
    ];
    for (const name of Object.keys(REPORT)) {
      const { [name as keyof typeof REPORT]: value, ...rest } = REPORT;
      lines.push(JSON.stringify(rest));
      for (const strange of STRANGE) {
        lines.push(text.replace(`"${name}":${JSON.stringify(value)}`, `"${name}":${strange}`));
      }
    }
    const found = await read(...lines, text);
    expect(found.at(-1)).to.deep.equal(REPORT);
    // What is a number too, or null, which stands for NaN; 4 fields of numbers, 4 of lists.
    const [numbers, lists] = [
      ['null', '1e999', '-1', '2.5'],
      ['[]', '[null]'],
    ];
    expect(found).to.have.length(4 * numbers.length + 4 * lists.length + 1);
    for (const line of lines) {
      for (const curve of trainingCurves(await read(line, text), ['fc1'])) {
        for (const { values } of curve.lines) expect(values).to.have.length(curve.steps.length);
      }
    }
  });

  it('a log that is not there is empty; one that cannot be read is E_FILE and stays', async () => {
    expect(await readMetrics(join(folder(), 'nothing'))).to.deep.equal([]);
    await mkdir(join(folder(), 'metrics.jsonl'));
    await failure('E_FILE', /^Cannot read .*metrics\.jsonl: EISDIR/, () => readMetrics(folder()));
    await failure('E_FILE', /^Cannot read /, () => MetricsLog.open(folder(), 4));
  });
});
