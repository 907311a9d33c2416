/** What a report shows: plain data, the only thing that passes from `lib/` to the page. */
export interface ReportData {
  run: RunFacts;
  /** What the numbers say in sentences. */
  verdict: VerdictFacts;
  scores: Scores;
  /** The same scores of the run's sets and of every control; undefined without landmarks. */
  comparison: { sets: ComparedSet[]; fooledBy: readonly (readonly string[])[] } | undefined;
  frame: Frame;
  /** Photographs of the gallery, each once. */
  pictures: Picture[];
  /** Names of the classes of the photographs; filters name them by index. */
  classes: string[];
  explainer: FilterFacts[];
  performer: FilterFacts[];
  contributions: Contributions;
  curves: Curve[];
  /** Name and value, in groups. */
  configuration: { group: string; entries: [name: string, value: string][] }[];
}

/** Of the verdict what the page shows. */
export interface VerdictFacts {
  status: string;
  summary: string;
  findings: { status: string; text: string }[];
  /** What to try, by name of the option. */
  next: { option: string; text: string }[];
}

export interface RunFacts {
  version: string;
  /** File name of the performer's model. */
  model: string;
  layer: string;
  targets: string[];
  photographs: number;
  /** Photographs that were kept out of training. */
  validation: number;
  /** Steps that the explainer was trained for. */
  steps: number;
}

/** Fractions of the image diagonal, shares 0..1, nats; null where it cannot be told. */
export interface Scores {
  instability:
    | {
        performer: number | null;
        layer1: number | null;
        layer2: number | null;
        fixedPosition: number | null;
        random: number | null;
        images: number;
        landmarks: number;
      }
    | undefined;
  /** The parts' share of the rebuilt features. */
  p: number;
  /** What goes through each track: `metrics.TrackScores`. */
  tracks: {
    share: number | null;
    parts: number | null;
    ordinary: number | null;
    swap: number | null;
  };
  /** Contributions held against the performer itself, and what follows, in words. */
  occlusion:
    | {
        images: number;
        largest: number | null;
        smallest: number | null;
        random: number | null;
        energy: number | null;
        randomPlace: number | null;
        pairedDifference: number | null;
        standardError: number | null;
        holds: boolean;
        verdict: string;
      }
    | undefined;
  head: {
    agreement: number | null;
    halfL1: number | null;
    performerError: number | null;
    explainerError: number | null;
    kl: number | null;
    images: number;
  };
  /** Relative error of each rebuilt feature. */
  reconstruction: { name: string; error: number | null }[];
  /** Landmarks, and those that some filter covers. */
  parts:
    | {
        all: string[];
        explainer: string[];
        performer: string[];
        /** `metrics.partMetrics` and `metrics.consistency`, 0..1. */
        purity: { performer: number | null; explainer: number | null };
        consistency: { performer: number | null; explainer: number | null };
      }
    | undefined;
}

/** Whether the filters of one set follow parts: docs/method.md. */
export interface ComparedSet {
  /** Its key in results, and its name in words. */
  name: string;
  title: string;
  location: number | null;
  vector: number | null;
  /** Mean over distinct filters. */
  r2: number | null;
  distinct: number;
  /** Distinct filters of R2 > 0.3. */
  above: number;
  allCategoryRatio: number | null;
  /** Categories with at least three of them. */
  served: number;
}

/** Sizes of what is drawn. */
export interface Frame {
  /** Size of the network's input, pixels. */
  height: number;
  width: number;
  /** Receptive field of a cell, pixels of the network's input, [vertical, horizontal]. */
  field: readonly [number, number];
}

export interface Picture {
  /** Path relative to the folder of photographs, with `/`. */
  image: string;
  /** Index into `classes`. */
  class: number;
  /** The photograph as the network sees it, stretched to a square: WebP, base64. */
  webp: string;
}

/** One filter of one set of maps. */
export interface FilterFacts {
  filter: number;
  /** Location instability, fraction of the image diagonal; null without landmarks, or if it is dead. */
  instability: number | null;
  /** Category on which it is strongest and was scored; empty without landmarks. */
  category: string;
  /** Its name in the category of the photographs that are shown, where one is borne out; `label`: as it is shown. */
  part:
    | { name: string; label: string; at: 'inside' | 'near'; purity: number; photographs: number }
    | undefined;
  /** Mean activation in its eight strongest photographs. */
  strength: number;
  /** Share of photographs with an activation of at least half of `strength`. */
  share: number;
  /** Classes of the highest mean activation, up to three, highest first. */
  classes: { class: number; activation: number }[];
  /** The stronger filter of the same set that it repeats. */
  duplicateOf: number | undefined;
  /** It fires in no photograph. */
  dead: boolean;
  /** The performer's filter that most often peaks at the same place, and how often, 0..1. */
  nearest: { filter: number; share: number } | undefined;
  /** Its strongest photographs, strongest first. */
  spots: Spot[];
}

/** Where a filter fires in a photograph, thousandths of the photograph's sides. */
export interface Spot {
  /** Index into `pictures`. */
  picture: number;
  activation: number;
  x: number;
  y: number;
  /** SVG path of the line where the map is at half of its maximum. */
  contour: string;
}

/**
 * What the performer's head loses when part maps are switched off, and what it says to one filter alone: a
 * row for each set of filters, a column for each class, the mean over photographs of this class (as the
 * performer says).
 */
export interface Contributions {
  /** `logit` or `log probability`. */
  unit: string;
  /** `carried`: share of its photographs that keep their class on the parts alone. */
  classes: { name: string; photographs: number; carried: number }[];
  rows: ContributionRow[];
}

export interface ContributionRow {
  kind: 'control' | 'part' | 'filter';
  name: string;
  /** Filters that are switched off together; of kind `filter` the one that stays alone. */
  filters: number[];
  /** Drop of the class's output for each class; of kind `filter` its rise above nothing. */
  drops: number[];
  /** Standard deviation of each between photographs (n - 1); null for fewer than two. */
  spread: (number | null)[];
}

/** Curves of one chart over training steps. */
export interface Curve {
  title: string;
  steps: number[];
  lines: { name: string; values: (number | null)[] }[];
}
