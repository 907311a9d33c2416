import { relative } from 'node:path';
import { Command } from 'commander';
import { loadExplainer } from '../explainer.js';
import { writeReport, type ReportProgress, type WrittenReport } from '../report/report.js';
import { addDeviceFlags, addRuntimeFlag, performerOptions, type PerformerFlags } from './flags.js';
import { withInterrupt } from './interrupt.js';
import { ProgressLine } from './progress.js';
import { print } from './terminal.js';

interface ReportFlags extends PerformerFlags {
  out?: string;
  landmarks?: string;
}

export function reportCommand(): Command {
  const command = new Command('report')
    .description('Write what a run has found as one HTML file that needs nothing else.')
    .argument('<run>', 'run folder of train')
    .option('--out <file.html>', 'file to write (default: report.html in the run folder)')
    .option(
      '--landmarks <path>',
      'part positions, for names and stability of filters (default: those of the last evaluate)',
    )
    .addHelpText('after', '\nExample:\n  partlens report run/ --landmarks photos/landmarks.csv');
  return addDeviceFlags(addRuntimeFlag(command)).action(async (run: string, flags: ReportFlags) => {
    const line = new ProgressLine();
    const onWarning = (text: string): void => line.note(`warning: ${text}`);
    const explainer = await loadExplainer(run, { ...performerOptions(flags), onWarning });
    try {
      const { out, landmarks } = flags;
      const written = await withInterrupt(
        (signal) =>
          writeReport(explainer, {
            ...{ out, landmarks, signal, onWarning },
            onProgress: (progress) => line.show(showReporting(progress)),
          }),
        () => line.note('stopping'),
      );
      line.clear();
      print(showReport(written));
    } finally {
      line.clear();
      explainer.dispose();
    }
  });
}

/** `report: maps 320/2400`. */
export function showReporting({ phase, done, total }: ReportProgress): string {
  return `report: ${phase} ${String(done)}/${String(total)}`;
}

/** `report run/report.html (3.1 MB)`. */
export function showReport({ path, bytes }: WrittenReport): string {
  return `report ${relative('.', path)} (${(bytes / 1e6).toFixed(1)} MB)`;
}
