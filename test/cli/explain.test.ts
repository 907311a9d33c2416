import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { names, temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny, type Tiny } from '../explainer/tiny.js';
import { here } from './run_cli.js';

const DEVICE = ['--backend', 'cpu', '--threads', '1'];

describe('partlens: explain', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  let run: string;
  let photo: string;

  beforeEach(async () => {
    tiny = await writeTiny(folder());
    run = join(folder(), 'run');
    photo = join(tiny.images, 'dark', '003.png');
    const performer = await tinyPerformer(tiny.model);
    await withExplainer({ performer, images: tiny.images, out: run, filters: 6 }, () => undefined);
    performer.dispose();
  });

  it('prints the sentence, predictions, regions with their filters, tracks, curves', async () => {
    const evaluated = await here('evaluate', run, '--landmarks', tiny.landmarks, ...DEVICE);
    expect(evaluated.code).to.equal(0);
    const { code, stdout } = await here('explain', run, photo, '--top', '2', ...DEVICE);
    expect(code).to.equal(0);
    expect(stdout).to.match(/^performer +(bright|dark) +\d+\.\d% +-?\d+\.\d\d$/m);
    expect(stdout).to.match(/^rebuilt +(bright|dark) +\d+\.\d% +-?\d+\.\d\d$/m);
    expect(stdout).to.match(/^((bright|dark) rather than (bright|dark) |Nothing in the rebuilt)/);
    expect(stdout).to.match(/^\d of 6 part filters answer, in \d regions?/m);
    const region =
      /^\d [a-z ]+ +(-|(near )?(blob|edge)) +\d+ +\d+ +[+-]\d+\.\d{3} +exact +[ #]+\|[ #]+[+-]\d+\.\d{3}$/gm;
    expect(stdout.match(region)?.length, stdout).to.be.within(1, 2);
    const filter =
      /^ {2}filter \d +(-|(near )?(blob|edge)) +\d+ +\d+ +[+-]\d+\.\d{3} +alone +[+-]\d+\.\d{3}$/gm;
    expect(stdout.match(filter)?.length, stdout).to.be.within(1, 6);
    expect(stdout).to.match(/^ordinary track, Shapley value +[+-]\d+\.\d{3}$/m);
    expect(stdout).to.match(/^control: a filter at random, alone +[+-]\d+\.\d{3}$/m);
    expect(stdout).to.match(/^share of this score through parts +(-?\d+\.\d%|-)$/m);
    expect(stdout.match(/^(off|on): (best parts|at random)( +-?\d+\.\d\d){6}$/gm)).to.have.length(
      4,
    );
  });

  it('--json is one object with every part, without maps', async () => {
    const { code, stdout } = await here('explain', run, photo, '--json', ...DEVICE);
    expect(code).to.equal(0);
    const json = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(json)).to.deep.equal([
      'image',
      'sentence',
      'prediction',
      'rebuilt',
      'explained',
      'unit',
      'p',
      'share',
      'filters',
      'parts',
      'regions',
      'contrast',
      'shapley',
      'tracks',
      'control',
      'deletion',
      'insertion',
      'warnings',
    ]);
    expect(json['image']).to.deep.equal({ path: photo, width: 20, height: 24 });
    const parts = json['parts'] as Record<string, unknown>[];
    expect(parts.length).to.be.above(0);
    expect(parts[0]).to.include.keys('filter', 'place', 'strength', 'alone', 'removed', 'region');
    expect(parts[0]).not.to.have.property('map');
  });

  it('--html and --png write files, atomically', async () => {
    const [html, png] = ['page.html', 'picture.png'].map((name) => join(folder(), name));
    const { code } = await here('explain', run, photo, '--html', html!, '--png', png!, ...DEVICE);
    expect(code).to.equal(0);
    expect(await readFile(html!, 'utf8')).to.match(/^<!doctype html>.*<\/html>\n$/s);
    expect(await sharp(png).metadata()).to.include({ format: 'png', height: 640 });
    const left = await names(folder());
    expect(left).to.deep.equal([
      'page.html',
      'photos',
      'picture.png',
      'run',
      'tiny.json',
      'tiny.onnx',
    ]);
  });

  it('--versus compares two classes', async () => {
    const flags = ['--class', 'dark', '--versus', 'bright', '--json', ...DEVICE];
    const { code, stdout } = await here('explain', run, photo, ...flags);
    expect(code).to.equal(0);
    const json = JSON.parse(stdout) as { versus: object; sentence: string };
    expect(json.versus).to.include({ name: 'bright' });
    expect(json.sentence).to.include('dark rather than bright');
  });

  it('of folders a page for each photograph, and an index with the mistakes of the CNN', async () => {
    const some = join(folder(), 'some');
    for (const name of ['bright', 'dark']) {
      await mkdir(join(some, name), { recursive: true });
      await copyFile(photo, join(some, name, 'a b.png'));
    }
    await writeFile(join(some, 'dark', 'broken.png'), 'no image');
    const out = join(folder(), 'pages');
    const { code, stdout, stderr } = await here('explain', run, some, '--out', out, ...DEVICE);
    expect(code).to.equal(0);
    expect(stderr).to.match(/warning: .*broken\.png/);
    expect(await names(out)).to.deep.equal([
      'bright_a_b.png.html',
      'dark_a_b.png.html',
      'index.html',
    ]);
    // one photograph in folders of both classes: the CNN is wrong of one of them
    expect(stdout).to.match(/2 explained, 1 mistakes of the CNN; index .*index\.html\n$/);
    const index = await readFile(join(out, 'index.html'), 'utf8');
    expect(index).to.include('mistakes: 1 of 2').and.include('href="dark_a_b.png.html"');
    expect(index).not.to.match(/<script|NaN|undefined/);
    expect(index.replace(/data:image[^"]+/g, '')).not.to.include(folder());
    const list = await here('explain', run, photo, photo, '--json', ...DEVICE);
    expect(JSON.parse(list.stdout)).to.have.length(2);
    const two = await here('explain', run, photo, photo, '--html', 'x.html', ...DEVICE);
    expect(two).to.include({ code: 2, stdout: '' });
    expect(two.stderr).to.match(/one photograph, or --out FOLDER/);
  });

  it('names of classes cannot steer the terminal', async () => {
    const sidecar = tiny.model.replace('.onnx', '.json');
    const text = await readFile(sidecar, 'utf8');
    await writeFile(
      sidecar,
      text.replace('"bright","dark"', '"\\u001b[2Jbright","\\u001b[2Jdark"'),
    );
    const { code, stdout } = await here('explain', run, photo, ...DEVICE);
    expect(code).to.equal(0);
    expect(stdout).to.include('\ufffd[2J').and.not.to.include('\u001b');
  });

  it('wrong usage is code 2, a photograph that is gone code 1', async () => {
    const wrong = await here('explain', run, photo, '--class', 'cat', ...DEVICE);
    expect(wrong).to.include({ code: 2, stdout: '' });
    expect(wrong.stderr).to.match(/one of bright, dark, or a number from 0 to 1 for class/);
    const other = await here('explain', run, photo, '--class', '1', '--json', ...DEVICE);
    expect(JSON.parse(other.stdout)).to.have.nested.property('explained.name', 'dark');
    const gone = await here('explain', run, join(folder(), 'none.png'), ...DEVICE);
    expect(gone).to.include({ code: 1, stdout: '' });
    expect(gone.stderr).to.match(/^partlens: Cannot read .*none\.png: ENOENT.*\(E_FILE\)\n$/);
  });
});
