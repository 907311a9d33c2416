import { Random } from '../random.js';
import type { Species } from './species.js';

/** Parts with landmarks. */
export const PARTS = ['head', 'beak', 'wing', 'tail', 'legs'] as const;
export type Part = (typeof PARTS)[number];

/** What a mask tells apart: label i + 1 is the i-th. The belly is body, eye and crest are head. */
export const LABELS = [...PARTS, 'body'] as const;

/** A drawing of one image: SVG and where its visible parts are. */
export interface Drawing {
  svg: string;
  /**
   * The same shapes without antialiasing, each pixel the label of the part that covers its centre (of `LABELS`,
   * from 1) times `LABEL_STEP`, 0 where none does or a leaf hides it. Undefined without a bird.
   */
  mask: string | undefined;
  /** 0-based pixels, the centre of the top left pixel at (0, 0); absent: hidden or outside. */
  landmarks: Partial<Record<Part, { y: number; x: number }>>;
}

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

/** Greys of the drawing of a mask from one label to the next. */
export const LABEL_STEP = 40;

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
  const view = `width="${String(size)}" height="${String(size)}"`;
  const draw = (content: readonly string[], how = ''): string =>
    `<svg xmlns="http://www.w3.org/2000/svg" ${view}${how}>${content.join('')}</svg>`;
  let mask: string | undefined;
  if (species) {
    const pose = new Pose(
      [random.uniform(0.2, 0.8) * size, random.uniform(0.22, 0.78) * size],
      random.uniform(0.26, 0.46) * size,
      random.uniform(-0.5, 0.5),
      random.uniform() < 0.5 ? 1 : -1,
    );
    const { pieces, parts } = birdShape(species, random);
    const placed = (body: string): string => `<g transform="${pose.transform}">${body}</g>`;
    layers.push(placed(pieces.map(({ svg }) => svg).join('')));
    const cover = random.uniform() < 0.25 ? leaf(size, random) : undefined;
    if (cover) layers.push(cover.svg);
    const labels = pieces.map(({ of, svg }) => painted(svg, LABELS.indexOf(of) + 1)).join('');
    const hidden = cover ? painted(cover.svg, 0) : '';
    const ground = `<rect width="100%" height="100%" fill="#000000"/>`;
    mask = draw([ground, placed(labels), hidden], ' shape-rendering="crispEdges"');
    for (const part of PARTS) {
      const [x, y] = pose.at(parts[part]);
      const inside = Math.min(x, y) >= 1 && Math.max(x, y) <= size - 1;
      if (inside && !cover?.hides([x, y])) landmarks[part] = { y: y - 0.5, x: x - 0.5 };
    }
  }
  return { svg: draw(layers), mask, landmarks };
}

/** Shapes in the grey of a label instead of their colours. */
function painted(svg: string, label: number): string {
  const grey = (label * LABEL_STEP).toString(16).padStart(2, '0');
  return svg.replaceAll(/(fill|stroke)="#[0-9a-f]{6}"/g, `$1="#${grey.repeat(3)}"`);
}

/** Shapes of one part. */
interface Piece {
  of: (typeof LABELS)[number];
  svg: string;
}

/** The bird in its own frame: its pieces from back to front, and the centres of its parts. */
function birdShape(
  species: Species,
  random: Random,
): { pieces: Piece[]; parts: Record<Part, Point> } {
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
  const colour = paint(species.body);
  const belly = shade(paint(species.body), 1.18);
  const body = [
    `<ellipse cx="0" cy="0" rx="0.5" ry="0.29" fill="${colour}"/>`,
    `<ellipse cx="0.06" cy="0.1" rx="0.36" ry="0.16" fill="${belly}"/>`,
  ].join('');
  const face = { head, tip, colour: paint(species.head), beak: paint(species.beak) };
  const pieces: Piece[] = [
    { of: 'legs', svg: legs.svg },
    { of: 'tail', svg: tail.svg },
    { of: 'body', svg: body },
    { of: 'wing', svg: wing.svg },
    ...headShape(species, face),
  ];
  const beak: Point = [(head[0] + 2 * tip[0]) / 3, (head[1] + 2 * tip[1]) / 3];
  return { pieces, parts: { head, beak, wing: wing.centre, tail: tail.centre, legs: legs.centre } };
}

function headShape(
  { crest }: Species,
  { head, tip, colour, beak }: { head: Point; tip: Point; colour: string; beak: string },
): Piece[] {
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
  const skull = [
    circle(x, y, 0.19, colour),
    circle(x + 0.06, y - 0.05, 0.045, '#fdfdf5'),
    circle(x + 0.07, y - 0.05, 0.028, '#101010'),
  ].join('');
  return [
    { of: 'head', svg: crest ? crown : '' },
    { of: 'beak', svg: polygon(corners, beak) },
    { of: 'head', svg: skull },
  ];
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
