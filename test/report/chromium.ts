import { existsSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';

/** Where systems keep a Chromium; playwright-core brings none. */
const PLACES = [
  process.env['PARTLENS_CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Path of a Chromium, or undefined. */
export function findChromium(): string | undefined {
  return PLACES.find((path) => path !== '' && existsSync(path));
}

/** The package that drives it; the offline bundle has none. */
async function loadPlaywright(): Promise<typeof import('playwright-core') | undefined> {
  try {
    return await import('playwright-core');
  } catch {
    return undefined;
  }
}

/** A page, and what happened on it that should not have. */
export interface WatchedPage {
  page: Page;
  /** Errors and warnings of the console, uncaught exceptions, dialogs. */
  complaints: string[];
  /** Addresses that were fetched, but for data: and the page itself. */
  requests: string[];
}

/**
 * One Chromium for the tests of a suite, started before and closed after; where there is none the tests are
 * skipped and say so. Call the result for a page of a width in pixels.
 */
export function browserTests(): (
  url: string,
  options: { width: number; dark?: boolean },
) => Promise<WatchedPage> {
  let browser: Browser | undefined;
  before(async function () {
    const executablePath = findChromium();
    const playwright = await loadPlaywright();
    if (executablePath === undefined || !playwright) {
      const missing = playwright ? 'Chromium (apt-get install chromium)' : 'playwright-core';
      console.log(`      skipped: there is no ${missing}`);
      this.skip();
    }
    browser = await playwright.chromium.launch({ executablePath, args: QUIET });
  });
  after(async () => {
    await browser?.close();
  });
  afterEach(async () => {
    for (const context of browser?.contexts() ?? []) await context.close();
  });
  return async (url, { width, dark = false }) => {
    if (!browser) throw new Error('no browser');
    const page = await browser.newPage({
      viewport: { width, height: width < 500 ? 844 : 900 },
      colorScheme: dark ? 'dark' : 'light',
    });
    page.setDefaultTimeout(10_000);
    const watched: WatchedPage = { page, complaints: [], requests: [] };
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) watched.complaints.push(message.text());
    });
    page.on('pageerror', (error) => watched.complaints.push(error.message));
    page.on('dialog', (dialog) => {
      watched.complaints.push(`dialog ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      const address = request.url();
      if (!address.startsWith('data:') && address !== url) watched.requests.push(address);
    });
    await page.goto(url);
    return watched;
  };
}
