// The pictures of docs/, of a run of the demo in a browser.
//   npm run screenshots [-- DEMO]        DEMO: folder of a demo that is there already
// Needs Chromium: PARTLENS_CHROMIUM, or where Debian installs it. Two minutes on two cores.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import sharp from 'sharp';
import { root } from './toolchain.mjs';

const COMMAND = join(root, 'bin/partlens.js');
const scratch = await mkdtemp(join(tmpdir(), 'partlens-screenshots-'));
const executablePath = process.env.PARTLENS_CHROMIUM ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
try {
  const demo = process.argv[2] ?? join(scratch, 'demo');
  if (process.argv[2] === undefined) partlens('demo', '--out', demo);
  const report = pathToFileURL(join(demo, 'run/report.html')).href;
  await shoot('report', { url: report, height: 1060 });
  await shoot('report_filters', { url: report, height: 760, at: '#filters .status' });
  await shoot('report_phone', { url: report, width: 390, height: 844, dark: true, at: '.cards' });
  const [first = ''] = await readdir(join(demo, 'birds/jay'));
  const page = join(scratch, 'explain.html');
  partlens('explain', join(demo, 'run'), join(demo, 'birds/jay', first), '--html', page);
  await shoot('explain', { url: pathToFileURL(page).href, height: 900 });
  await live(demo);
} finally {
  await browser.close();
  await rm(scratch, { recursive: true, force: true });
}

function partlens(...args) {
  const { status } = spawnSync(process.execPath, [COMMAND, ...args], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`partlens ${args[0]} ended with ${status}`);
}

/** Trains the demo's explainer once more and looks at its page when most of it is done. */
async function live(demo) {
  const { performer, options } = JSON.parse(await readFile(join(demo, 'run/config.json'), 'utf8'));
  const { layer, targets } = performer;
  const settings = Object.entries(options).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return typeof value === 'boolean' ? [] : [flag, String(value)];
  });
  const files = ['--images', join(demo, 'birds'), '--out', join(scratch, 'run')];
  const model = ['--performer', join(demo, 'bird_cnn.onnx')];
  const cut = ['--layer', layer, '--targets', targets.join(',')];
  const args = ['train', ...model, ...cut, ...files, ...settings, '--serve', '--no-report'];
  const run = spawn(process.execPath, [COMMAND, ...args], { stdio: ['ignore', 'inherit', 'pipe'] });
  try {
    const url = await new Promise((resolve, reject) => {
      let text = '';
      run.stderr.on('data', (part) => {
        text += part;
        const [found] = /http:\S+/.exec(text) ?? [];
        if (found) resolve(found);
      });
      run.once('exit', () => reject(new Error(`no live view: ${text}`)));
    });
    await shoot('live', { url, height: 1000, until: 0.6 });
  } finally {
    run.kill();
  }
}

/** One PNG of few colours, small enough for a repository; `until`: share of a run to wait for. */
async function shoot(name, { url, width = 1280, height, dark = false, at, until }) {
  const colorScheme = dark ? 'dark' : 'light';
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  await page.goto(url);
  while (until && (await shareOf(page)) < until) await page.waitForTimeout(200);
  if (at)
    await page
      .locator(at)
      .first()
      .evaluate((element) => element.scrollIntoView());
  await page.waitForTimeout(1000);
  const path = join(root, 'docs', `${name}.png`);
  const image = sharp(await page.screenshot());
  const { size } = await image.png({ palette: true, quality: 90, effort: 10 }).toFile(path);
  await page.close();
  console.log(`docs/${name}.png  ${(size / 1000).toFixed(0)} kB`);
}

/** Share of the steps that the live page tells of. */
async function shareOf(page) {
  const [, step = 0, steps = 1] = /step (\d+)\/(\d+)/.exec(await page.textContent('header')) ?? [];
  return step / steps;
}
