import type { Evaluation } from './evaluate.js';
import type { Finding } from './findings.js';

/** What may help, by the option of a command. */
export interface NextStep {
  /** `train --epochs`. */
  option: string;
  text: string;
}

/** What to try next, by name of the option, from what was found; most useful first. */
export function nextSteps(
  { instability, head, tracks, codes }: Evaluation,
  findings: readonly Finding[],
): NextStep[] {
  const status = (topic: Finding['topic']): Finding['status'] =>
    findings.find((one) => one.topic === topic)?.status ?? 'unknown';
  const short = (...topics: Finding['topic'][]): boolean =>
    topics.some((topic) => ['weak', 'bad'].includes(status(topic)));
  const steps: (NextStep | false)[] = [
    head.images < 30 && {
      option: 'train --images',
      text: 'give more photographs; with fewer than 30 kept out, every share below is a guess',
    },
    !instability && {
      option: 'evaluate --landmarks',
      text: 'give positions of some parts; they tell whether the parts are steady, and name them',
    },
    short('features', 'decision', 'allClasses') && {
      option: 'train --epochs',
      text: 'train longer; features and classes are rebuilt better',
    },
    short('features', 'decision') &&
      status('distinct') === 'good' && {
        option: 'train --filters',
        text: 'more filters; these are distinct and yet do not hold what the CNN needs',
      },
    (short('partsAlone') || tracks.share < 0.7) && {
      option: 'train --ordinary-dropout',
      text: 'a larger share, or --ordinary-channels with fewer; parts have to do without the other track more often',
    },
    short('cnn', 'fixedPoint') && {
      option: 'train --rho',
      text: 'a larger value makes each filter keep to one place; or --layer with a later layer',
    },
    short('distinct') && {
      option: 'train --diversity',
      text: 'a larger value keeps filters apart; or --filters with fewer of them',
    },
    instability !== undefined &&
      Object.keys(codes).length === 0 && {
        option: 'evaluate --baselines',
        text: 'k-means, PCA, NMF and a sparse autoencoder of as many filters show what is easy to have',
      },
    short('occlusion') && {
      option: 'explain --class',
      text: 'look at single photographs before you believe what a part gives',
    },
  ];
  return steps.filter((step) => step !== false);
}
