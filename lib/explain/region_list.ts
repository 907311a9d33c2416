import type { ActivePart, Explanation } from './explanation.js';
import { escapeText } from './markup.js';
import { colourOf, labelOfRegion, partOverlay, regionsApart, type DrawnRegion } from './overlay.js';
import { percent, signed, signedBar } from './page_parts.js';
import { scoreInWords } from './sentence.js';

/** Regions with a picture of their own. */
const PICTURES = 12;

/** One row for each region; its filters unfold. */
export function regionList(explanation: Explanation): string {
  const { parts, filters, contrast, shapley } = explanation;
  const regions = regionsApart(explanation);
  const score = escapeText(scoreInWords(explanation));
  const than = contrast ? escapeText(contrast.than.name) : '';
  return [
    `<section><h2>${String(parts.length)} of ${String(filters)} filters answer, in ${String(regions.length)} `,
    `region${regions.length === 1 ? '' : 's'}</h2>`,
    `<p>Filters that peak within one cell of the one that leads are a region; it is switched off as a set. Value: `,
    `what it adds to the ${score}, mean over all orders${shapley.exact ? '' : ' (\u00b1 standard error)'}. `,
    than === '' ? '' : `Rather than ${than}: what it adds to the difference. `,
    'Removed: what is lost without it, all others there. Open a row for its filters.</p>',
    ...regions.map((region) => one(region, explanation)),
    '</section>',
  ].join('');
}

function one(region: DrawnRegion, explanation: Explanation): string {
  const { regions, shapley, frame, parts, contrast, versus } = explanation;
  const { index, value, error, removed, rather } = region;
  const most = Math.max(...regions.map((other) => Math.abs(other.value)), Number.MIN_VALUE);
  const colour = colourOf(index);
  const members = parts.filter((part) => part.region === index);
  const wide = shapley.exact ? '' : ` \u00b1 ${error.toFixed(3)}`;
  const beside =
    contrast && !versus && rather !== undefined
      ? `<small>rather than ${escapeText(contrast.than.name)} ${signed(rather)}</small>`
      : '';
  return [
    `<details class="region"><summary><i class="chip" style="background:${colour}"></i>`,
    `<span class="name">${escapeText(labelOfRegion(region))}</span>`,
    `<b>${signed(value)}${wide}</b>${signedBar(value, most, colour)}`,
    `<small>removed ${signed(removed)}</small>${beside}</summary><div class="inside">`,
    index < PICTURES ? figure(region, { frame, colour }) : '',
    filterTable(members, explanation),
    '</div></details>',
  ].join('');
}

function figure(
  region: DrawnRegion,
  { frame, colour }: { frame: Explanation['frame']; colour: string },
): string {
  const { width, height } = frame;
  const line = Math.max(width, height) / 80;
  const overlay = partOverlay(region.part, frame, { colour, line, field: true });
  return (
    `<figure><svg viewBox="0 0 ${String(width)} ${String(height)}" role="img" ` +
    `aria-label="${escapeText(labelOfRegion(region))}"><use href="#photograph"/>${overlay}</svg>` +
    `<figcaption>filter ${String(region.part.filter)} leads; the contour is at half of its map\u2019s maximum, the ` +
    `dashed box is what its strongest cell sees</figcaption></figure>`
  );
}

function filterTable(members: readonly ActivePart[], { parts }: Explanation): string {
  const most = Math.max(...parts.map(({ alone }) => Math.abs(alone)), Number.MIN_VALUE);
  const row = ({ filter, part, place, strength, alone, removed }: ActivePart): string => {
    const colour = alone < 0 ? 'var(--against)' : 'var(--accent)';
    const known = part
      ? `<td>${escapeText(part.label)}</td><td class="n">${percent(part.purity)} of ${String(part.photographs)}</td>`
      : '<td>\u2013</td><td class="n">\u2013</td>';
    return [
      `<tr><td class="n">${String(filter)}</td><td class="n">${signed(alone)}</td>`,
      `<td class="bar">${signedBar(alone, most, colour)}</td><td class="n">${signed(removed)}</td>${known}`,
      `<td class="n">${strength.toFixed(2)}</td>`,
      `<td class="n">${place.x.toFixed(0)}, ${place.y.toFixed(0)}</td></tr>`,
    ].join('');
  };
  return [
    '<div class="scroll" tabindex="0"><table><thead><tr><th class="n">filter</th>',
    `<th class="n" title="what the filter alone adds to nothing">alone</th><th></th>`,
    '<th class="n" title="what is lost without it and all within one cell">lost around</th><th>part</th>',
    '<th class="n" title="share of the photographs that checked the name">holds in</th>',
    '<th class="n" title="1 is the mean of the training images">strength</th><th class="n">x, y</th>',
    `</tr></thead><tbody>${members.map(row).join('')}</tbody></table></div>`,
  ].join('');
}
