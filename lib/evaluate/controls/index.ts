import type { TrainedExplainer } from '../../explainer/trained.js';
import type { MapSource } from '../map_source.js';
import { smoothedPerformer, untrainedExplainer } from './computed.js';
import { SmoothedEnergy } from './energy.js';

/** Controls that are maps of the photographs. */
export interface ControlSources {
  sources: readonly MapSource[];
  dispose(): void;
}

/** Opens the controls of a run: untrained explainer, smoothed energy, smoothed performer. */
export async function openControls(explainer: TrainedExplainer): Promise<ControlSources> {
  const { config } = explainer;
  const device = explainer.info();
  const untrained = await untrainedExplainer(config, device);
  try {
    const smoothed = await smoothedPerformer(config, device);
    return {
      sources: [untrained, new SmoothedEnergy(config.network), smoothed],
      dispose: () => {
        untrained.dispose();
        smoothed.dispose();
      },
    };
  } catch (error) {
    untrained.dispose();
    throw error;
  }
}
