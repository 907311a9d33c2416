import type { Evaluation } from './evaluate.js';
import type { ScoredSets } from './filter_scores.js';
import { occlusionHolds } from './metrics/index.js';
import { SET_WORDS } from './score_words.js';

export type Status = 'good' | 'weak' | 'bad' | 'unknown';

/**
 * Limits of the verdict; docs/verdict.md says why these. `good` and `weak` are the last values that are called
 * so, beyond them it is bad: largest values where small is better (`most`), else least ones.
 */
export const LIMITS = {
  /** Location instability over that of what is compared. */
  ratio: { good: 0.8, weak: 0.999, most: true },
  /** Share of photographs kept out with the CNN's own first class; correlation of an output of one number. */
  agreement: { good: 0.95, weak: 0.85, most: false },
  /** Mean R2 of the parts; that of any point that never moves is 0. */
  r2: { good: 0.3, weak: 0.001, most: false },
  /** Agreement of the parts alone. */
  partsAlone: { good: 0.9, weak: 0.7, most: false },
  /** Relative error of the rebuilt features. */
  error: { good: 0.4, weak: 0.6, most: true },
  /** Half L1 between the probabilities of all classes. */
  allClasses: { good: 0.1, weak: 0.2, most: true },
  /** Share of filters that fire and repeat no other. */
  distinct: { good: 0.5, weak: 0.25, most: false },
  /** Photographs kept out of training; photographs with landmarks. */
  photographs: { good: 100, weak: 30, most: false },
} as const;

/** One sentence, what it says in a word, and the numbers that it rests on. */
export interface Finding {
  topic:
    | 'cnn'
    | 'fixedPoint'
    | 'others'
    | 'decision'
    | 'partsAlone'
    | 'features'
    | 'allClasses'
    | 'distinct'
    | 'occlusion'
    | 'enough';
  status: Status;
  text: string;
  /** Null for what cannot be told. */
  numbers: Record<string, number | null>;
}

/** The worst of what is known; unknown where nothing is. */
export function worst(findings: readonly { status: Status }[]): Status {
  const found = findings.map(({ status }) => status);
  const order = ['bad', 'weak', 'good'] as const;
  return order.find((status) => found.includes(status)) ?? 'unknown';
}

/** A number against its limits. */
function judge(value: number | undefined, limit: keyof typeof LIMITS): Status {
  if (value === undefined || !Number.isFinite(value)) return 'unknown';
  const { good, weak, most } = LIMITS[limit];
  const within = (last: number): boolean => (most ? value <= last : value >= last);
  return within(good) ? 'good' : within(weak) ? 'weak' : 'bad';
}

/** Whether parts are steadier than the CNN's own filters, than a fixed point, than every other set. */
export function steadiness(scored: ScoredSets | undefined): Finding[] {
  if (!scored) return [];
  return [againstPerformer(scored), againstFixedPoint(scored), others(scored)];
}

function againstPerformer({ layer2, performer }: ScoredSets): Finding {
  const ratio = layer2.value / performer.value;
  const status = judge(ratio, 'ratio');
  const text =
    `The parts are ${COMPARED[status]} the CNN's own filters: their location instability is ` +
    `${three(layer2.value)} of the image diagonal, that of the CNN's filters ${three(performer.value)}.`;
  const numbers = {
    parts: finite(layer2.value),
    other: finite(performer.value),
    ratio: finite(ratio),
  };
  return { topic: 'cnn', status, text, numbers };
}

/** By R2, which is 0 for every point that never moves: location instability such a point may win unseen. */
function againstFixedPoint({ layer2 }: ScoredSets): Finding {
  const { mean } = layer2.r2;
  const status = judge(mean, 'r2');
  const text = `The parts ${FOLLOWED[status]}: R2 ${three(mean)} on average, of a point that never moves 0.`;
  return { topic: 'fixedPoint', status, text, numbers: { parts: finite(mean), other: 0 } };
}

const FOLLOWED: Record<Status, string> = {
  good: 'move with the landmarks as no fixed point does',
  weak: 'move with the landmarks a little',
  bad: 'tell no more of where landmarks are than a point that never moves',
  unknown: 'cannot be held against a point that never moves',
};

const COMPARED: Record<Status, string> = {
  good: 'clearly steadier than',
  weak: 'a little steadier than',
  bad: 'not steadier than',
  unknown: 'not comparable with',
};

/** Against every set of maps beside the parts and the CNN's own: two scores, since each can be fooled. */
function others({ layer2, controls, baselines, sources }: ScoredSets): Finding {
  const rivals = Object.entries({ ...controls, ...baselines, ...sources }).filter(
    ([name]) => !name.startsWith('fixedPosition'), // told by itself
  );
  const steadier = rivals.filter(([, { value }]) => layer2.value < value);
  const following = rivals.filter(([, { r2 }]) => layer2.r2.mean > r2.mean);
  const both = steadier.filter((rival) => following.includes(rival));
  const status =
    both.length === rivals.length ? 'good' : both.length * 2 >= rivals.length ? 'weak' : 'bad';
  const unbeaten = rivals.filter((rival) => !both.includes(rival));
  const names = unbeaten.map(([name]) => SET_WORDS[name] ?? name).join(', ');
  const than = Object.keys(baselines).length > 0 ? 'controls and baselines' : 'controls';
  const text =
    `The parts are steadier than ${String(steadier.length)} of ${String(rivals.length)} ${than}, and follow ` +
    `landmarks better (R2) than ${String(following.length)}; ` +
    (unbeaten.length === 0 ? 'none keeps up in either.' : `not better in both: ${names}.`);
  const numbers = {
    sets: rivals.length,
    steadier: steadier.length,
    following: following.length,
    r2: finite(layer2.r2.mean),
  };
  return { topic: 'others', status, text, numbers };
}

/** Whether what the CNN decides goes through the parts. */
export function decision({ head, tracks, p, reconstruction }: Evaluation): Finding[] {
  if (head.images === 0) return [];
  const kept = `${count(head.images, 'photograph')} kept out of training`;
  const one = head.correlation !== undefined;
  const same = head.correlation ?? head.agreement;
  const alone = tracks.agreement.parts;
  const [name, error] = Object.entries(reconstruction).reduce(
    (most, next) => (next[1] > most[1] || Number.isNaN(most[1]) ? next : most),
    ['features', NaN],
  );
  const share =
    `they give ${percent(tracks.share)} of the class score (p = ${p.toFixed(2)} is the parts' share of the rebuilt ` +
    'features, not of the score)';
  const shared = { share: finite(tracks.share), p };
  return [
    {
      topic: 'decision',
      status: judge(same, 'agreement'),
      text: one
        ? `On ${kept}, the rebuilt score correlates with the CNN's own by ${two(same)}.`
        : `On ${kept}, the rebuilt features give the CNN's own class in ${percent(same)}.`,
      numbers: { [one ? 'correlation' : 'agreement']: finite(same), photographs: head.images },
    },
    ...(one
      ? []
      : [
          {
            topic: 'partsAlone',
            status: judge(alone, 'partsAlone'),
            text: `The parts alone give the CNN's own class in ${percent(alone)}; ${share}.`,
            numbers: { agreement: finite(alone), ...shared },
          } as const,
        ]),
    {
      topic: 'features',
      status: judge(error, 'error'),
      text: `The rebuilt features are ${ERRORS[judge(error, 'error')]}: relative error ${two(error)} (${name}).`,
      numbers: { error: finite(error) },
    },
    ...(one
      ? []
      : [
          {
            topic: 'allClasses',
            status: judge(head.halfL1, 'allClasses'),
            text: `Over all classes, ${percent(head.halfL1)} of the probability lies elsewhere than the CNN puts it.`,
            numbers: { halfL1: finite(head.halfL1) },
          } as const,
        ]),
  ];
}

const ERRORS: Record<Status, string> = {
  good: "close to the CNN's",
  weak: 'rough',
  bad: "far from the CNN's",
  unknown: 'not compared',
};

export function distinctParts({ instability, deadFilters }: Evaluation): Finding {
  if (!instability) {
    const text = `${count(deadFilters, 'filter')} never fire; how many repeat each other is told with landmarks.`;
    return { topic: 'distinct', status: 'unknown', text, numbers: { dead: deadFilters } };
  }
  const { peaks, parts } = instability.layer2;
  const { duplicates, covered, landmarks } = parts;
  const distinct = peaks.filters - duplicates - deadFilters;
  const named = instability.names.layer2.filter((of) => of.some(({ at }) => at === 'inside'));
  const text =
    `${String(distinct)} of ${count(peaks.filters, 'filter')} are distinct: ${String(duplicates)} repeat another, ` +
    `${String(deadFilters)} never fire; together they are at ${String(covered.length)} of ` +
    `${count(landmarks.length, 'annotated part')}, and ${String(named.length)} bear the name of a part.`;
  return {
    topic: 'distinct',
    status: judge(distinct / peaks.filters, 'distinct'),
    text,
    numbers: {
      ...{ filters: peaks.filters, distinct, duplicates, dead: deadFilters },
      ...{ covered: covered.length, annotated: landmarks.length, named: named.length },
    },
  };
}

export function occlusion({ occlusion: check }: Evaluation): Finding[] {
  if (!check) return [];
  const holds = occlusionHolds(check);
  const { pairedDifference, standardError } = check;
  const text =
    `Covering the part said to give most lowers the CNN's own score ${holds ? '' : 'not clearly '}more than covering ` +
    `the one said to give least: by ${two(pairedDifference)} +- ${two(standardError)}.`;
  const numbers = {
    pairedDifference: finite(pairedDifference),
    standardError: finite(standardError),
    photographs: check.images,
  };
  return [{ topic: 'occlusion', status: holds ? 'good' : 'weak', text, numbers }];
}

/** Reasons against trusting the rest. */
export function enough({ head, instability, reconstruction, deadFilters }: Evaluation): Finding {
  const error = Math.max(...Object.values(reconstruction).filter(Number.isFinite));
  const { images = 0, parts, peaks } = instability?.layer2 ?? {};
  const repeated = peaks ? ((parts?.duplicates ?? 0) + deadFilters) / peaks.filters : NaN;
  const checks: readonly (readonly [Status, string])[] = [
    [judge(head.images, 'photographs'), `${count(head.images, 'photograph')} kept out are few`],
    ...(instability
      ? [
          [
            judge(images, 'photographs'),
            `${count(images, 'photograph')} with landmarks are few`,
          ] as const,
        ]
      : []),
    [error > LIMITS.error.weak ? 'bad' : 'good', `a relative error of ${two(error)} is above 0.6`],
    [
      repeated > 1 - LIMITS.distinct.good ? 'weak' : 'good',
      `${percent(repeated)} of the filters repeat others or never fire`,
    ],
  ];
  const against = checks.filter(([status]) => status !== 'good');
  const status = worst(checks.map(([one]) => ({ status: one })));
  const text =
    against.length === 0
      ? 'Nothing speaks against trusting these numbers: enough photographs, few repeats, a small error.'
      : `Against trusting these numbers: ${against.map(([, reason]) => reason).join('; ')}.`;
  const numbers = {
    keptOut: head.images,
    annotated: images,
    error: finite(error),
    repeated: finite(repeated),
  };
  return { topic: 'enough', status, text, numbers };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

const two = (value: number): string => (Number.isFinite(value) ? value.toFixed(2) : 'unknown');
const three = (value: number): string => (Number.isFinite(value) ? value.toFixed(3) : 'unknown');
const percent = (value: number): string =>
  Number.isFinite(value) ? `${(100 * value).toFixed(0)} %` : 'an unknown share';

function count(n: number, what: string): string {
  return `${String(n)} ${what}${n === 1 ? '' : 's'}`;
}
