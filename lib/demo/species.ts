/** How a species looks. */
export interface Species {
  name: string;
  body: string;
  head: string;
  wing: string;
  tail: string;
  beak: string;
  legs: string;
  /** Length of the beak and of the tail, in body lengths. */
  beakLength: number;
  tailLength: number;
  tailShape: 'fork' | 'fan' | 'point';
  crest: boolean;
}

/** Six species that share bodies in pairs, so that parts tell them apart. */
export const SPECIES: readonly Species[] = [
  {
    name: 'robin',
    body: '#8a6b4e',
    head: '#d2572b',
    wing: '#5f4a37',
    tail: '#5f4a37',
    beak: '#3b3127',
    legs: '#7a4b2a',
    beakLength: 0.2,
    tailLength: 0.42,
    tailShape: 'point',
    crest: false,
  },
  {
    name: 'jay',
    body: '#8a6b4e',
    head: '#b98f63',
    wing: '#2f6fd0',
    tail: '#20262e',
    beak: '#20262e',
    legs: '#5a4630',
    beakLength: 0.24,
    tailLength: 0.55,
    tailShape: 'fan',
    crest: true,
  },
  {
    name: 'swallow',
    body: '#e9e4d6',
    head: '#28406e',
    wing: '#28406e',
    tail: '#28406e',
    beak: '#20262e',
    legs: '#403a3a',
    beakLength: 0.13,
    tailLength: 0.75,
    tailShape: 'fork',
    crest: false,
  },
  {
    name: 'gull',
    body: '#e9e4d6',
    head: '#f5f3ec',
    wing: '#9aa4ad',
    tail: '#f5f3ec',
    beak: '#e8b322',
    legs: '#e8b322',
    beakLength: 0.34,
    tailLength: 0.35,
    tailShape: 'fan',
    crest: false,
  },
  {
    name: 'cardinal',
    body: '#b3242c',
    head: '#d13a3f',
    wing: '#8a1b22',
    tail: '#8a1b22',
    beak: '#ef8b2c',
    legs: '#6a3a2a',
    beakLength: 0.22,
    tailLength: 0.6,
    tailShape: 'point',
    crest: true,
  },
  {
    name: 'ibis',
    body: '#b3242c',
    head: '#eeb4a6',
    wing: '#ee8f98',
    tail: '#20262e',
    beak: '#4a3a33',
    legs: '#d98a7a',
    beakLength: 0.62,
    tailLength: 0.28,
    tailShape: 'fan',
    crest: false,
  },
];
