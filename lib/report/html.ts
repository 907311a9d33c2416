import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { PartlensError } from '../errors.js';

/** Pages that `npm run build` bundles from `lib/report/page/`. */
export type PageName = 'report' | 'live';

export interface Page {
  script: string;
  style: string;
}

/** Script and style of a page. Throws `E_STATE` when they are not built. */
export async function loadPage(name: PageName): Promise<Page> {
  const path = (kind: string): string =>
    fileURLToPath(new URL(`../../dist/page/${name}.${kind}`, import.meta.url));
  try {
    const [script, style] = await Promise.all([
      readFile(path('js'), 'utf8'),
      readFile(path('css'), 'utf8'),
    ]);
    return { script, style };
  } catch (cause) {
    const text = 'The pages of reports are not built.\nIn a clone, run: npm run build';
    throw new PartlensError('E_STATE', text, { cause });
  }
}

/**
 * One self-contained HTML page: style, data and script inside, nothing fetched. A content security policy
 * lets only this script run and, unless `connect` says where to, nothing leave. The data, JSON, may hold
 * any text: it cannot end its element, and the page shows it as text.
 */
export function htmlPage(
  { script, style }: Page,
  { title, data, connect }: { title: string; data: unknown; connect?: 'self' },
): string {
  const code = script.replaceAll('</script', '<\\/script');
  const hash = createHash('sha256').update(code).digest('base64');
  const policy = [
    "default-src 'none'",
    'img-src data:',
    "style-src 'unsafe-inline'",
    `script-src 'sha256-${hash}'`,
    ...(connect ? [`connect-src '${connect}'`] : []),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${policy.join('; ')}">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${style.replaceAll('</style', '<\\/style')}</style>
</head>
<body>
<main id="page"><noscript>This page needs JavaScript: it draws its pictures itself.</noscript></main>
<script type="application/json" id="data">${jsonForHtml(data)}</script>
<script>${code}</script>
</body>
</html>
`;
}

/** Text as it may stand in an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

/** JSON that neither ends a script element nor opens a comment in it. */
export function jsonForHtml(data: unknown): string {
  return JSON.stringify(data).replaceAll('<', '\\u003c');
}
