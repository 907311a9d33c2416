import { Command, Option } from 'commander';
import { expected } from '../errors.js';
import { exportMaps, exportOnnx, exportSafetensors } from '../export/index.js';
import { loadExplainer, type Explainer } from '../explainer.js';
import { addDeviceFlags, addRuntimeFlag, performerOptions, type PerformerFlags } from './flags.js';
import { withInterrupt } from './interrupt.js';
import { ProgressLine } from './progress.js';
import { print } from './terminal.js';

interface ExportFlags extends PerformerFlags {
  format: 'onnx' | 'safetensors' | 'npz';
  out: string;
  fused?: boolean;
  images?: string[];
}

export function exportCommand(): Command {
  const command = new Command('export')
    .description('Write the explainer, or its part maps of photographs, for other programs.')
    .argument('<run>', 'run folder of train')
    .addOption(
      new Option('--format <name>', 'what to write')
        .choices(['onnx', 'safetensors', 'npz'])
        .makeOptionMandatory(),
    )
    .requiredOption('--out <file>', 'file to write; one that is there is replaced')
    .option('--fused', 'onnx: with the performer, from the image to the part maps')
    .option('--images <paths...>', 'npz: photographs, or folders of them')
    .addHelpText('after', '\nExample:\n  partlens export run/ --format onnx --out explainer.onnx');
  return addDeviceFlags(addRuntimeFlag(command)).action(run);
}

async function run(folder: string, flags: ExportFlags): Promise<void> {
  checkFlags(flags);
  const line = new ProgressLine();
  const onWarning = (text: string): void => line.note(`warning: ${text}`);
  const explainer = await loadExplainer(folder, { ...performerOptions(flags), onWarning });
  try {
    const told = await withInterrupt(
      (signal) => write(explainer, flags, { signal, line }),
      () => line.note('stopping'),
    );
    line.clear();
    print(told);
  } finally {
    line.clear();
    explainer.dispose();
  }
}

/** What only one of the formats takes. */
function checkFlags({ format, fused, images }: ExportFlags): void {
  const refuse = (what: string, received: string): Error =>
    expected(what, `--format ${format}`, received, { op: 'export' });
  if (fused && format !== 'onnx') throw refuse('--fused with onnx only', '--fused');
  if (images && format !== 'npz') throw refuse('--images with npz only', '--images');
  if (!images && format === 'npz') throw refuse('--images', 'none');
}

async function write(
  explainer: Explainer,
  { format, out, fused, images = [] }: ExportFlags,
  { signal, line }: { signal: AbortSignal; line: ProgressLine },
): Promise<string> {
  if (format === 'safetensors') {
    const { tensors } = await exportSafetensors(explainer, out);
    return `${out}: ${String(tensors)} tensors`;
  }
  if (format === 'npz') {
    const { images: count } = await exportMaps(explainer, images, out, {
      signal,
      onWarning: (text) => line.note(`warning: ${text}`),
      onProgress: (done, total) => line.show(`maps ${String(done)}/${String(total)} images`),
    });
    return `${out}: part maps of ${String(count)} photographs`;
  }
  const { inputs, outputs, bytes } = await exportOnnx(explainer, out, { fused });
  const show = (values: typeof inputs): string =>
    values.map(({ name, dims }) => `${name} (${dims.join(', ')})`).join(', ');
  const size = (bytes / 1e6).toFixed(1);
  return `${out}: ${size} MB\n  from ${show(inputs)}\n  to ${show(outputs)}`;
}
