import type { ReportData } from '../data.js';
import { comparison } from './comparison.js';
import { h } from './dom.js';
import { count, percent, three } from './format.js';
import { verdict } from './verdict.js';

/** One line of a tile: a name, a bar, a number. */
interface Bar {
  name: string;
  /** Length of the bar, 0..1; undefined: none. */
  share?: number | undefined;
  value: string;
  kind?: 'explainer' | 'performer' | 'control';
}

/** What a number needs that is not there. */
const NEEDS_LANDMARKS = ['Needs landmarks: ', 'partlens report --landmarks FILE'] as const;

/** What was explained, and the numbers with their controls. */
export function overview(data: ReportData): HTMLElement {
  const { run, scores } = data;
  const kept = `${count(run.photographs, 'photograph')}, ${String(run.validation)} of them kept out`;
  return h(
    'header',
    { id: 'overview' },
    h('p', { class: 'kicker' }, 'partlens report'),
    h('h1', {}, `Parts of ${run.layer} in ${run.model}`),
    h(
      'p',
      { class: 'note' },
      `${String(data.explainer.length)} part filters rebuild ${run.targets.join(', ')} · ${kept} · ${count(run.steps, 'step')}`,
    ),
    h(
      'p',
      { class: 'lead' },
      `An explainer rewrote the maps of ${run.layer} as part maps. Each of its filters should answer to one part of the object, at the same place in every photograph, and together they should still carry what the network knows.`,
    ),
    verdict(data.verdict),
    h(
      'div',
      { class: 'tiles' },
      instabilityTile(scores.instability),
      shareTile(data),
      agreementTile(scores),
      partsTile(data),
      occlusionTile(scores.occlusion, data.contributions.unit),
    ),
    comparison(data),
  );
}

function instabilityTile(found: ReportData['scores']['instability']): HTMLElement {
  const title = 'Location instability';
  if (!found) {
    return tile(title, '–', NEEDS_LANDMARKS, []);
  }
  const { performer, layer1, layer2, fixedPosition, random, images } = found;
  const longest = Math.max(...[performer, layer2, fixedPosition, random].map((v) => v ?? 0), 1e-9);
  const bar = (name: string, value: number | null, kind: Bar['kind']): Bar => ({
    name,
    share: (value ?? 0) / longest,
    value: three(value),
    kind: kind ?? 'control',
  });
  return tile(
    title,
    `${three(performer)} → ${three(layer2)}`,
    `How far a filter strays from its place on the object, as a fraction of the image diagonal: lower is better. ${count(images, 'photograph')} with landmarks.`,
    [
      bar('performer', performer, 'performer'),
      bar('explainer, first layer', layer1, 'explainer'),
      bar('explainer', layer2, 'explainer'),
      bar('best fixed position', fixedPosition, 'control'),
      bar('random positions', random, 'control'),
    ],
  );
}

function shareTile({ scores, explainer }: ReportData): HTMLElement {
  const { tracks, p } = scores;
  const dead = explainer.filter((filter) => filter.dead).length;
  const of = (share: number | null): number => Math.max(0, share ?? 0);
  return tile(
    'Share through parts',
    percent(tracks.share),
    'Share of the network’s score of its own class that comes through part filters, of photographs kept out (Shapley value of two tracks). The rest takes the ordinary track, which has no parts.',
    [
      {
        name: 'part filters',
        share: of(tracks.share),
        value: three(tracks.share),
        kind: 'explainer',
      },
      { name: 'p, the parts’ share of the rebuilt features', share: p, value: three(p) },
      { name: 'class follows swapped parts', share: of(tracks.swap), value: three(tracks.swap) },
      { name: 'filters that never fire', value: `${String(dead)} of ${String(explainer.length)}` },
    ],
  );
}

/** Whether contributions hold for the network itself. */
function occlusionTile(found: ReportData['scores']['occlusion'], unit: string): HTMLElement {
  const title = 'Contributions against the network';
  if (!found) {
    return tile(title, '–', 'Not checked: no parts, or no photographs were kept out.', []);
  }
  const { largest, smallest, random, energy, randomPlace } = found;
  const values = [largest, smallest, random, energy, randomPlace].map((value) => value ?? 0);
  const longest = Math.max(...values, 1e-9);
  const bar = (name: string, value: number | null, kind: Bar['kind'] = 'control'): Bar => {
    return { name, share: Math.max(0, value ?? 0) / longest, value: three(value), kind };
  };
  const difference = `${three(found.pairedDifference)} ± ${three(found.standardError)}`;
  return tile(
    title,
    difference,
    `Fall of the network’s own ${unit} under a grey square at the part of the largest contribution, beyond that at the smallest: ${count(found.images, 'photograph')} kept out.`,
    [
      bar('largest contribution', largest, 'explainer'),
      bar('smallest', smallest, 'explainer'),
      bar('a filter at random', random),
      bar('peak of the features’ energy', energy),
      bar('a random place', randomPlace),
    ],
    h(
      'p',
      { class: found.holds ? 'note' : 'note failed', attributes: { role: 'note' } },
      found.verdict,
    ),
  );
}

function agreementTile({ head, tracks, reconstruction }: ReportData['scores']): HTMLElement {
  const text =
    head.images === 0
      ? 'No photographs were kept out of training.'
      : `How often the network’s own head says the same class from the rebuilt features, on ${count(head.images, 'photograph')} kept out of training.`;
  const error = (name: string, value: number | null, kind: 'explainer' | 'performer'): Bar => ({
    name,
    share: value ?? 0,
    value: percent(value),
    kind,
  });
  return tile('Agreement of the head', percent(head.agreement), text, [
    { name: 'of the parts alone', value: percent(tracks.parts) },
    { name: 'of the ordinary track alone', value: percent(tracks.ordinary) },
    ...(head.performerError === null
      ? []
      : [
          error('wrong: performer', head.performerError, 'performer'),
          error('wrong: rebuilt', head.explainerError, 'explainer'),
        ]),
    ...reconstruction.map(({ name, error: value }): Bar => ({
      name: `relative error of ${name}`,
      share: Math.min(1, value ?? 0),
      value: three(value),
      kind: 'explainer',
    })),
    { name: 'KL divergence, nats', value: three(head.kl) },
    { name: 'half L1 of all classes', value: three(head.halfL1) },
  ]);
}

function partsTile({ scores, explainer }: ReportData): HTMLElement {
  const { parts } = scores;
  const repeats = explainer.filter(({ duplicateOf }) => duplicateOf !== undefined).length;
  const duplicates: Bar = {
    name: 'duplicates',
    value: `${String(repeats)} of ${String(explainer.length)}`,
  };
  if (!parts) {
    return tile('Parts covered', '–', NEEDS_LANDMARKS, [duplicates]);
  }
  const all = parts.all.length;
  const bar = (name: 'explainer' | 'performer'): Bar => ({
    name,
    share: parts[name].length / all,
    value: String(parts[name].length),
    kind: name,
  });
  const change = (name: string, { performer, explainer: own }: typeof parts.purity): Bar => ({
    name,
    value: `${percent(performer)} → ${percent(own)}`,
  });
  const missing = parts.all.filter((name) => !parts.explainer.includes(name));
  return tile(
    'Parts covered',
    `${String(parts.explainer.length)} of ${String(all)}`,
    'Parts, of one category each, on which at least half of some filter’s peaks lie.',
    [
      bar('explainer'),
      bar('performer'),
      duplicates,
      change('peaks at the filter’s own part', parts.purity),
      change('filters consistently at one part', parts.consistency),
    ],
    missing.length > 0 &&
      h(
        'details',
        {},
        h('summary', {}, `${String(missing.length)} not covered`),
        missing.join(', '),
      ),
  );
}

function tile(
  title: string,
  value: string,
  text: string | readonly [text: string, command: string],
  bars: readonly Bar[],
  more?: Node | false,
): HTMLElement {
  return h(
    'section',
    { class: 'tile' },
    h('h2', {}, title),
    h('p', { class: 'value' }, value),
    typeof text === 'string'
      ? h('p', { class: 'note' }, text)
      : h('p', { class: 'note' }, text[0], h('code', {}, text[1])),
    h(
      'dl',
      { class: 'bars' },
      ...bars.map(({ name, share, value: number, kind = 'control' }) =>
        h(
          'div',
          { class: kind },
          h('dt', {}, name),
          h('dd', {}, number),
          share !== undefined &&
            h('span', { class: 'bar', style: { '--share': String(Math.min(1, share)) } }),
        ),
      ),
    ),
    more ?? false,
  );
}
