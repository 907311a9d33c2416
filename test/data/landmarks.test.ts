import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { mkdir, realpath, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseCsv } from '../../lib/data/csv.js';
import { listImages } from '../../lib/data/images.js';
import {
  annotatedImages,
  readLandmarks,
  selectImages,
  type LandmarkImage,
} from '../../lib/data/landmarks.js';
import { failureOf, temporaryFolder } from './temporary.js';

const animals = fileURLToPath(new URL('../../../shared/data/animal-part/', import.meta.url));

describe('csv', () => {
  const fields = (text: string): string[][] => parseCsv(text, 'f').map((row) => row.fields);

  it('parses quotes, commas and line breaks in fields, CRLF, BOM, blank lines', () => {
    expect(fields('\ufeffa,b\r\n"x,1","y ""z"""\r\n\r\n"two\nlines",\n,q')).to.deep.equal([
      ['a', 'b'],
      ['x,1', 'y "z"'],
      ['two\nlines', ''],
      ['', 'q'],
    ]);
    expect(fields('')).to.deep.equal([]);
    expect(fields('a,')).to.deep.equal([['a', '']]);
    expect(fields('""')).to.deep.equal([]);
    expect(fields('a\n\n\nb\n')).to.deep.equal([['a'], ['b']]);
  });

  it('counts lines as an editor does', () => {
    expect(parseCsv('a\n"b\nc"\n\nd', 'f').map(({ line }) => line)).to.deep.equal([1, 2, 5]);
  });

  it('refuses open quotes and text behind quotes, with the line', () => {
    expect(() => parseCsv('a\n"b\n', 'f.csv')).to.throw('f.csv, line 2: a quote is not closed');
    expect(() => parseCsv('a\n\n"b"c', 'f.csv')).to.throw('line 3: text follows a closing quote');
  });
});

describe('landmarks', () => {
  const folder = temporaryFolder();
  /** Images 0.jpg, 1.jpg, ... of 200 x 100 pixels in two classes; their files exist. */
  const images = async (count: number): Promise<LandmarkImage[]> => {
    await mkdir(join(folder(), 'images'));
    const root = await realpath(join(folder(), 'images'));
    const all: LandmarkImage[] = [];
    for (let i = 0; i < count; i++) {
      const file = join(root, `${String(i)}.jpg`);
      await writeFile(file, '');
      all.push({ file, className: i % 2 ? 'cat' : 'dog', width: 200, height: 100 });
    }
    return all;
  };
  const csv = async (...lines: string[]): Promise<string> => {
    const path = join(folder(), 'landmarks.csv');
    await writeFile(path, ['image,category,part,y,x', ...lines].join('\n'));
    return path;
  };

  it('scales pixel centres to pixel centres of the input', async () => {
    const set = await images(2);
    const path = await csv(
      'images/0.jpg,dog,head,0,0',
      'images/1.jpg,cat,tail,99,199',
      'images/1.jpg,cat,head,49.5,99.5',
    );
    const { annotations, report } = await readLandmarks(path, set, { size: 50 });
    expect(annotations).to.include({ size: 50 });
    expect(annotations.categories).to.deep.equal(['cat', 'dog']);
    expect([...annotations.category]).to.deep.equal([1, 0]);
    expect(annotations.parts).to.deep.equal(['head', 'tail']);
    // (y + 0.5) * 50 / 100 - 0.5, (x + 0.5) * 50 / 200 - 0.5
    expect([...annotations.y]).to.deep.equal([-0.25, NaN, 24.5, 49.25]);
    expect([...annotations.x]).to.deep.equal([-0.375, NaN, 24.5, 49.375]);
    expect(report).to.deep.equal({
      rows: 3,
      unmarked: 0,
      used: 3,
      images: 2,
      otherImages: 0,
      missingFiles: [],
      outside: 0,
      ambiguous: 0,
    });
  });

  it('matches by real path, whatever the row or the set calls the file', async () => {
    const set = await images(3);
    await symlink('images', join(folder(), 'link'));
    const path = await csv(
      'link/0.jpg,,head,1,1',
      './images/../images/1.jpg,,head,1,1',
      `"${set[2]?.file ?? ''}",,head,1,1`,
    );
    const { report } = await readLandmarks(path, set, { size: 10 });
    expect(report).to.include({ used: 3, images: 3 });
  });

  it('takes the class of the image where the row gives no category', async () => {
    const path = await csv(
      'images/0.jpg,,head,1,1',
      'images/1.jpg,lion,head,1,1',
      'images/1.jpg,,tail,1,1',
    );
    const { annotations } = await readLandmarks(path, await images(3), { size: 10 });
    const names = [...annotations.category].map((c) => annotations.categories[c]);
    expect(names).to.deep.equal(['dog', 'lion', 'dog']);
  });

  it('takes columns in any order, others too', async () => {
    const path = join(folder(), 'landmarks.csv');
    await writeFile(
      path,
      'visible, X ,y,part,image,Category\n1,20,10,"left, eye","images/0.jpg",dog\n',
    );
    const { annotations } = await readLandmarks(path, await images(1), { size: 100 });
    expect(annotations.parts).to.deep.equal(['left, eye']);
    expect(annotations.y[0]).to.equal(10);
    expect(annotations.x[0]).to.equal(9.75);
  });

  it('counts and reports what cannot be used', async () => {
    const set = await images(4);
    const path = await csv(
      'images/0.jpg,,head,1,1',
      'images/3.jpg,,head,1,1',
      'images/none.jpg,,head,1,1',
      'images/none.jpg,,tail,1,1',
      'images/1.jpg,,head,100,1',
      'images/1.jpg,,tail,1,-0.6',
      'images/1.jpg,,leg,99.5,-0.5',
      'images/2.jpg,,head,1,1',
      'images/2.jpg,,head,2,1',
      'images/2.jpg,,tail,3,3',
      'images/2.jpg,,tail,3,3',
    );
    const warnings: string[] = [];
    const { annotations, report } = await readLandmarks(path, set.slice(0, 3), {
      size: 100,
      onWarning: (text) => warnings.push(text),
    });
    expect(report).to.deep.equal({
      rows: 11,
      unmarked: 0,
      used: 3,
      images: 3,
      otherImages: 1,
      missingFiles: ['images/none.jpg'],
      outside: 2,
      ambiguous: 1,
    });
    expect(warnings).to.have.length(4);
    expect(warnings[0]).to.include('1 images of landmarks do not exist: images/none.jpg');
    expect([...annotatedImages(annotations)]).to.deep.equal([0, 1, 2]);
  });

  it('E_FILE with the line for what is wrong', async () => {
    const set = await images(2);
    const cases: [string[], RegExp][] = [
      [['images/0.jpg,dog,head,1'], /line 2: Expected 5 fields but received only 4/],
      [
        ['images/0.jpg,dog,head,1,2', 'images/0.jpg,dog,tail,one,2'],
        /line 3: Expected a number for y but received "one"/,
      ],
      [['images/0.jpg,dog,head,1,'], /line 2: Expected a number for x but received ""/],
      [['images/0.jpg,dog,head,Infinity,1'], /line 2: Expected a number for y/],
      [['images/0.jpg,dog,head,NaN,1'], /number for y/],
      [[',dog,head,1,1'], /line 2: Expected an image and a part/],
      [['images/0.jpg,dog,,1,1'], /line 2: Expected an image and a part/],
      [
        ['images/0.jpg,dog,head,1,1', '', 'images/0.jpg,cat,tail,1,1'],
        /line 4: Expected the category dog as before but received cat/,
      ],
      [['"images/0.jpg'], /line 2: a quote is not closed/],
    ];
    for (const [lines, message] of cases) {
      const error = await failureOf(readLandmarks(await csv(...lines), set, { size: 10 }));
      expect(error.message).to.match(message);
      expect(error).to.have.property('code', 'E_FILE');
    }
    const path = join(folder(), 'landmarks.csv');
    for (const [text, message] of [
      ['image,part,x\n', /line 1: Expected the columns .* received image,part,x \(no category,y\)/],
      ['', /columns .* received nothing/],
    ] as const) {
      await writeFile(path, text);
      expect((await failureOf(readLandmarks(path, set, { size: 10 }))).message).to.match(message);
    }
    const missing = readLandmarks(join(folder(), 'none.csv'), set, { size: 10 });
    expect(await failureOf(missing)).to.have.property('code', 'E_FILE');
  });

  it('selects images', async () => {
    const path = await csv('images/0.jpg,,head,1,1', 'images/2.jpg,,head,2,2');
    const { annotations } = await readLandmarks(path, await images(3), { size: 100 });
    const chosen = annotatedImages(annotations);
    expect([...chosen]).to.deep.equal([0, 2]);
    const selected = selectImages(annotations, [2, 1]);
    expect([...selected.y]).to.deep.equal([2, NaN]);
    expect([...selected.category].map((c) => selected.categories[c])).to.deep.equal(['dog', 'cat']);
  });

  it('reads the landmarks of real photographs', async function () {
    if (!existsSync(animals)) {
      console.log('      skipped: ../shared/data/animal-part is not here');
      this.skip();
    }
    const { images: files } = await listImages(join(animals, 'images'));
    const set = files.map((file) => ({ ...file, width: 224, height: 224 }));
    const { annotations, report } = await readLandmarks(join(animals, 'landmarks.csv'), set, {
      size: 112,
    });
    expect(report).to.deep.equal({
      rows: 3098,
      unmarked: 0,
      used: 3098,
      images: report.images,
      otherImages: 0,
      missingFiles: [],
      outside: 0,
      ambiguous: 0,
    });
    expect(annotations.parts).to.deep.equal(['head', 'legs']);
    // README of the set: 201 + 162 - 127 birds, ...
    expect(report.images).to.equal(3098 - (127 + 99 + 95 + 115 + 105 + 118 + 99 + 100 + 86 + 108));
  });
});
