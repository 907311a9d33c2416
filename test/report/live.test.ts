import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { trainExplainer } from '../../lib/explainer.js';
import type { TrainProgress } from '../../lib/explainer/train.js';
import { LiveView } from '../../lib/report/live.js';
import type { LiveData } from '../../lib/report/live_data.js';
import { LiveServer } from '../../lib/report/live_server.js';
import { start, until } from '../cli/run_cli.js';
import { failureOf, names, temporaryFolder } from '../data/temporary.js';
import { QUICK, tinyPerformer, traces, writeTiny, type Tiny } from '../explainer/tiny.js';
import { browserTests } from './chromium.js';

const SHOTS = process.env['PARTLENS_SCREENSHOTS'];
const LONG = { ...QUICK, batch: 2, epochs: 400, checkpointEvery: 1000 } as const;

/** What a page that opens now would see. */
async function look(url: string): Promise<LiveData> {
  const response = await fetch(`${url}events`);
  let text = '';
  for await (const part of response.body ?? []) {
    text += Buffer.from(part as Uint8Array).toString();
    if (text.includes('\n\n')) break;
  }
  return JSON.parse(/^event: all\ndata: (.*)$/m.exec(text)?.[1] ?? '{}') as LiveData;
}

const post = (url: string, command: string): Promise<Response> =>
  fetch(`${url}${command}`, { method: 'POST' });

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Status of a request with these headers; `fetch` would not send another Host. */
function statusOf(url: string, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(url);
    request({ host: '127.0.0.1', port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}

describe('live view: the server', () => {
  it('answers on 127.0.0.1, to who knows the token, from its own page', async () => {
    const asked: string[] = [];
    const server = await LiveServer.start({
      html: '<p>page</p>',
      snapshot: () => ({ state: 'running' }),
      commands: { pause: () => asked.push('pause') },
    });
    try {
      const { url } = server;
      expect(url).to.match(/^http:\/\/127\.0\.0\.1:\d+\/[0-9a-f]{32}\/$/);
      const { pathname, host, origin } = new URL(url);
      const page = await fetch(url);
      expect([page.status, await page.text()]).to.deep.equal([200, '<p>page</p>']);
      expect(await look(url)).to.deep.equal({ state: 'running' });
      expect((await post(url, 'pause')).status).to.equal(204);
      expect(asked).to.deep.equal(['pause']);

      expect((await fetch(origin)).status).to.equal(404);
      expect((await fetch(`${origin}/${'0'.repeat(32)}/`)).status).to.equal(404);
      expect((await fetch(`${url}pause`)).status, 'a command by GET').to.equal(404);
      expect((await post(url, 'toString')).status).to.equal(405);
      expect((await fetch(`${url}events/more`)).status).to.equal(404);
      expect(await statusOf(url, pathname, { host: 'evil.example' })).to.equal(403);
      const foreign = { host, origin: 'http://evil.example' };
      expect(await statusOf(url, pathname, foreign)).to.equal(403);
      expect(await statusOf(url, pathname, { host, origin })).to.equal(200);
      expect(asked).to.deep.equal(['pause']);
    } finally {
      await server.close();
      await server.close();
    }
    expect(await failureOf(fetch(server.url))).to.be.an('error');
  });
});

describe('live view: of a run', () => {
  const folder = temporaryFolder();
  let tiny: Tiny;
  beforeEach(async () => {
    tiny = await writeTiny(folder());
  });

  it('watched, a run has the same bits', async () => {
    using performer = await tinyPerformer(tiny.model);
    const { images } = tiny;
    const view = await LiveView.open({ performer, images, every: 0 });
    const out = (name: string): string => join(folder(), name);
    const steps: number[] = [];
    const { watch } = view;
    const onMaps: typeof watch.onMaps = async (maps) => {
      steps.push(maps.step);
      await watch.onMaps(maps);
    };
    const watched = await trainExplainer({
      ...{ ...QUICK, performer, images, out: out('watched') },
      ...{ watch: { ...watch, onMaps }, signal: view.signal },
      onProgress: (progress) => view.progress(progress, 'status'),
    });
    watched.dispose();
    const data = await look(view.url);
    expect(steps).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(data).to.deep.include({ state: 'running', status: 'status', share: 1 });
    expect(data.pictures).to.have.length(17);
    expect(data.parts.step).to.equal(8);
    expect(data.parts.filters.map(({ filter }) => filter)).to.deep.equal([0, 1, 2, 3, 4, 5]);
    expect(data.curves[0]?.steps).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
    await view.close();
    (await trainExplainer({ ...QUICK, performer, images, out: out('alone') })).dispose();
    expect(await traces(out('watched'))).to.deep.equal(await traces(out('alone')));
  });

  it('pause holds it, go on releases it, stop keeps a checkpoint', async () => {
    using performer = await tinyPerformer(tiny.model);
    const { images } = tiny;
    const paused: string[] = [];
    const view = await LiveView.open({
      ...{ performer, images },
      onPause: (url) => paused.push(url),
    });
    let step = 0;
    const onProgress = (progress: TrainProgress): void => {
      if (progress.phase === 'train') step = progress.step;
      view.progress(progress, 'status');
    };
    const out = join(folder(), 'run');
    const { watch, signal } = view;
    const run = failureOf(
      trainExplainer({ ...LONG, performer, images, out, watch, signal, onProgress }),
    );
    while (step < 5) await sleep(5);
    await post(view.url, 'pause');
    await sleep(200);
    const held = step;
    await sleep(300);
    expect(step, 'steps while it is paused').to.equal(held);
    expect((await look(view.url)).state).to.equal('paused');
    expect(paused).to.deep.equal([view.url]);
    await post(view.url, 'resume');
    while (step < held + 5) await sleep(5);
    await post(view.url, 'pause');
    await sleep(100);
    await post(view.url, 'stop'); // also from a pause
    const error = await run;
    expect(error.message).to.match(/stopped at step \d+ of 6800; a checkpoint is kept/);
    expect(await names(join(out, 'checkpoints'))).to.have.length(1);
    await view.close();
  });

  it('a picture that cannot be read is told, and the run goes on', async () => {
    using performer = await tinyPerformer(tiny.model);
    const view = await LiveView.open({ performer, images: join(folder(), 'none'), every: 0 });
    const { images } = tiny;
    const { watch } = view;
    const out = join(folder(), 'run');
    (await trainExplainer({ ...QUICK, performer, images, out, watch })).dispose();
    expect((await look(view.url)).problem).to.match(/Cannot read .*none/);
    await view.close();
  });

  it('partlens train --serve prints the address; pages that leave change nothing', async () => {
    const cut = ['--layer', 'conv2_relu', '--targets', 'fc1_relu,fc2_relu', '--batch', '2'];
    const running = start([
      ...['train', '--performer', tiny.model, '--images', tiny.images, '--serve', ...cut],
      ...['--out', join(folder(), 'run'), '--epochs', '60', '--backend', 'cpu', '--threads', '1'],
    ]);
    let errors = '';
    running.child.stderr?.on('data', (part: Buffer) => (errors += part.toString()));
    await until(() => errors.includes('/\n'), running);
    const url = /^live view: (http:\S+)$/m.exec(errors)?.[1] ?? '';
    for (let n = 0; n < 5; n++) await look(url);
    await post(url, 'pause');
    await until(() => errors.includes('paused; go on at'), running);
    await post(url, 'resume');
    const { code, stdout } = await running.ended;
    expect(code).to.equal(0);
    expect(stdout).to.match(/run: 1020 steps/);
    expect(await failureOf(fetch(url))).to.be.an('error');
  });
});

describe('live view: in a browser', () => {
  const open = browserTests();
  const folder = temporaryFolder();
  const ended = new AbortController();
  after(() => {
    ended.abort(); // a test that failed leaves a run behind
  });

  it('draws curves and parts while they grow; pauses, goes on, stops', async () => {
    const { model, images } = await writeTiny(folder());
    using performer = await tinyPerformer(model);
    const view = await LiveView.open({ performer, images, every: 100 });
    const { watch, signal } = view;
    const out = join(folder(), 'run');
    const run = failureOf(
      trainExplainer({
        ...{ ...LONG, performer, images, out, watch },
        signal: AbortSignal.any([signal, ended.signal]),
        onProgress: (progress) => view.progress(progress, 'status'),
      }),
    );
    const { page, complaints, requests } = await open(view.url, { width: 1280 });
    const parts = page.locator('.live-parts img');
    await parts.first().waitFor();
    await page.locator('figure canvas').first().waitFor();
    const after = page.getByText(/^After step \d+/);
    const early = await after.textContent();
    await page.getByText(early ?? '', { exact: true }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'pause' }).click();
    await page.getByText('paused: the run waits').waitFor();
    if (SHOTS !== undefined) await writeFile(join(SHOTS, 'live-1280.png'), await page.screenshot());
    await page.getByRole('button', { name: 'go on' }).click();
    await page.getByText('running', { exact: true }).waitFor();

    const phone = await open(view.url, { width: 390, dark: true });
    await phone.page.locator('.live-parts img').first().waitFor();
    const tooWide = await phone.page.evaluate('document.documentElement.scrollWidth - innerWidth');
    expect(tooWide, 'pixels beyond the right edge').to.equal(0);
    await phone.page.close();
    await page.getByRole('button', { name: 'stop' }).click();
    expect((await run).message).to.match(/a checkpoint is kept/);
    await view.close();
    await page.getByText('ended: this page keeps what it last saw').waitFor();
    expect([...complaints, ...phone.complaints]).to.deep.equal([]);
    const known = new Set(['events', 'pause', 'resume', 'stop'].map((name) => view.url + name));
    expect(requests.filter((address) => !known.has(address))).to.deep.equal([]);
  });
});
