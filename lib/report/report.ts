import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { writeTextAtomic } from '../data/atomic.js';
import { intervene } from '../explainer/interventions.js';
import type { Evaluation } from '../evaluate/evaluate.js';
import type { TrainedExplainer } from '../explainer/trained.js';
import { stoppable } from '../explainer/stop.js';
import { collectReport, type CollectOptions } from './collect.js';

export type { ReportProgress } from './collect.js';
import type { ReportData } from './data.js';
import { htmlPage, loadPage } from './html.js';

export interface ReportOptions extends Pick<
  CollectOptions,
  'landmarks' | 'masks' | 'baselines' | 'sample' | 'signal' | 'onProgress' | 'onWarning'
> {
  /** File to write, default `report.html` in the run folder. */
  out?: string | undefined;
}

export interface WrittenReport {
  /** Absolute path of the file. */
  path: string;
  bytes: number;
  /** The evaluation that the report shows. */
  evaluation: Evaluation;
}

/**
 * Writes what an explainer has found as one HTML file that needs nothing else: numbers with their
 * controls, each filter on its strongest photographs beside the performer's, what parts give to classes,
 * loss curves, configuration. The same run gives the same bytes. Throws what `Explainer.evaluate` throws;
 * `E_FILE` when photographs cannot be read or the file not be written.
 */
export async function writeReport(
  explainer: TrainedExplainer,
  { out, ...options }: ReportOptions = {},
): Promise<WrittenReport> {
  const path = resolve(out ?? join(explainer.run, 'report.html'));
  const page = await loadPage('report');
  const stop = { op: 'report', message: 'The report was stopped.' };
  return stoppable(options.signal, stop, async () => {
    const { data, evaluation } = await collectReport(explainer, {
      ...options,
      folder: dirname(path),
      switchOff: async ({ layer, bypass }, sets) => {
        const image = { encoding: await explainer.encode(layer), bypass };
        return intervene(explainer, image, sets, options.signal);
      },
    });
    await writeTextAtomic(path, htmlPage(page, { title: titleOf(data), data }));
    return { path, bytes: (await stat(path)).size, evaluation };
  });
}

function titleOf({ run }: ReportData): string {
  return `Parts of ${run.layer} in ${run.model}`;
}
