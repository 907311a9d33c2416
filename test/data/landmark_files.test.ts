import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { mkdir, realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readLandmarkFile } from '../../lib/data/landmark_files/read.js';
import { readLandmarks, type LandmarkImage } from '../../lib/data/landmarks.js';
import { failureOf, temporaryFolder } from './temporary.js';

const cases = fileURLToPath(new URL('../../../shared/cases/onnx/csv/', import.meta.url));

describe('landmark files', () => {
  const folder = temporaryFolder();
  const put = async (name: string, content: unknown): Promise<string> => {
    const path = join(folder(), name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };
  const read = async (name: string, content: unknown): Promise<string[]> => {
    const { rows, unmarked } = await readLandmarkFile(await put(name, content));
    const shown = rows.map(
      ({ image, category, part, y, x }) =>
        `${image} ${category || '-'} ${part} ${String(y)} ${String(x)}`,
    );
    return [...shown, `unmarked ${String(unmarked)}`];
  };
  const refused = async (name: string, content: unknown): Promise<string> => {
    const error = await failureOf(readLandmarkFile(await put(name, content)));
    expect(error).to.have.property('code', 'E_FILE');
    return error.message;
  };

  describe('csv', () => {
    const one = ['p/1.jpg cat head 10 20', 'unmarked 0'];
    const dialects: Record<string, string> = {
      commas: 'image,category,part,y,x\np/1.jpg,cat,head,10,20\n',
      semicolons: 'image;category;part;y;x\np/1.jpg;cat;head;10;20\n',
      tabs: 'image\tcategory\tpart\ty\tx\np/1.jpg\tcat\thead\t10\t20\n',
      'byte order mark': '\ufeffimage,category,part,y,x\np/1.jpg,cat,head,10,20',
      'old line ends': 'image,category,part,y,x\rp/1.jpg,cat,head,10,20\r',
      'comment above': '# my points\n#; more\n\nimage,category,part,y,x\np/1.jpg,cat,head,10,20\n',
      'spaces before quotes': 'image, "category", part,y,x\n"p/1.jpg", "cat", "head" , 10, 20\n',
    };
    for (const [what, text] of Object.entries(dialects)) {
      it(`reads ${what}`, async () => {
        expect(await read('a.csv', text)).to.deep.equal(one);
      });
    }

    it('reads decimal commas between semicolons, and keeps commas of quoted names', async () => {
      const text = 'image;category;part;y;x\np/1.jpg;cat;"left, ear";1,5;-0,25\n';
      expect(await read('a.csv', text)).to.deep.equal([
        'p/1.jpg cat left, ear 1.5 -0.25',
        'unmarked 0',
      ]);
    });

    it('counts rows without a place, and those of parts that are not visible', async () => {
      const rows = [
        'image,category,part,y,x,visible',
        'a.jpg,cat,head,,,1',
        'a.jpg,cat,ear,NaN,nan,1',
        'a.jpg,cat,tail,0,0,0',
        'a.jpg,cat,paw,3,4,2',
        'a.jpg,cat,nose,5,6,',
        'a.jpg,cat,eye,0,0,false',
      ];
      expect(await read('a.csv', rows.join('\n'))).to.deep.equal([
        'a.jpg cat paw 3 4',
        'a.jpg cat nose 5 6',
        'unmarked 4',
      ]);
    });

    it('refuses with the line what it cannot read', async () => {
      const head = '# x\nimage,category,part,y,x\n';
      expect(await refused('a.csv', `${head}a,b,c,1,\n`)).to.match(
        /line 3: Expected a number for x/,
      );
      expect(await refused('a.csv', `${head}a,b,c,"1,5",2\n`)).to.match(/line 3.*number for y/);
      expect(await refused('a.csv', `${head}a,b,"c"d,1,2\n`)).to.match(/line 2|line 3/);
      expect(await refused('a.csv', 'image|category|part|y|x\n')).to.match(
        /line 1: Expected the columns/,
      );
    });

    it('the cases handed over', async function () {
      if (!existsSync(cases)) {
        console.log('      skipped: ../shared/cases/onnx/csv is not here');
        this.skip();
      }
      const counts = { comment: 0, nan_coords: 1, quoted_space: 0, semicolon: 0, visible0: 1 };
      for (const [name, unmarked] of Object.entries(counts)) {
        const found = await readLandmarkFile(join(cases, `${name}.csv`));
        const heads = name === 'visible0' ? [] : ['photos/cat/1.jpg cat head 10 20'];
        const rows = found.rows.map((r) =>
          [r.image, r.category, r.part, r.y.toString(), r.x.toString()].join(' '),
        );
        expect(rows, name).to.deep.equal(heads);
        expect(found.unmarked, name).to.equal(unmarked);
      }
    });
  });

  const coco = {
    info: { year: 2017 },
    images: [
      { id: 7, file_name: '000007.jpg', width: 20, height: 10 },
      { id: 8, file_name: 'd/8.jpg', width: 20, height: 10 },
    ],
    categories: [
      { id: 1, name: 'person', keypoints: ['nose', 'left_eye', 'right_eye'], skeleton: [[1, 2]] },
      { id: 2, name: 'dog', keypoints: ['nose'] },
      { id: 3, name: 'car' },
    ],
    annotations: [
      {
        id: 1,
        image_id: 7,
        category_id: 1,
        num_keypoints: 2,
        keypoints: [5, 6, 2, 7, 8, 1, 0, 0, 0],
      },
      { id: 2, image_id: 8, category_id: 1, keypoints: [1, 2, 2, 0, 0, 0, 0, 0, 0] },
      { id: 3, image_id: 8, category_id: 2, keypoints: [3, 4, 2] },
      { id: 4, image_id: 8, category_id: 3, bbox: [1, 1, 2, 2] },
    ],
  };

  it('COCO: x, y, v for each keypoint of the category; v = 0 marks nothing', async () => {
    expect(await read('person_keypoints.json', coco)).to.deep.equal([
      '000007.jpg person nose 6 5',
      '000007.jpg person left_eye 8 7',
      'd/8.jpg - nose 2 1',
      'd/8.jpg - nose 4 3',
      'unmarked 3',
    ]);
    const wrong = { ...coco, annotations: [{ image_id: 9, category_id: 1, keypoints: [] }] };
    expect(await refused('a.json', wrong)).to.match(/annotation 1: Expected an image .* id 9/);
    const short = { ...coco, annotations: [{ image_id: 7, category_id: 1, keypoints: [1, 2, 2] }] };
    expect(await refused('a.json', short)).to.match(
      /annotation 1: Expected 3 numbers .* 3 numbers/,
    );
    expect(await refused('a.json', { images: [] })).to.match(/categories: Expected COCO keypoints/);
    expect(await refused('a.json', '{"images": [')).to.match(
      /as JSON: Expected a well-formed text/,
    );
  });

  it('Labelme: points of a file or a folder, half a pixel from the corner', async () => {
    const shape = (label: string, type: string, ...points: number[][]): object => ({
      ...{ label, points, group_id: null, description: '', shape_type: type, flags: {} },
    });
    const file = (imagePath: string): object => ({
      ...{ version: '5.5.0', flags: {}, imagePath, imageData: null, imageHeight: 10 },
      shapes: [
        shape('head', 'point', [3.5, 2.5]),
        shape('body', 'polygon', [1, 1], [2, 2], [3, 1]),
      ],
    });
    await put('set/cat/1.json', file('1.jpg'));
    await put('set/dog/2.json', file('..\\pictures\\2.jpg'));
    const set = join(folder(), 'set');
    const { rows } = await readLandmarkFile(set);
    expect(rows.map(({ image, part, y, x }) => [image, part, y, x])).to.deep.equal([
      [join(set, 'cat/1.jpg'), 'head', 2, 3],
      [join(set, 'pictures/2.jpg'), 'head', 2, 3],
    ]);
    expect((await readLandmarkFile(join(set, 'cat/1.json'))).rows).to.have.length(1);
    const wrong = { imagePath: 'a.jpg', shapes: [shape('head', 'point', [1, 2], [3, 4])] };
    expect(await refused('a.json', wrong)).to.match(/shape 1: Expected one point but received 2/);
    const empty = await failureOf(readLandmarkFile(join(folder(), 'set', 'none')));
    expect(empty).to.have.property('code', 'E_FILE');
  });

  it('CVAT: points and skeletons, those outside mark nothing', async () => {
    const xml = `<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels><label><name>dog</name></label></labels></task></meta>
  <!-- <points label="not this"/> -->
  <image id="0" name="a &amp; b/1.jpg" width="200" height="100">
    <points label="head" source="manual" occluded="0" points="20.50,10.50" z_order="0"></points>
    <box label="dog" xtl="1" ytl="1" xbr="2" ybr="2"/>
  </image>
  <image id="1" name='2.jpg' width="200" height="100">
    <skeleton label="dog" source="manual" z_order="0">
      <points label="left &#101;ye" occluded="1" outside="0" points="1.5,2.5"><attribute name="q">1</attribute></points>
      <points label="tail" occluded="0" outside="1" points="0,0"/>
    </skeleton>
  </image>
</annotations>`;
    expect(await read('annotations.xml', xml)).to.deep.equal([
      'a & b/1.jpg - head 10 20',
      '2.jpg dog left eye 2 1',
      'unmarked 1',
    ]);
    const bad: [string, RegExp][] = [
      [xml.replace('20.50,10.50', '20.50'), /line 7: Expected points "x,y" but received "20.50"/],
      [xml.replace('</skeleton>', ''), /line 15: <\/image> closes nothing/],
      [xml.replace('</annotations>', ''), /line 2: <annotations> is not closed/],
      [xml.replace('name="a', 'name=a'), /line 6: no XML: a tag that cannot be read/],
      ['<annotation><object/></annotation>', /line 1: Expected <annotations> of CVAT/],
      ['<annotations><track id="0"></track></annotations>', /<track>, that of films/],
      ['', /no XML element/],
    ];
    for (const [text, message] of bad) expect(await refused('a.xml', text)).to.match(message);
  });

  it('CUB-200-2011: part_locs.txt with the names of images.txt and parts.txt', async () => {
    await put('CUB/images.txt', '1 001.Albatross/a_0001.jpg\n2 002.Auk/a_0002.jpg\n');
    await put('CUB/parts/parts.txt', '1 back\n6 forehead\n11 right eye\n');
    const locations = '1 1 0.0 0.0 0\n1 6 312.0 182.0 1\n2 11 12.5 9.0 1\n';
    const path = await put('CUB/parts/part_locs.txt', locations);
    for (const place of [path, join(folder(), 'CUB')]) {
      const { rows, unmarked, folder: root } = await readLandmarkFile(place);
      expect(rows.map(({ image, part, y, x }) => [image, part, y, x])).to.deep.equal([
        ['images/001.Albatross/a_0001.jpg', 'forehead', 182, 312],
        ['images/002.Auk/a_0002.jpg', 'right eye', 9, 12.5],
      ]);
      expect([unmarked, root]).to.deep.equal([1, join(folder(), 'CUB')]);
    }
    const wrong = await refused('CUB/parts/part_locs.txt', `${locations}3 1 1 1 1\n`);
    expect(wrong).to.match(/part_locs\.txt, line 4: Expected ids of images\.txt and parts\.txt/);
  });

  it('says what to do with MATLAB files', async () => {
    expect(await refused('2008_000008.mat', 'MATLAB 5.0')).to.match(/Pascal-Part.*as CSV first/s);
  });

  it('finds images by backslashes and by the end of their path, if one has it', async () => {
    const images: LandmarkImage[] = [];
    for (const name of ['val/cat/1.jpg', 'val/dog/1.jpg', 'val/dog/2.jpg']) {
      const file = await realpath(await put(name, ''));
      images.push({ file, className: 'x', width: 100, height: 100 });
    }
    const path = await put(
      'annotations/a.csv',
      'image,category,part,y,x\n..\\val\\cat\\1.jpg,,a,1,1\n2.jpg,,b,1,1\ndog\\1.jpg,,c,1,1\n1.jpg,,d,1,1\n',
    );
    const { annotations, report } = await readLandmarks(path, images, { size: 100 });
    const P = annotations.parts.length;
    const marked = images.map((_, n) =>
      annotations.parts.filter((_, p) => !Number.isNaN(annotations.y[n * P + p])),
    );
    expect(marked).to.deep.equal([['a'], ['c'], ['b']]);
    expect(report.missingFiles, 'two end with it').to.deep.equal(['1.jpg']);
  });
});
