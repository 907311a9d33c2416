import { Graph } from '../../engine/graph.js';
import { avgpool2d } from '../../engine/ops/index.js';
import { createSession, type Session, type SessionInfo } from '../../engine/session.js';
import { initialWeights } from '../../explainer/initial.js';
import { buildNetwork } from '../../explainer/network.js';
import type { NetworkSpec } from '../../explainer/network_spec.js';
import { networkSpec, type RunConfig } from '../../explainer/run_folder.js';
import { runRows } from '../../explainer/run_rows.js';
import type { MapSource } from '../map_source.js';

/** Images that are computed together. */
const BATCH = 32;
const OUTPUT = 'maps' as const;

/** Maps that a graph makes of `features` (BATCH, C, n, m); owns the session that computes them. */
class ComputedMaps implements MapSource {
  constructor(
    readonly name: string,
    readonly filters: number,
    readonly session: Session,
    readonly size: Pick<NetworkSpec, 'channels' | 'height' | 'width'>,
  ) {}

  /** Throws `E_SHAPE`. */
  async maps(features: Float32Array, count: number): Promise<Float32Array> {
    const { channels, height, width } = this.size;
    const cells = height * width;
    const given = [{ name: 'features', data: features, size: channels * cells }];
    const sizes = { [OUTPUT]: this.filters * cells };
    return (
      await runRows(this.session, OUTPUT, given, { count, batch: BATCH, op: this.name }, sizes)
    )[OUTPUT];
  }

  dispose(): void {
    this.session.dispose();
  }
}

/** A source that owns memory. */
export interface OwnedSource extends MapSource {
  dispose(): void;
}

/** Where controls are computed: as the explainer is. */
type Device = Pick<SessionInfo, 'backend' | 'threads' | 'precision' | 'accuracy'>;

/**
 * Untrained explainer: maps of the second interpretable layer of a network of the run's sizes and options
 * before its first step, with the initial weights of `--initial he` from the run's seed. What aggregation
 * over windows and the mask give to filters that have learnt nothing.
 */
export async function untrainedExplainer(config: RunConfig, device: Device): Promise<OwnedSource> {
  const spec = networkSpec(config);
  const { graph, a2 } = buildNetwork(spec, config.options, { batch: BATCH, mode: 'evaluate' });
  graph.output(OUTPUT, a2);
  const session = await sessionOf(graph, device);
  await session.write(await initialWeights(session.persistent(), config.options));
  return new ComputedMaps('untrained', spec.filters, session, spec);
}

/** The performer's own maps, each averaged over 5x5 cells; cells outside of it count as 0. */
export async function smoothedPerformer(config: RunConfig, device: Device): Promise<OwnedSource> {
  const { channels, height, width } = config.network;
  const graph = new Graph();
  const features = graph.input('features', [BATCH, channels, height, width]);
  graph.output(
    OUTPUT,
    avgpool2d(features, { kernel: 5, stride: 1, pad: 2, countIncludePad: true }),
  );
  const session = await sessionOf(graph, device);
  return new ComputedMaps('performerSmoothed', channels, session, config.network);
}

function sessionOf(graph: Graph, device: Device): Promise<Session> {
  const { backend, threads, precision, accuracy } = device;
  return createSession({ programs: { [OUTPUT]: graph }, backend, threads, precision, accuracy });
}
