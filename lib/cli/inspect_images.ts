import { listImages, readImages, type ImageFile } from '../data/images.js';
import { loadPerformer, type Performer, type RuntimeChoice } from '../performer/index.js';
import { preprocessingOf, type ImageFlags } from './flags.js';
import { table } from './table.js';

/** What a CNN says of one photograph. */
export interface Answer {
  /** Relative to the folder that was given. */
  image: string;
  /** Folder, with its name as the class that is expected. */
  className: string;
  /** The largest outputs first, at most three; shares 0..1, by softmax where outputs are no shares. */
  top: { name: string; share: number }[];
}

const PHOTOGRAPHS = 12;
const TOP = 3;

type Flags = ImageFlags & { runtime?: RuntimeChoice | undefined; output?: string };

/** The CNN's answers for a dozen photographs of a folder, spread over its classes. */
export async function answersFor(model: string, folder: string, flags: Flags): Promise<Answer[]> {
  const { images } = await listImages(folder);
  const performer = await loadPerformer(model, {
    preprocessing: preprocessingOf(flags),
    ...(flags.output === undefined ? {} : { output: flags.output }),
    runtime: flags.runtime,
  });
  try {
    const answers: Answer[] = [];
    const batches = readImages(spread(images, PHOTOGRAPHS), performer.preprocessing);
    for await (const { images: loaded, pixels } of batches) {
      const { output } = await performer.features(pixels, loaded.length);
      const size = output.length / loaded.length;
      loaded.forEach(({ path, className }, i) => {
        const top = largest(output.subarray(i * size, (i + 1) * size), performer);
        answers.push({ image: path, className, top });
      });
    }
    return answers;
  } finally {
    performer.dispose();
  }
}

/** For people: a row for each photograph, then how many of the known classes are right. */
export function showAnswers(answers: readonly Answer[]): string {
  const rows = answers.map(({ image, top }) => [
    `  ${image}`,
    top.map(({ name, share }) => `${name} ${(100 * share).toFixed(1)} %`).join(', '),
  ]);
  return table([["the CNN's answers", ''], ...rows]);
}

/** Images at even distances: files are sorted, so that classes come in turn. */
function spread(images: readonly ImageFile[], count: number): ImageFile[] {
  const step = Math.max(1, images.length / count);
  return images.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step));
}

function largest(output: Float32Array, { classes }: Performer): Answer['top'] {
  const shares = sharesOf(output);
  return [...shares.keys()]
    .sort((a, b) => (shares[b] ?? 0) - (shares[a] ?? 0))
    .slice(0, TOP)
    .map((k) => ({ name: classes?.[k] ?? `class ${String(k)}`, share: shares[k] ?? 0 }));
}

/** Outputs that are shares as they are, others by softmax. */
function sharesOf(output: Float32Array): number[] {
  const values = [...output];
  const sum = values.reduce((total, value) => total + value, 0);
  if (values.every((value) => value >= 0) && Math.abs(sum - 1) < 1e-3) return values;
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const total = powers.reduce((all, value) => all + value, 0);
  return powers.map((value) => value / total);
}
