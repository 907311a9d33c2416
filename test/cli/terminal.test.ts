import { execFileSync } from 'node:child_process';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { shellWord, terminalText } from '../../lib/cli/terminal.js';
import { ProgressLine } from '../../lib/cli/progress.js';
import { encodeModel } from '../../lib/performer/index.js';
import { temporaryFolder } from '../data/temporary.js';
import { writeTiny } from '../explainer/tiny.js';
import { NetBuilder } from '../support/onnx_models.js';
import { here, type Outcome } from './run_cli.js';

/** Clears a screen, rings, moves back, sets a title, begins a command in 8 bits, turns the text round. */
const HOSTILE = '\u001b[2J\u0007\b\r\u001b]0;t\u001b\\\u009b31m\u007f\u202e\u2066';
// eslint-disable-next-line no-control-regex
const COMMANDS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/u;

function harmless({ stdout, stderr }: Outcome): string {
  const text = stdout + stderr;
  expect(JSON.stringify(COMMANDS.exec(text)?.[0] ?? 'none')).to.equal('"none"');
  return text;
}

describe('partlens: what reaches the terminal', () => {
  const folder = temporaryFolder();

  /** A CNN whose every name is hostile. */
  async function hostileModel(): Promise<string> {
    const net = new NetBuilder({ size: 16 });
    const same = { pads: [1, 1, 1, 1] };
    let x = net.relu(net.conv('image', `conv${HOSTILE}`, [4, 3, 3], same));
    x = net.relu(net.conv(x, `conv2${HOSTILE}`, [4, 4, 3], same));
    const flat = net.node('Flatten', `flat${HOSTILE}`, [x]);
    net.gemm(flat, `fc${HOSTILE}`, [2, 4 * 16 * 16]);
    const path = join(folder(), 'model.onnx');
    await writeFile(path, encodeModel(net.spec(`fc${HOSTILE}`)));
    return path;
  }

  it('inspect shows no control characters; --json keeps them as escapes', async () => {
    const path = await hostileModel();
    const shown = harmless(await here('inspect', path));
    expect(shown).to.match(/^proposed: --layer \$'/m);
    const { stdout, ...rest } = await here('inspect', path, '--json');
    harmless({ stdout, ...rest });
    expect((JSON.parse(stdout) as { layers: { name: string }[] }).layers[0]?.name).to.include(
      HOSTILE,
    );
  });

  it('nor do errors, their stacks, wrong usage and --help', async () => {
    const path = await hostileModel();
    const run = join(folder(), 'run');
    const train = ['train', '--performer', path, '--images', folder(), '--out', run];
    for (const args of [
      [...train, '--layer', 'relu'],
      ['--verbose', ...train, '--layer', `relu${HOSTILE}x`],
      ['inspect', `${HOSTILE}.onnx`],
      [`no-command${HOSTILE}`],
      ['inspect', `--no-option${HOSTILE}`],
      ['explain', `run${HOSTILE}`, `image${HOSTILE}`],
    ]) {
      const outcome = await here(...args);
      expect(outcome.code).to.be.above(0);
      expect(harmless(outcome)).to.include('\ufffd');
    }
  });

  it('nor do warnings and results with names of photographs, folders, parts', async () => {
    const tiny = await writeTiny(folder(), { count: 8 });
    const bad = join(tiny.images, 'bright', `a${HOSTILE}.jpg`);
    await writeFile(bad, 'no image');
    const run = join(folder(), `run${HOSTILE}`);
    const cut = ['--layer', 'conv2_relu', '--targets', 'fc1_relu,fc2_relu'];
    const cpu = ['--backend', 'cpu', '--threads', '1'];
    const small = ['--epochs', '1', '--batch', '4', '--filters', '4'];
    const images = ['--images', tiny.images];
    const given = ['--performer', tiny.model, ...images, '--out', run, ...cut, ...small, ...cpu];
    expect(harmless(await here('train', ...given, '--no-report'))).to.match(/1 skipped/);
    const landmarks = join(tiny.images, `landmarks${HOSTILE}.csv`);
    const csv = await readFile(tiny.landmarks, 'utf8');
    await writeFile(landmarks, csv.replaceAll(',blob,', `,"blob${HOSTILE}",`));
    const [scored, reported] = [
      ['evaluate', run, '--landmarks', landmarks],
      ['report', run],
    ];
    harmless(await here(...scored, ...cpu));
    harmless(await here(...reported, ...cpu));
    await rename(landmarks, `${landmarks}.old`);
    expect(harmless(await here(...reported, ...cpu))).to.match(/warning: .* is gone/);
  });

  it('the line of progress holds its own commands alone', () => {
    let text = '';
    const write = (part: string): boolean => {
      text += part;
      return true;
    };
    const stream = { isTTY: true, columns: 80, write } as unknown as NodeJS.WriteStream;
    const line = new ProgressLine(stream);
    line.show(`a\n${HOSTILE}`);
    line.note(`warning: ${HOSTILE}`);
    expect(text.replaceAll('\r', '')).not.to.match(COMMANDS);
    expect(text.split('\n')).to.have.length(2);
  });

  it('a word for a shell is read back as it was', function () {
    if (process.platform === 'win32') this.skip();
    for (const name of [
      'a',
      'a b',
      `it's`,
      `\\' "$x" \`y\``,
      `x'${HOSTILE}\\n`,
      'a\nb',
      '/a,b:c-1',
    ]) {
      const word = shellWord(name);
      expect(terminalText(word)).to.equal(word);
      const environment = { ...process.env, LC_ALL: 'C.UTF-8' };
      const read = execFileSync('bash', ['-c', `printf %s ${word}`], { env: environment });
      expect(read.toString()).to.equal(name);
    }
  });
});
