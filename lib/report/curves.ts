import type { StepReport } from '../explainer/trainer.js';
import type { Curve } from './data.js';

/** Points of a line that a screen can show. */
const POINTS = 2000;

/** Charts of a training log: every term of the loss, p, the parts' share of the rebuilt features. Long logs are thinned evenly. */
export function trainingCurves(log: readonly StepReport[], targets: readonly string[]): Curve[] {
  const every = Math.max(1, Math.ceil(log.length / POINTS));
  const kept = log.filter((_, i) => i % every === 0 || i === log.length - 1);
  const steps = kept.map(({ step }) => step + 1);
  const line = (name: string, of: (report: StepReport) => number | undefined) => ({
    name,
    values: kept.map((report) => rounded(of(report))),
  });
  const layers = (name: 'filter' | 'overlap') =>
    (kept[0]?.[name] ?? []).map((_, l) =>
      line(`conv_interp_${String(l + 1)}`, (report) => report[name][l]),
    );
  const curves: Curve[] = [
    {
      title: 'reconstruction loss',
      steps,
      lines: targets.map((name, l) => line(name, ({ rec }) => rec[l])),
    },
    { title: 'filter loss, weighted', steps, lines: layers('filter') },
    { title: 'overlap of filters, weighted', steps, lines: layers('overlap') },
    {
      title: 'contribution loss',
      steps,
      lines: [line('-eta log p', ({ contribution }) => contribution)],
    },
    {
      title: 'p, the parts’ share of the rebuilt features',
      steps,
      lines: [line('p', ({ p }) => p)],
    },
  ];
  return curves.filter(({ lines }) => lines.length > 0 && kept.length > 0);
}

function rounded(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(5));
}
