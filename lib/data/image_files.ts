import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { expected } from '../errors.js';
import { fileError } from './file_error.js';

/** An image of a folder tree. */
export interface ImageFile {
  /** Path relative to the folder that was listed, with `/`: identifies the image. */
  path: string;
  /** Real path, absolute, without symbolic links. */
  file: string;
  /** Name of the folder that holds the image; of the folder above where that is called `images` or the like. */
  className: string;
}

/** A file that was left out. */
export interface SkippedFile {
  /** Path relative to the folder that was listed. */
  file: string;
  reason: string;
}

export interface ImageList {
  /** Absolute path of the folder. */
  root: string;
  /** Sorted by path (code units). */
  images: ImageFile[];
  /** Names of the classes, sorted. */
  classes: string[];
  /** Files that are there but cannot be taken, such as broken links. */
  skipped: SkippedFile[];
  /** Number of visible files that are no images by their name. */
  others: number;
  /** Number of image files of formats that are not read, by extension (`.bmp`). */
  unread: Record<string, number>;
}

/** Extensions of the formats that are read. */
const EXTENSIONS = new Set('.jpg .jpeg .jpe .jfif .png .webp .tif .tiff .avif .gif'.split(' '));
/** Extensions of images that the decoder cannot read. */
const UNREAD = new Set(
  (
    '.bmp .dib .heic .heif .hif .jxl .jp2 .j2k .jpx .svg .ppm .pgm .pbm .pnm .tga .psd .exr .hdr .pcx .ico ' +
    '.dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .dcm'
  ).split(' '),
);
/** The formats that are read, in words. */
export const FORMATS = 'JPEG, PNG, WebP, TIFF, AVIF and GIF';
/** Folders between a class and its images that are no class: `n01443537/images/*.JPEG`. */
const BETWEEN = /^(images?|imgs?|photos?|pictures?|jpegimages)$/i;

/**
 * Lists the JPEG, PNG, WebP, TIFF, AVIF and GIF files (by extension) below a folder, sorted, so that the same
 * files give the same list anywhere. The class of an image is the name of the folder that holds it, or of the
 * folder above that where it is called `images`, `photos` or the like: a folder without sub-folders is one
 * class. Names that begin with a dot are ignored; links are followed, and
 * each real folder and each real file is taken once. Throws `E_FILE` when the folder cannot be read.
 */
export async function listImages(folder: string): Promise<ImageList> {
  const root = resolve(folder);
  const list: ImageList = { root, images: [], classes: [], skipped: [], others: 0, unread: {} };
  const seen = new Set<string>();
  let real: string;
  try {
    real = await realpath(root);
    if (!(await stat(real)).isDirectory())
      throw expected('a folder', 'images', folder, { code: 'E_FILE' });
    await walk({ list, seen, real, path: '', className: basename(root) });
  } catch (cause) {
    throw fileError('read', folder, cause);
  }
  list.images.sort((a, b) => compare(a.path, b.path));
  list.classes = [...new Set(list.images.map(({ className }) => className))].sort(compare);
  return list;
}

/** What a listing left out, in sentences: formats that are not read, and files that cannot be taken. */
export function listNotices({ root, unread, skipped }: ImageList): string[] {
  const counts = Object.entries(unread).sort(([a], [b]) => compare(a, b));
  const all = counts.reduce((sum, [, count]) => sum + count, 0);
  const named = counts.map(([extension, count]) => `${String(count)} ${extension}`).join(', ');
  const formats =
    all > 0 ? [`${root}: ${String(all)} image files are not read: ${named}; ${FORMATS} are`] : [];
  const [first] = skipped;
  if (!first) return formats;
  const text = `${root}: ${String(skipped.length)} files are left out, first ${first.file}: ${first.reason}`;
  return [...formats, text];
}

/**
 * Photographs, or folders of them, in the order given, as one list. A file is taken whatever its name.
 * Throws `E_FILE` for what is not there.
 */
export async function imageFiles(paths: readonly string[]): Promise<ImageFile[]> {
  const lists = paths.map(async (path): Promise<ImageFile[]> => {
    const found = await stat(path).catch((cause: unknown) => {
      throw fileError('read', path, cause);
    });
    if (!found.isDirectory()) {
      return [{ path, file: path, className: basename(dirname(path)) }];
    }
    const { root, images } = await listImages(path);
    return images.map((image) => ({ ...image, path: `${root}/${image.path}` }));
  });
  return (await Promise.all(lists)).flat();
}

interface Walk {
  list: ImageList;
  /** Real paths of folders and images met so far. */
  seen: Set<string>;
  /** Real path of the folder. */
  real: string;
  /** Path of the folder relative to the root. */
  path: string;
  className: string;
}

async function walk({ list, seen, real, path, className }: Walk): Promise<void> {
  seen.add(real);
  const entries = await readdir(real, { withFileTypes: true });
  entries.sort((a, b) => compare(a.name, b.name));
  const folders: Walk[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue;
    const child = path === '' ? entry.name : `${path}/${entry.name}`;
    let file = join(real, entry.name);
    let kind = kindOf(entry);
    if (entry.isSymbolicLink()) {
      try {
        file = await realpath(file);
        kind = kindOf(await stat(file));
      } catch {
        list.skipped.push({ file: child, reason: 'a link that leads nowhere' });
        continue;
      }
    }
    const extension = extname(entry.name).toLowerCase();
    if (kind === 'folder') {
      const name = BETWEEN.test(entry.name) ? className : entry.name;
      folders.push({ list, seen, real: file, path: child, className: name });
    } else if (kind === 'file' && UNREAD.has(extension)) {
      list.unread[extension] = (list.unread[extension] ?? 0) + 1;
    } else if (kind === 'other' || !EXTENSIONS.has(extension)) {
      list.others++;
    } else if (seen.has(file)) {
      list.skipped.push({ file: child, reason: 'the same file under another name' });
    } else {
      seen.add(file);
      list.images.push({ path: child, file, className });
    }
  }
  for (const next of folders) await enter(next);
}

async function enter(next: Walk): Promise<void> {
  if (next.seen.has(next.real)) return;
  try {
    await walk(next);
  } catch (cause) {
    next.list.skipped.push({
      file: next.path,
      reason: fileError('read', next.path, cause).message,
    });
  }
}

function kindOf(entry: { isDirectory(): boolean; isFile(): boolean }): 'folder' | 'file' | 'other' {
  if (entry.isDirectory()) return 'folder';
  return entry.isFile() ? 'file' : 'other';
}

/** By code units, independent of the machine's language. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
