import { evaluateExplainer, type EvaluateOptions, type Evaluation } from './evaluate/evaluate.js';
import { explainImage } from './explain/explain.js';
import type { ExplainOptions, Explanation } from './explain/explanation.js';
import { trainRun, type TrainExplainerOptions } from './explainer/train.js';
import { TrainedExplainer, type LoadExplainerOptions } from './explainer/trained.js';
import { deviceOptions } from './engine/session.js';
import { withMemoryErrors } from './errors.js';

/** A trained explainer, ready to be used. */
export class Explainer extends TrainedExplainer {
  /**
   * Explains the prediction for one photograph (a path, or the bytes of an image file):
   * which parts are in it, and what each gives to the class. Throws `E_FILE`, `E_ARGUMENT`.
   */
  async explain(image: string | Uint8Array, options: ExplainOptions = {}): Promise<Explanation> {
    return withMemoryErrors('explain', () => explainImage(this, image, options));
  }

  /** Location instability with its controls, reconstruction, head: docs/method.md. */
  async evaluate(options: EvaluateOptions = {}): Promise<Evaluation> {
    return withMemoryErrors('evaluate', () => evaluateExplainer(this, options));
  }
}

/** Loads a trained explainer with its performer from a run folder. Throws `E_FILE`, `E_STATE`. */
export async function loadExplainer(
  run: string,
  options: LoadExplainerOptions = {},
): Promise<Explainer> {
  return withMemoryErrors('loadExplainer', () => Explainer.load(run, options));
}

/**
 * Trains an explainer by distillation: extracts the performer's features once, then takes the steps of
 * DESIGN 1.2. Seeded: the same options give the same bits. Writes checkpoints and `metrics.jsonl` into
 * the run folder. Throws `E_ARGUMENT` for wrong options, `E_FILE`, `E_MEMORY`, and `E_STATE` when a loss is
 * not finite, when the signal stops it, or when the folder holds another run or another training is in it.
 */
export async function trainExplainer(options: TrainExplainerOptions): Promise<Explainer> {
  return withMemoryErrors('train', async () => {
    const { run, summary } = await trainRun(options);
    const { performer } = options;
    return Explainer.load(run, { performer, summary, ...deviceOptions(options) });
  });
}
