import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { Page } from 'playwright-core';
import { runDemo } from '../../lib/demo/demo.js';
import type { ReportData } from '../../lib/report/data.js';
import { htmlPage, loadPage } from '../../lib/report/html.js';
import { writeReport } from '../../lib/report/report.js';
import { temporaryFolder } from '../data/temporary.js';
import { tinyPerformer, withExplainer, writeTiny } from '../explainer/tiny.js';
import { browserTests, type WatchedPage } from './chromium.js';
import { madeUpReport } from './report_data.js';

const EVIL = '<img src=x onerror=alert(1)>';

/** Screenshots go here if the variable is set: to be looked at, and for docs/. */
const SHOTS = process.env['PARTLENS_SCREENSHOTS'];

async function shoot(page: Page, name: string): Promise<void> {
  const image = await page.screenshot();
  expect(image.length, 'bytes of the screenshot').to.be.greaterThan(20_000);
  if (SHOTS === undefined) return;
  await mkdir(SHOTS, { recursive: true });
  await writeFile(join(SHOTS, `${name}.png`), image);
}

/** Numbers of the filters whose cards are drawn, top down. */
async function cards(page: Page): Promise<number[]> {
  const texts = await page.locator('.card h3').allTextContents();
  return texts.map((text) => Number(text.replace('filter ', '')));
}

function quiet({ complaints, requests }: WatchedPage): void {
  expect(complaints, 'console').to.deep.equal([]);
  expect(requests, 'requests').to.deep.equal([]);
}

describe('report: in a browser, of the demo', () => {
  const open = browserTests();
  const folder = temporaryFolder();

  it('shows, sorts, searches, zooms; wide and on a phone, light and dark', async () => {
    const { report } = await runDemo({
      ...{ out: join(folder(), 'demo'), images: 200, cnnEpochs: 1, epochs: 1, seed: 2 },
      ...{ backend: 'cpu', threads: 2 },
    });
    expect((await stat(report)).size).to.be.below(15e6);
    const url = pathToFileURL(report).href;
    const wide = await open(url, { width: 1280 });
    await overview(wide.page);
    await atAGlance(wide.page);
    await gallery(wide.page);
    await charts(wide.page);
    await matrix(wide.page);
    await viewer(wide.page);
    quiet(wide);
    const phone = await open(url, { width: 390, dark: true });
    await phone.page.locator('.place, .card').first().scrollIntoViewIfNeeded();
    await phone.page.locator('.card .picture').first().scrollIntoViewIfNeeded();
    const tooWide = await phone.page.evaluate('document.documentElement.scrollWidth - innerWidth');
    expect(tooWide, 'pixels beyond the right edge').to.equal(0);
    await shoot(phone.page, 'report-390');
    quiet(phone);
  });
});

async function overview(page: Page): Promise<void> {
  expect(await page.locator('h1').textContent()).to.equal('Parts of conv4_relu in bird_cnn.onnx');
  const values = await page.locator('.tile .value').allTextContents();
  expect(values).to.have.length(5);
  expect(values[0]).to.match(/^0\.\d{3} → 0\.\d{3}$/);
  expect(values[1]).to.match(/^(–|-?\d+ %)$/);
  expect(values[3]).to.match(/^\d+ of 30$/);
  expect(values[4]).to.match(/^-?\d+\.\d{3} ± \d+\.\d{3}$/);
  expect(await page.locator('.tile [role=note]').textContent()).to.match(
    /^The check (holds|fails)/,
  );
  for (const control of ['best fixed position', 'random positions', 'a random place']) {
    expect(await page.locator('.tiles').textContent()).to.include(control);
  }
  await shoot(page, 'report-1280');
  const scores = page.locator('#comparison');
  expect(await scores.locator('summary').textContent()).to.match(/a fixed point (0\.000|–)\.$/);
  await scores.locator('summary').click();
  expect(await scores.locator('tbody tr').count()).to.equal(12);
  await shoot(page, 'report-scores');
  await scores.locator('summary').click();
}

/** The first pictures lead to the card of their filter; the sticky line stays above the tables. */
async function atAGlance(page: Page): Promise<void> {
  const first = page.locator('.glance').first();
  expect(await first.locator('img').count()).to.equal(4);
  const title = await first.getAttribute('title');
  const number = title?.replace('show filter ', '') ?? '';
  await first.focus();
  await page.keyboard.press('Enter');
  await page.locator(`#explainer-${number} h3`).waitFor();
  const focused = 'document.activeElement.id';
  expect(await page.evaluate(focused)).to.equal(`explainer-${number}`);
  await page.locator('.matrix').first().scrollIntoViewIfNeeded();
  for (const name of ['Classes', 'Duplicates', 'Filters']) {
    await page.locator('nav').getByText(name).click();
    const expression = `document.getElementById('${name.toLowerCase()}').getBoundingClientRect().top`;
    await until(`${name} at the top`, async () => {
      const top = await page.evaluate<number>(expression);
      return top > -2 && top < 80;
    });
  }
}

async function gallery(page: Page): Promise<void> {
  await page.getByLabel('duplicates', { exact: true }).check();
  const picture = page.locator('.card img').first();
  await picture.scrollIntoViewIfNeeded();
  expect(await picture.evaluate((img: { naturalWidth: number }) => img.naturalWidth)).to.equal(224);
  const first = page.locator('.card').first();
  expect(await first.locator('> .strip .picture').count()).to.equal(8);
  expect(await first.locator('.nearest .picture').count()).to.equal(8);
  await shoot(page, 'filters-1280');
  expect(await page.locator('.status').textContent()).to.match(/^64 of 64 filters/);

  const stable = await first.locator('dd').first().textContent();
  await page.getByLabel('sort by', { exact: true }).selectOption('number');
  await page.locator('.card').first().waitFor();
  expect((await cards(page)).slice(0, 3)).to.deep.equal([0, 1, 2]);
  await page.getByLabel('sort by', { exact: true }).selectOption('stability');
  expect(await first.locator('dd').first().textContent()).to.equal(stable);

  await page.locator('#filters-title').click(); // away from the select
  await page.keyboard.press('/');
  await page.keyboard.type('17');
  await page.locator('#explainer-17 h3').waitFor();
  expect(await cards(page)).to.deep.equal([17]);
  await page.getByLabel('search').fill('no such thing');
  expect(await page.locator('.status').textContent()).to.match(/^None of 64 filters/);
  await page.getByLabel('search').fill('');
  await choosesParts(page);
  await page.getByLabel('filters of').selectOption('performer');
  await page.locator('.card.performer').first().waitFor();
  await page.getByLabel('filters of').selectOption('explainer');
}

/** Filters of one part alone; so small a run may bear out no name, and offers none then. */
async function choosesParts(page: Page): Promise<void> {
  const control = page.getByLabel('part', { exact: true });
  const data = await page.locator('#data').textContent();
  const { explainer } = JSON.parse(data ?? '') as ReportData;
  if (explainer.every(({ part }) => part === undefined)) {
    expect(await control.count()).to.equal(0);
    return;
  }
  await control.selectOption({ index: 1 });
  const part = await control.inputValue();
  await page.locator('.card .part').first().waitFor();
  for (const text of await page.locator('.card .part').allTextContents()) {
    expect(text.replace(/^near | of .+$/g, '')).to.equal(part);
  }
}

async function charts(page: Page): Promise<void> {
  const figure = page.locator('figure').first();
  await figure.scrollIntoViewIfNeeded();
  const drawn = (): Promise<string> =>
    figure
      .locator('canvas')
      .evaluate((canvas) => (canvas as unknown as { toDataURL(): string }).toDataURL());
  let whole = '';
  await until('it stands still', async () => whole === (whole = await drawn()));
  await figure.getByText('zoom in').click();
  await figure.getByText('zoom in').click();
  await until('zooming changes the chart', async () => whole !== (await drawn()));
  await figure.getByText('show all').click();
  await until('all of it is there again', async () => whole === (await drawn()));
}

/** Waits for a condition: a page draws when it has the time. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!(await holds())) {
    if (Date.now() > deadline) expect.fail(`not so after 5 s: ${what}`);
    await sleep(50);
  }
}

async function matrix(page: Page): Promise<void> {
  const table = page.locator('.matrix').first();
  expect(await table.locator('tbody th').allTextContents()).to.include('ordinary track');
  await table.locator('thead button').first().click();
  const column = await table.locator('tbody td:nth-child(2)').allTextContents();
  const numbers = column.map(Number);
  expect(numbers).to.deep.equal([...numbers].sort((a, b) => b - a));
}

async function viewer(page: Page): Promise<void> {
  const dialog = page.locator('dialog');
  await page.locator('.card .picture').first().click();
  expect(await dialog.locator('p').textContent()).to.match(/1 of 8: \w+\/\d+\.png, activation /);
  await page.keyboard.press('ArrowRight');
  expect(await dialog.locator('p').textContent()).to.match(/2 of 8: /);
  await page.keyboard.press('Escape');
  expect(await dialog.isVisible()).to.equal(false);
}

describe('report: in a browser, with hostile and with large data', () => {
  const open = browserTests();
  const folder = temporaryFolder();

  it('a class called <img onerror=...> is shown as text and runs nothing', async () => {
    const { model, images, landmarks } = await writeTiny(folder());
    await rename(join(images, 'dark'), join(images, EVIL));
    const hostile = join(folder(), '<b>&quot;run');
    using performer = await tinyPerformer(model);
    await withExplainer({ performer, images, out: hostile }, async (explainer) => {
      await writeFile(landmarks, `image,category,part,y,x\n${marks(images)}`);
      const { path } = await writeReport(explainer, { landmarks });
      const watched = await open(pathToFileURL(path).href, { width: 1280 });
      const { page } = watched;
      await page.locator('#filters-title').scrollIntoViewIfNeeded();
      await page.locator('.card').first().waitFor();
      expect(await page.getByLabel('strongest in').textContent()).to.include(EVIL);
      expect(await page.locator('img[src="x"], b').count()).to.equal(0);
      await page.locator('summary').first().click();
      quiet(watched);
    });
  });

  it('512 filters on 4000 pictures are drawn in 20 seconds, to the last one', async () => {
    const data = await madeUpReport(512, 4000);
    const path = join(folder(), 'large.html');
    await writeFile(path, htmlPage(await loadPage('report'), { title: 'large', data }));
    expect((await stat(path)).size).to.be.below(15e6);
    const started = performance.now();
    const watched = await open(pathToFileURL(path).href, { width: 390 });
    const { page } = watched;
    for (let drawn = 0; drawn < 512;) {
      await page.evaluate(
        "document.querySelector('.place')?.scrollIntoView({ behavior: 'instant' })",
      );
      await page.waitForTimeout(5);
      drawn = await page.locator('.card').count();
      expect(performance.now() - started, `ms for ${drawn} cards`).to.be.below(20_000);
    }
    await page.locator('.card .picture img').last().scrollIntoViewIfNeeded();
    quiet(watched);
  });
});

/** Landmarks whose names are markup. */
function marks(images: string): string {
  const lines = Array.from({ length: 20 }, (_, n) => {
    const image = `${n % 2 ? EVIL : 'bright'}/${String(n).padStart(3, '0')}.png`;
    return `"${image}","${EVIL}","<script>alert(2)</script>",${String(5 + (n % 7))},${String(4 + (n % 9))}`;
  });
  expect(images).to.be.a('string');
  return `${lines.join('\n')}\n`;
}
