import { PartlensError } from '../../errors.js';

/** An element of an XML text with what is in it; text between elements is left out. */
export interface XmlElement {
  name: string;
  attributes: Readonly<Record<string, string>>;
  children: XmlElement[];
  /** From 1. */
  line: number;
}

const TOKEN =
  /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<!DOCTYPE[^[>]*(?:\[[^\]]*\])?[^>]*>|<(\/?)([^\s<>/="']+)((?:\s+[^\s<>/="']+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|</g;
const ATTRIBUTE = /([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const ENTITIES: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

/**
 * Elements and attributes of a well-formed XML text; entities of the text's own are left as they stand. Throws
 * `E_FILE` with the line for a tag that cannot be read or is not closed in order.
 */
export function parseXml(text: string, path: string): XmlElement {
  const root: XmlElement = { name: '', attributes: {}, children: [], line: 1 };
  const open = [root];
  let [line, counted] = [1, 0];
  for (const token of text.matchAll(TOKEN)) {
    line += text.slice(counted, token.index).split('\n').length - 1;
    counted = token.index;
    const [whole, closing, name, attributes = '', empty] = token;
    const parent = open.at(-1) ?? root;
    const bad = (what: string): PartlensError =>
      new PartlensError('E_FILE', `${path}, line ${String(line)}: ${what}.`);
    if (whole === '<') throw bad('no XML: a tag that cannot be read');
    if (name === undefined) continue;
    if (closing) {
      if (parent === root || parent.name !== name) throw bad(`</${name}> closes nothing`);
      open.pop();
      continue;
    }
    const element = { name, attributes: attributesOf(attributes), children: [], line };
    parent.children.push(element);
    if (!empty) open.push(element);
  }
  const last = open.at(-1);
  const [first] = root.children;
  if (!first || (last && last !== root)) {
    const what = last && last !== root ? `<${last.name}> is not closed` : 'no XML element';
    throw new PartlensError('E_FILE', `${path}, line ${String(last?.line ?? 1)}: ${what}.`);
  }
  return first;
}

function attributesOf(text: string): Record<string, string> {
  const pairs = Array.from(text.matchAll(ATTRIBUTE), ([, name = '', double, single]) => [
    name,
    decode(double ?? single ?? ''),
  ]);
  return Object.fromEntries(pairs) as Record<string, string>;
}

function decode(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w+));/gi, (whole, hex, ten, name) => {
    if (typeof name === 'string') return ENTITIES[name] ?? whole;
    const code = typeof hex === 'string' ? parseInt(hex, 16) : Number(ten);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
