import { loadSharp } from '../data/decode.js';
import { fileError } from '../data/file_error.js';
import type { Explanation } from './explanation.js';
import { shortText } from './markup.js';
import { colourOf, drawnGroups, labelOf, partOverlay } from './overlay.js';

/** Longer side of the drawn photograph, and width of the text beside it, pixels. */
const [PHOTO, PANEL] = [640, 420];

/**
 * A PNG of an explanation: the photograph with the first five groups of parts on it, and beside it the
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
  const canvas = { width: size.width + PANEL, height: Math.max(size.height, 420) };
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

/** The first groups of parts on the photograph, the largest value on top, in pixels of the photograph. */
export function overlays(explanation: Explanation, line: number): string {
  const drawn = drawnGroups(explanation).map(({ part }, i) => {
    return partOverlay(part, explanation.frame, { colour: colourOf(i), line });
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
  const { prediction, rebuilt, explained, unit, tracks, control, share } = explanation;
  const drawn = drawnGroups(explanation);
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const rows = [
    ...drawn.map(({ part, others, value }, i) => ({
      name: labelOf(part) + (others > 0 ? ` (+${String(others)} there)` : ''),
      value,
      colour: colourOf(i),
    })),
    { name: 'ordinary track', value: tracks.ordinary, colour: '#888' },
    { name: 'a filter at random, alone', value: control.random, colour: '#bbb' },
  ];
  const most = Math.max(...rows.map(({ value }) => Math.abs(value)), Number.MIN_VALUE);
  const zero = rows.some(({ value }) => value < 0) ? 0.5 : 0;
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
    text(
      96,
      `Shapley values of the ${unit} of ${shortText(explained.name, 16)}, by place`,
      'font-size="13" fill="#444"',
    ),
    ...(Number.isNaN(share)
      ? []
      : [text(113, `${percent(share)} of it through parts`, 'font-size="13" fill="#444"')]),
    ...rows.map((row, i) => bar(row, 140 + 38 * i, { most, zero })),
  ].join('');
}

function text(y: number, content: string, attributes: string): string {
  return `<text y="${String(y)}" ${attributes}>${content}</text>`;
}

/** A labelled bar; `zero`: where its axis stands, as a share of its width; `most`: the longest value. */
function bar(
  { name, value, colour }: { name: string; value: number; colour: string },
  y: number,
  { most, zero }: { most: number; zero: number },
): string {
  const width = 240;
  const [middle, length] = [zero * width, (Math.abs(value) / most) * (1 - zero) * width];
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
