import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { occlusionVerdict } from '../../lib/evaluate/occlusion.js';
import { verdictOf } from '../../lib/evaluate/verdict.js';
import { htmlPage, jsonForHtml } from '../../lib/report/html.js';
import { shrinkPictures } from '../../lib/report/pictures.js';
import { writeReport } from '../../lib/report/report.js';
import { ClassSample } from '../../lib/report/sample.js';
import { here } from '../cli/run_cli.js';
import { failureOf, names, temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny } from '../explainer/tiny.js';
import { readReport } from './report_data.js';

const EVIL = '<img src=x onerror=alert(1)>';

describe('report: of a tiny run', () => {
  const folder = temporaryFolder();

  it('tells what evaluate tells, of every photograph and filter; the same bytes twice', async () => {
    const { model, images, landmarks } = await writeTiny(folder());
    using performer = await tinyPerformer(model);
    const out = join(folder(), 'run');
    await withExplainer({ performer, images, out }, async (explainer) => {
      const phases = new Set<string>();
      const { path, bytes, evaluation } = await writeReport(explainer, {
        landmarks,
        onProgress: ({ phase }) => phases.add(phase),
      });
      expect(path).to.equal(join(out, 'report.html'));
      expect(bytes).to.equal((await stat(path)).size);
      expect([...phases]).to.include.members(['maps', 'pictures']);
      const alone = await explainer.evaluate({ landmarks });
      expect(evaluation).to.deep.equal(alone);
      const { data, html } = await readReport(path);
      expect(data.run).to.deep.include({ photographs: 20, layer: 'conv2_relu', steps: 8 });
      expect(data.scores.instability?.layer2).to.equal(alone.instability?.layer2.value);
      const { layer2, controls } = alone.instability!;
      const sets = new Map(data.comparison?.sets.map((set) => [set.name, set]));
      expect(sets.size).to.equal(9);
      for (const [name, scores] of Object.entries({ layer2, ...controls })) {
        expect(sets.get(name), name).to.include({
          ...{ location: scores.value, vector: scores.vector.value, r2: scores.r2.distinctMean },
          ...{ distinct: scores.r2.distinct, above: scores.r2.above },
          ...{ allCategoryRatio: scores.allCategoryRatio.distance },
          served: scores.perCategory.served,
        });
      }
      expect(data.verdict).to.deep.equal(verdictOf(alone));
      expect(data.scores.tracks.parts).to.equal(alone.tracks.agreement.parts);
      const { occlusion } = alone;
      expect(data.scores.occlusion).to.include({
        ...{ images: occlusion?.images, largest: occlusion?.largest },
        verdict: occlusion && occlusionVerdict(occlusion),
      });
      expect(data.scores.parts?.all).to.deep.equal([
        'bright/blob',
        'bright/edge',
        'dark/blob',
        'dark/edge',
      ]);
      expect(data.explainer).to.have.length(6);
      expect(data.performer).to.have.length(6);
      expect(data.curves.map(({ lines }) => lines.length)).to.deep.equal([3, 2, 2, 1, 1]);
      const alive = data.explainer.find(({ dead }) => !dead);
      expect(alive?.spots).to.have.length(8);
      const strengths = alive?.spots.map(({ activation }) => activation) ?? [];
      expect(strengths).to.deep.equal([...strengths].sort((a, b) => b - a));
      for (const { x, y, contour } of alive?.spots ?? []) {
        expect(x).to.be.within(0, 1000);
        expect(y).to.be.within(0, 1000);
        expect(contour).to.match(/^M/);
      }
      const configured = data.configuration.flatMap(({ entries }) => entries.map(([, v]) => v));
      expect(configured).to.include.members(['../tiny.onnx', '../photos', '.']);
      expect(html, 'a path of this machine').not.to.include(folder());
      await writeReport(explainer, { landmarks, out: join(out, 'again.html') });
      expect(await readFile(join(out, 'again.html'), 'utf8')).to.equal(html);
    });
  });

  it('without landmarks: no instability, no parts, but duplicates and pictures', async () => {
    const { model, images } = await writeTiny(folder());
    using performer = await tinyPerformer(model);
    const out = join(folder(), 'run');
    await withExplainer({ performer, images, out }, async (explainer) => {
      const { data } = await readReport((await writeReport(explainer)).path);
      expect(data.scores.instability).to.equal(undefined);
      expect(data.comparison).to.equal(undefined);
      expect(data.scores.parts).to.equal(undefined);
      expect(data.explainer.every(({ instability }) => instability === null)).to.equal(true);
      expect(data.explainer.some(({ spots }) => spots.length > 0)).to.equal(true);
      for (const { duplicateOf } of data.explainer) {
        if (duplicateOf !== undefined) expect(duplicateOf).to.be.within(0, 5);
      }
    });
  });

  it('without landmarks, after an evaluation with them: as if they were given again', async () => {
    const { model, images, landmarks } = await writeTiny(folder());
    using performer = await tinyPerformer(model);
    const out = join(folder(), 'run');
    await withExplainer({ performer, images, out }, async (explainer) => {
      const { path } = await writeReport(explainer, { landmarks });
      const named = await readFile(path, 'utf8');
      await writeReport(explainer);
      expect(await readFile(path, 'utf8')).to.equal(named);
      await rm(landmarks);
      const warnings: string[] = [];
      await writeReport(explainer, { onWarning: (text) => warnings.push(text) });
      expect(warnings.join()).to.match(/landmarks\.csv is gone: parts have no names/);
      expect((await readReport(path)).data.scores.parts).to.equal(undefined);
    });
  });

  it('names that cannot be kept are a warning; without a listener an error', async () => {
    const { model, images, landmarks } = await writeTiny(folder());
    using performer = await tinyPerformer(model);
    const out = join(folder(), 'run');
    await withExplainer({ performer, images, out }, async (explainer) => {
      await mkdir(join(out, 'parts.json'));
      const warnings: string[] = [];
      const onWarning = (text: string): unknown => warnings.push(text);
      const { instability } = await explainer.evaluate({ landmarks, onWarning });
      expect(instability?.landmarks).to.be.above(0);
      expect(warnings.join()).to.match(/keep no names.*Cannot write .*parts\.json/);
      expect((await failureOf(explainer.evaluate({ landmarks }))).code).to.equal('E_FILE');
    });
  });

  it('text of the data stays text; nothing of it is markup', async () => {
    const { model, images } = await writeTiny(folder());
    await rename(join(images, 'dark'), join(images, EVIL));
    using performer = await tinyPerformer(model);
    await withExplainer({ performer, images, out: join(folder(), 'run') }, async (explainer) => {
      const { html, data } = await readReport((await writeReport(explainer)).path);
      expect(data.classes).to.include(EVIL);
      expect(html).not.to.include('<img');
      expect(html.match(/<script/g)).to.have.length(2);
    });
  });

  it('a photograph that is gone is an E_STATE, and an older report stays', async () => {
    const { model, images } = await writeTiny(folder());
    using performer = await tinyPerformer(model);
    const out = join(folder(), 'run');
    await withExplainer({ performer, images, out }, async (explainer) => {
      const { path } = await writeReport(explainer);
      const before = await readFile(path, 'utf8');
      await rm(join(images, 'dark', '001.png'));
      expect((await failureOf(writeReport(explainer))).code).to.equal('E_STATE');
      expect(await readFile(path, 'utf8')).to.equal(before);
    });
  });

  it('partlens train writes it, unless told not to; partlens report writes it again', async () => {
    const { model, images, landmarks } = await writeTiny(folder());
    const cut = ['--layer', 'conv2_relu', '--targets', 'fc1_relu,fc2_relu'];
    const train = (out: string, ...more: string[]) =>
      here(
        ...['train', '--performer', model, ...cut, '--images', images, '--out', out],
        ...['--batch', '8', '--epochs', '1', '--backend', 'cpu', '--threads', '1', ...more],
      );
    const run = join(folder(), 'run');
    const trained = await train(run, '--landmarks', landmarks);
    expect(trained.stderr).to.match(
      /^The CNN names the class of its folder .*\nwarning: The CNN names .*\n$/,
    );
    expect(trained.stdout).to.match(/\nreport .*report\.html \(0\.\d MB\)\nVerdict: [A-Z]/);
    expect((await readReport(join(run, 'report.html'))).data.scores.parts).not.to.equal(undefined);

    const other = join(folder(), 'other');
    const without = (await train(other, '--no-report')).stdout;
    expect(without)
      .to.match(/\nVerdict: [A-Z]/)
      .and.not.include('report.html');
    expect(await names(other)).not.to.include('report.html');
    const out = join(folder(), 'elsewhere.html');
    const flags = ['--out', out, '--backend', 'cpu', '--threads', '1'];
    expect(await here('report', other, ...flags)).to.include({ code: 0, stderr: '' });
    expect((await readReport(out)).data.run.photographs).to.equal(20);
  });

  it('a report that cannot be written does not spoil the training', async () => {
    const { model, images } = await writeTiny(folder());
    const bad = join(folder(), 'bad.csv');
    await writeFile(bad, 'image,part\n');
    const run = join(folder(), 'run');
    const { code, stderr } = await here(
      ...['train', '--performer', model, '--images', images, '--out', run, '--landmarks', bad],
      ...['--batch', '8', '--epochs', '1', '--backend', 'cpu', '--threads', '1'],
    );
    expect(code).to.equal(0);
    expect(stderr).to.match(/warning: no report: .*bad\.csv, line 1/);
    expect(await names(join(run, 'checkpoints'))).to.have.length(1);
  });
});

describe('report: page and pictures', () => {
  const folder = temporaryFolder();

  it('JSON ends no script element and opens no comment', () => {
    const text = '</script><!--<script>';
    expect(jsonForHtml({ text })).not.to.include('<');
    expect(JSON.parse(jsonForHtml({ text }))).to.deep.equal({ text });
    const page = htmlPage({ script: "'</script>'", style: '' }, { title: EVIL, data: text });
    expect(page).to.include('<title>&lt;img src=x onerror=alert(1)&gt;</title>');
    expect(page.match(/<\/script>/g)).to.have.length(2);
  });

  it('pictures become smaller until all fit', async () => {
    const { images } = await writeTiny(folder(), { count: 8 });
    const files = (await names(join(images, 'bright'))).map((name) => ({
      path: name,
      file: join(images, 'bright', name),
      className: 'bright',
    }));
    const bytes = (all: string[]) => all.reduce((sum, webp) => sum + (webp.length * 3) / 4, 0);
    const large = await shrinkPictures(files);
    const small = await shrinkPictures(files, { bytes: bytes(large) / 2 });
    expect(small).to.have.length(4);
    expect(bytes(small)).to.be.below(bytes(large) / 2);
    const missing = { path: 'gone.png', file: join(images, 'gone.png'), className: '' };
    expect(await failureOf(shrinkPictures([missing]))).to.include({ code: 'E_FILE' });
  });

  it('a sample has at most so many of each class, the same for the same seed', () => {
    const draw = (seed: number): number[] => {
      const sample = new ClassSample<number>(3, seed);
      for (let n = 0; n < 200; n++) sample.offer(n % 40 === 0 ? 1 : 0, () => n);
      return sample.items();
    };
    expect(draw(1)).to.have.length(6);
    expect(draw(1)).to.deep.equal(draw(1));
    expect(draw(1)).not.to.deep.equal(draw(2));
    expect(draw(1).filter((n) => n % 40 === 0).length).to.be.within(3, 4);
  });
});
