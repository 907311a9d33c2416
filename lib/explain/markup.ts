/** Control characters, which neither XML nor a terminal should meet; and lone surrogates. */
// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\ufffe\uffff]|\p{Surrogate}/gu;

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text from data on one line: what cannot be printed becomes U+FFFD. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, '\ufffd');
}

/** Text from data as content or attribute value of HTML and SVG. */
export function escapeText(text: string): string {
  return printable(text).replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign);
}

/** Text of at most `length` characters, cut at the end, escaped. */
export function shortText(text: string, length: number): string {
  const characters = Array.from(printable(text));
  const cut = characters.length > length;
  return escapeText(cut ? `${characters.slice(0, length - 1).join('')}\u2026` : text);
}
