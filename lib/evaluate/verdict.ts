import type { Evaluation } from './evaluate.js';
import {
  decision,
  distinctParts,
  enough,
  occlusion,
  steadiness,
  worst,
  type Finding,
  type Status,
} from './findings.js';
import { nextSteps, type NextStep } from './next_steps.js';

/** What an evaluation says in plain sentences. */
export interface Verdict {
  /** The worst of what is known of steadiness and decision. */
  status: Status;
  /** One sentence. */
  summary: string;
  findings: Finding[];
  /** What to try, most useful first. */
  next: NextStep[];
}

/** Plain sentences from the numbers of an evaluation, each with its numbers: docs/verdict.md. */
export function verdictOf(evaluation: Evaluation): Verdict {
  const steady = steadiness(evaluation.instability);
  const carried = decision(evaluation);
  const rest = [distinctParts(evaluation), ...occlusion(evaluation)];
  const trust = enough(evaluation);
  const findings = [...steady, ...carried, ...rest, trust];
  const [parts, carry] = [worst(steady), worst(carried)];
  return {
    status: worst([{ status: parts }, { status: carry }]),
    summary: summaryOf(parts, carry, trust.status),
    findings,
    next: nextSteps(evaluation, findings),
  };
}

/** The verdict as lines of text: summary, one line a finding with its status in front, what to try. */
export function verdictLines({ summary, findings, next }: Verdict): string[] {
  const named = (status: Status): string => `  ${status.padEnd(7)}  `;
  return [
    `Verdict: ${summary}`,
    ...findings.map(({ status, text }) => `${named(status)}${text}`),
    ...next.map(({ option, text }) => `  try ${option}: ${text}`),
  ];
}

const STEADY: Record<Status, string> = {
  good: 'the parts are steadier than all that they are held against',
  weak: 'the parts are steadier than some of what they are held against, not clearly than all',
  bad: 'the parts are not steadier than what they are held against',
  unknown: 'whether the parts are steady cannot be told without landmarks',
};
const CARRY: Record<Status, string> = {
  good: 'they carry the decision',
  weak: 'they carry the decision in part',
  bad: 'they do not carry the decision',
  unknown: 'whether they carry the decision cannot be told without photographs kept out',
};
const TRUST: Record<Status, string> = {
  good: '',
  weak: ' Take the numbers with care, for the reason in the last line of the findings.',
  bad: ' This is not enough to trust the parts: see the last line of the findings.',
  unknown: '',
};

function summaryOf(parts: Status, carry: Status, trust: Status): string {
  const joined = (parts === 'bad') === (carry === 'bad') ? 'and' : 'but';
  const text = `${STEADY[parts]}, ${joined} ${CARRY[carry]}.${TRUST[trust]}`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
