import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { writeFileAtomic, writeTextAtomic } from '../data/atomic.js';
import { fileError } from '../data/file_error.js';
import { listImages } from '../data/images.js';
import { expected, PartlensError } from '../errors.js';
import { explanationJson } from '../explain/explanation.js';
import { indexPage, isMistake, type ExplainedPhotograph } from '../explain/index_page.js';
import { explanationPage } from '../explain/page.js';
import { printable } from '../explain/markup.js';
import { drawExplanation } from '../explain/picture.js';
import { loadExplainer, type Explainer } from '../explainer.js';
import {
  addDeviceFlags,
  addRuntimeFlag,
  performerOptions,
  positiveInteger,
  type PerformerFlags,
} from './flags.js';
import { withInterrupt } from './interrupt.js';
import { ProgressLine } from './progress.js';
import { showExplanation } from './show_explanation.js';
import { print, printJson } from './terminal.js';

interface ExplainFlags extends PerformerFlags {
  class?: string;
  versus?: string;
  top: number;
  out?: string;
  html?: string;
  png?: string;
  json?: boolean;
}

export function explainCommand(): Command {
  const command = new Command('explain')
    .description('Tell which regions of a photograph mattered for the prediction, and by how much.')
    .argument('<run>', 'run folder of train')
    .argument('<images...>', 'photographs (JPEG, PNG, WebP, TIFF, AVIF, GIF), or folders of them')
    .option('--class <name>', 'class to explain, name or number (default: the predicted one)')
    .option('--versus <name>', 'class to compare with: what speaks for the one and not the other')
    .option('--top <count>', 'regions to list', positiveInteger, 10)
    .option('--out <folder>', 'write a page for each photograph and an index of all')
    .option('--html <file>', 'write a page that needs nothing else (one photograph)')
    .option('--png <file>', 'write a picture (one photograph)')
    .option('--json', 'print one JSON object; of several photographs a list of them')
    .addHelpText(
      'after',
      '\nExamples:\n  partlens explain run/ photos/dog/1.jpg --html dog.html' +
        '\n  partlens explain run/ photos/ --out pages/',
    );
  return addDeviceFlags(addRuntimeFlag(command)).action(explain);
}

/** A photograph that is to be explained. */
interface Photograph {
  /** Its name in the index. */
  name: string;
  file: string;
  /** Name of its folder. */
  folder: string;
}

async function explain(run: string, images: string[], flags: ExplainFlags): Promise<void> {
  const line = new ProgressLine();
  const photographs = await photographsOf(images);
  const one = photographs.length === 1 && flags.out === undefined;
  if (!one && (flags.html ?? flags.png) !== undefined) {
    const what = 'one photograph, or --out FOLDER,';
    throw expected(what, 'images with --html or --png', photographs.length, { op: 'explain' });
  }
  const onWarning = (text: string): void => line.note(`warning: ${text}`);
  const explainer = await loadExplainer(run, { ...performerOptions(flags), onWarning });
  try {
    const found = await withInterrupt(
      (signal) => explainAll(explainer, photographs, { flags, line, signal, alone: one }),
      () => line.note('stopping'),
    );
    line.clear();
    const [first] = found;
    if (one && first) await writeOne(first, flags);
    else if (flags.out !== undefined) await writePages(found, flags.out);
    if (flags.json) printJson(asJson(found, flags, one));
    else print(shown(found, flags, one));
  } finally {
    line.clear();
    explainer.dispose();
  }
}

/** Every photograph that is named, and those of every folder. Throws `E_FILE`. */
async function photographsOf(paths: readonly string[]): Promise<Photograph[]> {
  const found: Photograph[] = [];
  for (const path of paths) {
    const isFolder = await stat(path).then(
      (entry) => entry.isDirectory(),
      () => false, // what is gone is told when it is read
    );
    if (!isFolder) {
      found.push({ name: basename(path), file: path, folder: basename(dirname(resolve(path))) });
      continue;
    }
    const { images } = await listImages(path);
    found.push(
      ...images.map(({ path: name, file, className }) => ({ name, file, folder: className })),
    );
  }
  if (found.length > 0) return found;
  throw expected('photographs', 'images', 'none', { code: 'E_FILE', op: 'explain' });
}

interface Work {
  flags: ExplainFlags;
  line: ProgressLine;
  signal: AbortSignal;
  /** One photograph: what goes wrong is an error; of several a warning. */
  alone: boolean;
}

async function explainAll(
  explainer: Explainer,
  photographs: readonly Photograph[],
  { flags, line, signal, alone }: Work,
): Promise<ExplainedPhotograph[]> {
  const { classes } = explainer.performer;
  const found: ExplainedPhotograph[] = [];
  const pages = new Set(['index.html']);
  for (const [n, { name, file, folder }] of photographs.entries()) {
    line.show(`explaining ${String(n + 1)}/${String(photographs.length)}  ${printable(name)}`);
    const truth = classes?.includes(folder) ? folder : undefined;
    try {
      const explanation = await explainer.explain(file, {
        class: classOf(flags.class, classes),
        versus: classOf(flags.versus, classes),
        ...{ truth, signal },
        onWarning: (text) => line.note(`warning: ${alone ? '' : `${printable(name)}: `}${text}`),
      });
      found.push({ name, image: file, page: pageName(name, pages), truth, explanation });
    } catch (error) {
      if (alone || !(error instanceof PartlensError) || error.code !== 'E_FILE') throw error;
      line.note(`warning: ${error.message}`);
    }
  }
  if (found.length > 0) return found;
  throw expected('a photograph that can be read', 'images', 'none', { code: 'E_FILE' });
}

/** A file name of its own for a page. */
function pageName(name: string, taken: Set<string>): string {
  const stem = name.replaceAll(/[^\w.-]+/g, '_').replace(/^\.+/, '_');
  let page = `${stem}.html`;
  for (let n = 2; taken.has(page.toLowerCase()); n++) page = `${stem}-${String(n)}.html`;
  taken.add(page.toLowerCase());
  return page;
}

async function writeOne(
  { image, explanation }: ExplainedPhotograph,
  { html, png }: ExplainFlags,
): Promise<void> {
  if (png !== undefined) await writeFileAtomic(png, await drawExplanation(explanation, image));
  if (html !== undefined) await writeTextAtomic(html, await explanationPage(explanation, image));
}

async function writePages(found: readonly ExplainedPhotograph[], out: string): Promise<void> {
  await mkdir(out, { recursive: true }).catch((cause: unknown) => {
    throw fileError('write', out, cause);
  });
  for (const { image, page, explanation } of found) {
    await writeTextAtomic(join(out, page), await explanationPage(explanation, image));
  }
  await writeTextAtomic(join(out, 'index.html'), await indexPage(found));
}

/** One photograph as an object, several as a list. */
function asJson(found: readonly ExplainedPhotograph[], flags: ExplainFlags, one: boolean): unknown {
  const json = ({ truth, page, explanation }: ExplainedPhotograph): Record<string, unknown> => ({
    ...explanationJson(explanation),
    ...(one ? {} : { truth: truth ?? null, page: flags.out === undefined ? null : page }),
  });
  const [first] = found;
  return one && first ? json(first) : found.map(json);
}

/** One explanation, or a list of sentences. */
function shown(found: readonly ExplainedPhotograph[], flags: ExplainFlags, one: boolean): string {
  const [first] = found;
  if (one && first) return showExplanation(first.explanation, flags.top);
  const wrong = found.filter(isMistake);
  const sentence = ({ name, explanation }: ExplainedPhotograph): string =>
    printable(`${name}: ${explanation.sentence}`);
  return [
    ...found.filter((other) => !isMistake(other)).map(sentence),
    ...(wrong.length > 0 ? ['', "The CNN's mistakes, against the class of the folder:"] : []),
    ...wrong.map(sentence),
    '',
    `${String(found.length)} explained, ${String(wrong.length)} mistakes of the CNN` +
      (flags.out === undefined ? '' : `; index ${join(flags.out, 'index.html')}`),
  ].join('\n');
}

/** A class as the library takes it: its name, or its number where no class has this name. */
function classOf(
  text: string | undefined,
  classes: readonly string[] | undefined,
): string | number | undefined {
  const isNumber = text !== undefined && /^\d+$/.test(text) && !classes?.includes(text);
  return isNumber ? Number(text) : text;
}
