import uPlot from 'uplot';
import type { Curve } from '../data.js';
import { h } from './dom.js';
import { short } from './format.js';

const COLOURS = ['--series-1', '--series-2', '--series-3', '--series-4'] as const;

/** A chart of one curve: drag to zoom, double click or the button to see all. */
export class CurveChart {
  readonly element: HTMLElement;
  readonly #box = h('div', { class: 'chart' });
  #curve: Curve;
  #plot: uPlot | undefined;

  constructor(curve: Curve) {
    this.#curve = curve;
    this.element = h(
      'figure',
      {},
      h('figcaption', {}, curve.title),
      this.#box,
      h(
        'div',
        { class: 'buttons' },
        h('button', { on: { click: () => this.#zoom(0.5) } }, 'zoom in'),
        h('button', { on: { click: () => this.#zoom(2) } }, 'zoom out'),
        h('button', { on: { click: () => this.#reset() } }, 'show all'),
      ),
    );
    new ResizeObserver(() => this.#fit()).observe(this.#box);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', () => this.#draw());
  }

  /** Replaces the values, keeping the zoom. */
  update(curve: Curve): void {
    const same = curve.lines.length === this.#curve.lines.length;
    this.#curve = curve;
    if (!this.#plot || !same) {
      this.#draw();
      return;
    }
    const whole = this.#isWhole();
    this.#plot.setData(dataOf(curve), whole);
    if (!whole) this.#plot.redraw();
  }

  #isWhole(): boolean {
    const { min, max } = this.#plot?.scales['x'] ?? {};
    const [steps] = this.#plot?.data ?? [[]];
    return min === undefined || (min <= (steps[0] ?? 0) && (max ?? 0) >= (steps.at(-1) ?? 0));
  }

  #fit(): void {
    const width = this.#box.clientWidth;
    if (width === 0) return;
    if (!this.#plot) this.#draw();
    else if (this.#plot.width !== width) this.#plot.setSize({ width, height: 220 });
  }

  #draw(): void {
    const width = this.#box.clientWidth;
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#box.replaceChildren();
    if (width === 0) return;
    const colour = (name: string): string =>
      getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis: uPlot.Axis = {
      stroke: colour('--muted'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { stroke: colour('--line'), width: 1 },
    };
    this.#plot = new uPlot(
      {
        width,
        height: 220,
        scales: { x: { time: false } },
        axes: [axis, { ...axis, size: 58 }],
        series: [
          { label: 'step' },
          ...this.#curve.lines.map(({ name }, i) => ({
            label: name,
            stroke: colour(COLOURS[i % COLOURS.length] ?? COLOURS[0]),
            width: 1.5,
            points: { show: false },
            value: (_: uPlot, value: number | null) => shortOrEmpty(value),
          })),
        ],
      },
      dataOf(this.#curve),
      this.#box,
    );
  }

  #zoom(factor: number): void {
    const { min, max } = this.#plot?.scales['x'] ?? {};
    if (min === undefined || max === undefined || !this.#plot) return;
    const [middle, half] = [(min + max) / 2, ((max - min) / 2) * factor];
    const { steps } = this.#curve;
    const [first, last] = [steps[0] ?? 0, steps.at(-1) ?? 1];
    this.#plot.setScale('x', {
      min: Math.max(first, middle - half),
      max: Math.min(last, middle + half),
    });
  }

  #reset(): void {
    const { steps } = this.#curve;
    this.#plot?.setScale('x', { min: steps[0] ?? 0, max: steps.at(-1) ?? 1 });
  }
}

function dataOf({ steps, lines }: Curve): uPlot.AlignedData {
  return [steps, ...lines.map(({ values }) => values)];
}

function shortOrEmpty(value: number | null): string {
  return value === null ? '–' : short(value);
}
