import { Random } from '../random.js';

/** Parts with landmarks. */
export const PARTS = ['head', 'beak', 'wing', 'tail', 'legs'] as const;
export type Part = (typeof PARTS)[number];

/** A drawing of one image: SVG and where its visible parts are. */
export interface Drawing {
  svg: string;
  /** 0-based pixels, the centre of the top left pixel at (0, 0); absent: hidden or outside. */
  landmarks: Partial<Record<Part, { y: number; x: number }>>;
}

interface Species {
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

/** Name of the class of images without a bird. */
export const BACKGROUND = 'background';

type Point = readonly [x: number, y: number];

/** Maps the bird's own frame (body length 1, facing right, y down) to pixels. */
class Pose {
  constructor(
    readonly centre: Point,
    readonly length: number,
    readonly angle: number,
    readonly facing: 1 | -1,
  ) {}

  at([x, y]: Point): Point {
    const [cos, sin] = [Math.cos(this.angle), Math.sin(this.angle)];
    const [u, v] = [x * this.facing * this.length, y * this.length];
    return [this.centre[0] + cos * u - sin * v, this.centre[1] + sin * u + cos * v];
  }

  get transform(): string {
    const degrees = (this.angle * 180) / Math.PI;
    const [x, y] = this.centre;
    const scale = `${fixed(this.facing * this.length)} ${fixed(this.length)}`;
    return `translate(${fixed(x)} ${fixed(y)}) rotate(${fixed(degrees)}) scale(${scale})`;
  }
}

const fixed = (value: number): string => value.toFixed(3);

/** Turns a point around a joint. */
function turn([x, y]: Point, [jx, jy]: Point, angle: number): Point {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [jx + cos * (x - jx) - sin * (y - jy), jy + sin * (x - jx) + cos * (y - jy)];
}

/** `#rrggbb` with its brightness changed by a factor. */
function shade(colour: string, factor: number): string {
  const channels = [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16));
  const hex = channels.map((c) => Math.round(Math.min(255, Math.max(0, c * factor))));
  return `#${hex.map((c) => c.toString(16).padStart(2, '0')).join('')}`;
}

/** Draws one bird of a species, or only background, on a square of `size` pixels. */
export function drawBird(species: Species | undefined, size: number, random: Random): Drawing {
  const layers = [background(size, random), distractors(size, random)];
  const landmarks: Drawing['landmarks'] = {};
  if (species) {
    const pose = new Pose(
      [random.uniform(0.2, 0.8) * size, random.uniform(0.22, 0.78) * size],
      random.uniform(0.26, 0.46) * size,
      random.uniform(-0.5, 0.5),
      random.uniform() < 0.5 ? 1 : -1,
    );
    const { body, parts } = birdShape(species, random);
    layers.push(`<g transform="${pose.transform}">${body}</g>`);
    const cover = random.uniform() < 0.25 ? leaf(size, random) : undefined;
    if (cover) layers.push(cover.svg);
    for (const part of PARTS) {
      const [x, y] = pose.at(parts[part]);
      const inside = Math.min(x, y) >= 1 && Math.max(x, y) <= size - 1;
      if (inside && !cover?.hides([x, y])) landmarks[part] = { y: y - 0.5, x: x - 0.5 };
    }
  }
  const view = `width="${String(size)}" height="${String(size)}"`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${view}>${layers.join('')}</svg>`;
  return { svg, landmarks };
}

/** The bird in its own frame: SVG, and the centres of its parts. */
function birdShape(species: Species, random: Random): { body: string; parts: Record<Part, Point> } {
  const light = random.uniform(0.85, 1.15);
  const paint = (colour: string): string => shade(colour, light * random.uniform(0.95, 1.05));
  const nod = random.uniform(-0.45, 0.45);
  const neck: Point = [0.34, -0.14];
  const head = turn([0.52, -0.3], neck, nod);
  const beakTip: Point = [head[0] + 0.17 + species.beakLength, head[1] + 0.06];
  const tip = turn(beakTip, head, nod + random.uniform(-0.2, 0.2));
  const legs = legShape(paint(species.legs), random);
  const tail = tailShape(species, paint(species.tail), random);
  const wing = wingShape(paint(species.wing), random);
  const body = [
    legs.svg,
    tail.svg,
    `<ellipse cx="0" cy="0" rx="0.5" ry="0.29" fill="${paint(species.body)}"/>`,
    `<ellipse cx="0.06" cy="0.1" rx="0.36" ry="0.16" fill="${shade(paint(species.body), 1.18)}"/>`,
    wing.svg,
    headShape(species, { head, tip, colour: paint(species.head), beak: paint(species.beak) }),
  ].join('');
  const beak: Point = [(head[0] + 2 * tip[0]) / 3, (head[1] + 2 * tip[1]) / 3];
  return { body, parts: { head, beak, wing: wing.centre, tail: tail.centre, legs: legs.centre } };
}

function headShape(
  { crest }: Species,
  { head, tip, colour, beak }: { head: Point; tip: Point; colour: string; beak: string },
): string {
  const [x, y] = head;
  const [dx, dy] = [tip[0] - x, tip[1] - y];
  const length = Math.hypot(dx, dy);
  const side: Point = [(-dy / length) * 0.085, (dx / length) * 0.085];
  const root: Point = [x + (dx / length) * 0.12, y + (dy / length) * 0.12];
  const corners = [
    [root[0] + side[0], root[1] + side[1]],
    tip,
    [root[0] - side[0], root[1] - side[1]],
  ];
  const crown = polygon(
    [
      [x - 0.02, y - 0.15],
      [x - 0.3, y - 0.32],
      [x - 0.17, y - 0.02],
    ],
    shade(colour, 0.85),
  );
  return [
    crest ? crown : '',
    polygon(corners, beak),
    circle(x, y, 0.19, colour),
    circle(x + 0.06, y - 0.05, 0.045, '#fdfdf5'),
    circle(x + 0.07, y - 0.05, 0.028, '#101010'),
  ].join('');
}

function tailShape(
  { tailLength, tailShape }: Species,
  colour: string,
  random: Random,
): { svg: string; centre: Point } {
  const root: Point = [-0.4, -0.03];
  const lift = random.uniform(-0.35, 0.35);
  const end = -0.42 - tailLength;
  const outlines: Record<Species['tailShape'], Point[]> = {
    point: [
      [-0.38, -0.12],
      [end, -0.07],
      [end, 0.05],
      [-0.38, 0.1],
    ],
    fan: [
      [-0.38, -0.09],
      [end, -0.24],
      [end - 0.06, 0],
      [end, 0.22],
      [-0.38, 0.07],
    ],
    fork: [
      [-0.38, -0.1],
      [end, -0.26],
      [end + 0.32, -0.02],
      [end, 0.2],
      [-0.38, 0.08],
    ],
  };
  const outline = outlines[tailShape].map((point) => turn(point, root, lift));
  return {
    svg: polygon(outline, colour),
    centre: turn([-0.42 - tailLength / 2, -0.02], root, lift),
  };
}

function wingShape(colour: string, random: Random): { svg: string; centre: Point } {
  const joint: Point = [0.18, -0.12];
  const raise = random.uniform(-0.15, 0.95);
  const feather = (dy: number, light: number): string => {
    const outline = [
      [0.24, -0.16 + dy],
      [-0.12, -0.2 + dy],
      [-0.5, -0.02 + dy],
      [-0.16, 0.1 + dy],
      [0.16, 0.04 + dy],
    ] as const;
    return polygon(
      outline.map((point) => turn(point, joint, raise)),
      shade(colour, light),
    );
  };
  return { svg: feather(0, 1) + feather(0.05, 0.8), centre: turn([-0.12, -0.05], joint, raise) };
}

function legShape(colour: string, random: Random): { svg: string; centre: Point } {
  const step = random.uniform(-0.12, 0.12);
  const leg = (x: number, swing: number): string => {
    const foot = x + swing;
    return [
      `<path d="M${fixed(x)} 0.24 L${fixed(foot)} 0.56 M${fixed(foot - 0.04)} 0.56 `,
      `L${fixed(foot + 0.13)} 0.58" stroke="${colour}" stroke-width="0.06" fill="none"/>`,
    ].join('');
  };
  return {
    svg: leg(-0.04, step) + leg(0.13, -step),
    centre: [0.05, 0.5],
  };
}

/** Sky, foliage or earth: a gradient with soft blobs. */
function background(size: number, random: Random): string {
  const palettes = [
    ['#a9c8de', '#dfe9ee'],
    ['#6f8f5a', '#b3c58b'],
    ['#9c8a6a', '#cfc09c'],
    ['#7d93a3', '#b9b7a4'],
  ];
  const [top = '', bottom = ''] = palettes[random.int(palettes.length)] ?? [];
  const light = random.uniform(0.8, 1.1);
  const blobs = Array.from({ length: 6 }, () => {
    const colour = shade(random.uniform() < 0.5 ? top : bottom, light * random.uniform(0.75, 1.2));
    const [x, y] = [random.uniform(0, size), random.uniform(0, size)];
    const [rx, ry] = [random.uniform(0.08, 0.35) * size, random.uniform(0.05, 0.25) * size];
    const box = `cx="${fixed(x)}" cy="${fixed(y)}" rx="${fixed(rx)}" ry="${fixed(ry)}"`;
    return `<ellipse ${box} fill="${colour}" opacity="0.55"/>`;
  });
  const stops = [top, bottom]
    .map((colour, i) => `<stop offset="${String(i)}" stop-color="${shade(colour, light)}"/>`)
    .join('');
  const gradient = `<defs><linearGradient id="g" x2="0" y2="1">${stops}</linearGradient></defs>`;
  return `${gradient}<rect width="100%" height="100%" fill="url(#g)"/>${blobs.join('')}`;
}

/** Branches, berries and stones in the colours of birds. */
function distractors(size: number, random: Random): string {
  const colours = ['#b0714f', '#5f7fa8', '#41474f', '#c4a252', '#96504c', '#d6d2c6', '#5f4a37'];
  const some = (): string =>
    shade(colours[random.int(colours.length)] ?? '', random.uniform(0.8, 1.1));
  const place = (): number => random.uniform(0, size);
  const shapes = Array.from({ length: 3 + random.int(4) }, () => {
    const [x, y, r] = [place(), place(), random.uniform(0.02, 0.06) * size];
    const kind = random.int(3);
    if (kind === 0) return circle(x, y, r, some());
    if (kind === 1) {
      const corner = (): Point => [x + random.uniform(-2, 2) * r, y + random.uniform(-2, 2) * r];
      return polygon([corner(), corner(), corner()], some());
    }
    const line = `M${fixed(x)} ${fixed(y)} L${fixed(place())} ${fixed(place())}`;
    return `<path d="${line}" stroke="${some()}" stroke-width="${fixed(r * 0.6)}"/>`;
  });
  return shapes.join('');
}

/** A leaf in front of everything, and whether it hides a point. */
function leaf(size: number, random: Random): { svg: string; hides: (at: Point) => boolean } {
  const [x, y] = [random.uniform(0.1, 0.9) * size, random.uniform(0.1, 0.9) * size];
  const [rx, ry] = [random.uniform(0.1, 0.2) * size, random.uniform(0.05, 0.1) * size];
  const colour = shade('#5d8a3c', random.uniform(0.7, 1.2));
  const box = `cx="${fixed(x)}" cy="${fixed(y)}" rx="${fixed(rx)}" ry="${fixed(ry)}"`;
  return {
    svg: `<ellipse ${box} fill="${colour}"/>`,
    hides: ([px, py]) => ((px - x) / rx) ** 2 + ((py - y) / ry) ** 2 < 1,
  };
}

function circle(x: number, y: number, r: number, fill: string): string {
  return `<circle cx="${fixed(x)}" cy="${fixed(y)}" r="${fixed(r)}" fill="${fill}"/>`;
}

function polygon(points: readonly (readonly number[])[], fill: string): string {
  const text = points.map((point) => point.map(fixed).join(',')).join(' ');
  return `<polygon points="${text}" fill="${fill}"/>`;
}
