import { NOTHING, type Intervention } from '../explainer/interventions.js';
import { deviation, firstClass, mean, scoreOf } from '../evaluate/metrics/index.js';
import type { Performer } from '../performer/index.js';
import type { ContributionRow, Contributions, FilterFacts } from './data.js';
import { finite, significant } from './filters.js';

/** The performer's maps of one photograph, (C, n, m), and what bypasses them. */
export interface SampledFeatures {
  layer: Float32Array;
  bypass: readonly Float32Array[];
}

/**
 * Outputs (sets, classes) of the performer for one photograph, from features that were rebuilt with some
 * maps switched off.
 */
export type SwitchOff = (
  features: SampledFeatures,
  sets: readonly Intervention[],
) => Promise<Float32Array>;

/** Columns of the matrix: the classes with the most photographs. */
const MAX_CLASSES = 40;
/** What was found on the photographs of one class; `drops`: by row, then by photograph. */
interface Measured {
  drops: number[][];
  photographs: number;
  /** Those that keep the class on the parts alone. */
  carried: number;
}

/** A row of the matrix before it is measured. */
type Row = Pick<ContributionRow, 'kind' | 'name' | 'filters'> & Intervention;

/**
 * Measures by intervention what all filters of one part, all part filters together and the ordinary track
 * give to the classes, and each filter alone, added to nothing (removed alone it would say little: the next
 * one takes its place):
 *
 *   drop(row, k) = mean over photographs of class k of  output_k(all) - output_k(row off)
 *   of a filter    output_k(the filter alone) - output_k(no part, no ordinary track)
 *
 * The class of a photograph is the one that the performer's head says of the rebuilt features; the output
 * is the logit, or the logarithm of the probability where the performer ends in a softmax. A class is carried
 * by the parts in so many of its photographs as keep it on the parts alone. `features` are the performer's maps
 * of each photograph.
 */
export async function measureContributions(
  features: readonly SampledFeatures[],
  filters: readonly FilterFacts[],
  {
    performer,
    switchOff,
    signal,
    onProgress,
  }: {
    performer: Performer;
    switchOff: SwitchOff;
    signal?: AbortSignal | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
  },
): Promise<Contributions> {
  const rows = rowsOf(filters);
  const found = new Map<number, Measured>();
  const K = performer.output.size;
  for (const [n, maps] of features.entries()) {
    signal?.throwIfAborted();
    const outputs = await switchOff(maps, [{}, NOTHING, { ordinaryOff: true }, ...rows]);
    const k = firstClass(outputs.subarray(0, K));
    const score = (row: number): number =>
      scoreOf(outputs.subarray(row * K, (row + 1) * K), k, performer.output.softmax);
    const [all, nothing] = [score(0), score(1)];
    const of = found.get(k) ?? { drops: rows.map(() => []), photographs: 0, carried: 0 };
    found.set(k, of);
    of.photographs++;
    if (firstClass(outputs.subarray(2 * K, 3 * K)) === k) of.carried++;
    rows.forEach(({ kind }, r) => {
      const without = score(r + 3);
      of.drops[r]?.push(kind === 'filter' ? without - nothing : all - without);
    });
    onProgress?.(n + 1, features.length);
  }
  const columns = [...found]
    .sort((a, b) => b[1].photographs - a[1].photographs || a[0] - b[0])
    .slice(0, MAX_CLASSES)
    .sort((a, b) => a[0] - b[0]);
  return {
    unit: performer.output.softmax ? 'log probability' : 'logit',
    classes: columns.map(([k, { photographs, carried }]) => ({
      name: performer.classes?.[k] ?? `class ${String(k)}`,
      photographs,
      carried: significant(carried / photographs),
    })),
    rows: rows.map(({ kind, name, filters: own }, r) => ({
      kind,
      name,
      filters: own,
      drops: columns.map(([, { drops }]) => significant(mean(drops[r] ?? []))),
      spread: columns.map(([, { drops }]) => {
        const spread = finite(deviation(drops[r] ?? []));
        return spread === null ? null : significant(spread);
      }),
    })),
  };
}

/**
 * All parts and the ordinary track; the filters of each part, and those that stand for none; each filter
 * that fires.
 */
function rowsOf(filters: readonly FilterFacts[]): Row[] {
  const alive = filters.filter(({ dead }) => !dead);
  const all = alive.map(({ filter }) => filter);
  const parts = new Map<string, number[]>();
  for (const { filter, part } of alive) {
    if (part?.at === 'inside') {
      parts.set(part.name, [...(parts.get(part.name) ?? []), filter]);
    }
  }
  const named = new Set([...parts.values()].flat());
  const others = parts.size > 0 ? all.filter((f) => !named.has(f)) : [];
  return [
    { kind: 'control', name: 'all part filters', filters: all, partsOff: true },
    { kind: 'control', name: 'ordinary track', filters: [], ordinaryOff: true },
    ...[...parts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, own]): Row => ({ kind: 'part', name, filters: own, off: own })),
    ...(others.length > 0
      ? [{ kind: 'part', name: 'no clear part', filters: others, off: others } as const]
      : []),
    ...all.map((f): Row => {
      const off = all.filter((other) => other !== f);
      return { kind: 'filter', name: `filter ${String(f)}`, filters: [f], off, ordinaryOff: true };
    }),
  ];
}
