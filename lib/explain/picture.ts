import { loadSharp } from '../data/decode.js';
import { fileError } from '../data/file_error.js';
import type { Explanation } from './explanation.js';
import { shortText } from './markup.js';
import { colourOf, drawnRegions, labelOfRegion, partOverlay } from './overlay.js';
import { scoreInWords } from './sentence.js';

/** Longer side of the drawn photograph, and width of the text beside it, pixels. */
const [PHOTO, PANEL] = [640, 420];

/**
 * A PNG of an explanation: the photograph with the first five regions of parts on it, and beside it the
 * prediction and the Shapley value of each. `image` is what was explained. Throws `E_FILE`.
 */
export async function drawExplanation(
  explanation: Explanation,
  image: string | Uint8Array,
): Promise<Uint8Array> {
  const { width, height } = explanation.frame;
  const scale = PHOTO / Math.max(width, height);
  const side = (length: number): number => Math.max(1, Math.round(length * scale));
  const size = { width: side(width), height: side(height) };
  const canvas = { width: size.width + PANEL, height: Math.max(size.height, 480) };
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${String(canvas.width)}" `,
    `height="${String(canvas.height)}" font-family="sans-serif">`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<svg width="${String(size.width)}" height="${String(size.height)}" `,
    `viewBox="0 0 ${String(width)} ${String(height)}" preserveAspectRatio="none">`,
    `<image width="${String(width)}" height="${String(height)}" preserveAspectRatio="none" `,
    `href="${await photograph(image, size)}"/>`,
    overlays(explanation, 2.5 / scale),
    `</svg><g transform="translate(${String(size.width + 20)} 0)">${panel(explanation)}</g></svg>`,
  ].join('');
  const sharp = await loadSharp();
  return sharp(Buffer.from(svg)).png().toBuffer();
}

/** The regions that matter most on the photograph, the largest value on top, in pixels of the photograph. */
export function overlays(explanation: Explanation, line: number): string {
  const drawn = drawnRegions(explanation).map(({ part, index }) => {
    return partOverlay(part, explanation.frame, { colour: colourOf(index), line });
  });
  return drawn.toReversed().join('');
}

/** The upright photograph as a JPEG of that size, as a data URL. Throws `E_FILE`. */
export async function photograph(
  image: string | Uint8Array,
  { width, height }: { width: number; height: number },
): Promise<string> {
  const sharp = await loadSharp();
  const bytes = await sharp(image, { autoOrient: true, ignoreIcc: true })
    .flatten({ background: '#fff' })
    .resize(width, height, { fit: 'fill' })
    .toColourspace('srgb')
    .jpeg({ quality: 88 })
    .toBuffer()
    .catch((cause: unknown) => {
      throw fileError('read', typeof image === 'string' ? image : 'the image', cause);
    });
  return `data:image/jpeg;base64,${bytes.toString('base64')}`;
}

/** Prediction and contributions as text with bars. */
function panel(explanation: Explanation): string {
  const { prediction, rebuilt, tracks, control, share, sentence } = explanation;
  const drawn = drawnRegions(explanation);
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const rows = [
    ...drawn.map((region) => ({
      name: labelOfRegion(region),
      value: region.value,
      colour: colourOf(region.index),
    })),
    { name: 'ordinary track', value: tracks.ordinary, colour: '#888' },
    { name: 'a filter at random, alone', value: control.random, colour: '#bbb' },
  ];
  const most = Math.max(...rows.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  const differs = prediction.index !== rebuilt.index;
  return [
    text(
      36,
      `${shortText(prediction.name, 24)} ${percent(prediction.probability)}`,
      'font-size="22"',
    ),
    text(
      62,
      `from rebuilt features: ${shortText(rebuilt.name, 18)} ${percent(rebuilt.probability)}`,
      `font-size="15" fill="${differs ? '#b00020' : '#444'}"`,
    ),
    ...wrapped(sentence, 52)
      .slice(0, 3)
      .map((part, i) => text(90 + 18 * i, shortText(part, 56), 'font-size="14" fill="#222"')),
    text(
      150,
      shortText(`Shapley values of the ${scoreInWords(explanation)}`, 60),
      'font-size="13" fill="#444"',
    ),
    ...(Number.isNaN(share)
      ? []
      : [text(167, `${percent(share)} of it through parts`, 'font-size="13" fill="#444"')]),
    ...rows.map((row, i) => bar(row, 194 + 38 * i, most)),
  ].join('');
}

/** Words on lines of so many characters. */
function wrapped(sentence: string, length: number): string[] {
  const lines = [''];
  for (const word of sentence.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + word.length + 1 > length) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}

function text(y: number, content: string, attributes: string): string {
  return `<text y="${String(y)}" ${attributes}>${content}</text>`;
}

/** A labelled bar, from the middle to the right, or to the left below 0; `most`: the longest value. */
function bar(
  { name, value, colour }: { name: string; value: number; colour: string },
  y: number,
  most: number,
): string {
  const width = 240;
  const [middle, length] = [width / 2, ((Math.abs(value) / most) * width) / 2];
  const from = value < 0 ? middle - length : middle;
  return [
    text(y, shortText(name, 46), 'font-size="13" fill="#222"'),
    `<rect x="${from.toFixed(1)}" y="${String(y + 8)}" width="${length.toFixed(1)}" height="12" `,
    `fill="${colour}"/>`,
    `<path d="M${String(middle)} ${String(y + 6)}v16" stroke="#666"/>`,
    `<text x="${String(width + 12)}" y="${String(y + 19)}" font-size="13">`,
    `${value < 0 ? '\u2212' : '+'}${Math.abs(value).toFixed(2)}</text>`,
  ].join('');
}
