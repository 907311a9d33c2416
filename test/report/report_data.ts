import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import type { FilterFacts, Picture, ReportData } from '../../lib/report/data.js';

/** The data that a written report carries. */
export async function readReport(path: string): Promise<{ html: string; data: ReportData }> {
  const html = await readFile(path, 'utf8');
  const json = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)?.[1] ?? '';
  return { html, data: JSON.parse(json) as ReportData };
}

/** A filter as nothing but its number; the rest may be given. */
export function filter(number: number, facts: Partial<FilterFacts> = {}): FilterFacts {
  return {
    filter: number,
    instability: null,
    category: '',
    part: undefined,
    strength: 1,
    share: 0.5,
    classes: [{ class: 0, activation: 1 }],
    duplicateOf: undefined,
    dead: false,
    nearest: undefined,
    spots: [],
    ...facts,
  };
}

/** A name of a filter as the report has it. */
export function part(name: string, at: 'inside' | 'near' = 'inside'): FilterFacts['part'] {
  return { name, at, purity: 0.9, photographs: 20, label: at === 'near' ? `near ${name}` : name };
}

/** A report of `filters` filters, each on eight of `pictures` pictures of one colour. */
export async function madeUpReport(filters: number, pictures: number): Promise<ReportData> {
  const webp = await sharp({
    create: { width: 96, height: 96, channels: 3, background: '#7a9' },
  })
    .webp()
    .toBuffer();
  const list = Array.from({ length: pictures }, (_, n): Picture => {
    return { image: `class/${String(n)}.png`, class: n % 2, webp: webp.toString('base64') };
  });
  const contour = 'M400 400l200 0 40 60 0 90 -60 60 -180 0 -50 -60z';
  const make = (f: number): FilterFacts =>
    filter(f, {
      instability: 0.02 + 0.0001 * ((f * 7) % filters),
      category: 'dog',
      part: part(f % 2 ? 'head' : 'legs'),
      nearest: { filter: (f * 5) % filters, share: 0.4 },
      spots: Array.from({ length: 8 }, (_, i) => {
        const picture = (f * 8 + i) % pictures;
        return { picture, activation: 8 - i, x: 500, y: 480, contour };
      }),
    });
  const all = Array.from({ length: filters }, (_, f) => make(f));
  const rows = all.map(({ filter: f }) => ({
    kind: 'filter' as const,
    name: `filter ${String(f)}`,
    filters: [f],
    drops: [f / filters, -f / filters],
    spread: [0.5 / filters, 0.5],
  }));
  return {
    run: {
      ...{ version: '1', model: 'net.onnx', layer: 'conv5', targets: ['fc6'] },
      ...{ photographs: pictures, validation: 2, steps: 100 },
    },
    verdict: {
      status: 'weak',
      summary: 'The parts are steady, but they carry the decision in part.',
      findings: [
        { status: 'good', text: 'They are steadier.' },
        { status: 'bad', text: 'They are far off.' },
      ],
      next: [{ option: 'train --epochs', text: 'train longer' }],
    },
    scores: {
      instability: {
        ...{ performer: 0.1, layer1: 0.06, layer2: 0.05, fixedPosition: 0.08, random: 0.15 },
        ...{ images: pictures, landmarks: 2 * pictures },
      },
      p: 0.8,
      tracks: { share: 0.6, parts: 0.7, ordinary: 0.5, swap: 0.65 },
      occlusion: {
        ...{ images: 2, largest: 1.2, smallest: 0.9, random: 1, energy: 1.3, randomPlace: 0.7 },
        ...{ pairedDifference: 0.3, standardError: 0.2, holds: false },
        verdict: 'The check fails: made up.',
      },
      head: {
        ...{ agreement: 0.9, performerError: 0.1, explainerError: 0.12 },
        ...{ kl: 0.1, halfL1: 0.15, images: 2 },
      },
      reconstruction: [{ name: 'fc6', error: 0.3 }],
      parts: {
        ...{ all: ['dog/head', 'dog/legs'], explainer: ['dog/head'], performer: [] },
        purity: { performer: 0.4, explainer: 0.8 },
        consistency: { performer: 0.1, explainer: 0.5 },
      },
    },
    comparison: {
      sets: ['layer2', 'performer', 'untrained', 'energy', 'fixedPositionBest'].map((name, i) => ({
        ...{ name, title: name, location: 0.1, vector: 0.2, r2: 0.1 * i, distinct: 9, above: i },
        ...{ allCategoryRatio: 0.8, served: 1 },
      })),
      fooledBy: [['R2', 'the energy']],
    },
    frame: { height: 224, width: 224, field: [196, 196] },
    pictures: list,
    classes: ['cat', 'dog'],
    explainer: all,
    performer: all.map((one) => ({ ...one, nearest: undefined })),
    contributions: {
      unit: 'logit',
      classes: ['cat', 'dog'].map((name, k) => ({ name, photographs: 12, carried: 1 - k })),
      rows,
    },
    curves: [{ title: 'loss', steps: [1, 2, 3], lines: [{ name: 'fc6', values: [3, 2, 1] }] }],
    configuration: [{ group: 'options', entries: [['seed', '1']] }],
  };
}
