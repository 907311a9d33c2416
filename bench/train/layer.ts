import { gradient } from '../../lib/engine/grad.js';
import { Graph } from '../../lib/engine/graph.js';
import { conv2d } from '../../lib/engine/ops/index.js';
import { Random } from '../../lib/random.js';
import { createSession, type Session } from '../../lib/engine/session.js';
import { sizeOf } from '../../lib/engine/tensor.js';
import { timed, type Body } from './measure.js';
import type { OursOptions } from './ours.js';
import type { Peer } from './peer.js';
import type { Setting } from './settings.js';

/** The setting's second convolution by itself: forward pass and both gradients. */
export async function createLayer(
  { batch, spec }: Setting,
  { threads, accuracy }: OursOptions,
): Promise<Session> {
  const { filters, height, width, channels } = spec;
  const graph = new Graph();
  const x = graph.parameter('x', [batch, channels, height, width]);
  const w = graph.parameter('w', [filters, channels, 3, 3], { layout: 'conv_weight' });
  const y = conv2d(x, w, undefined, { pad: 1 });
  const g = graph.parameter('g', y.shape);
  for (const value of [y, ...gradient([{ of: y, gradient: g }], [x, w])]) {
    if (value) graph.update(value);
  }
  const session = await createSession({
    programs: { layer: graph },
    backend: 'cpu',
    threads,
    accuracy,
  });
  const random = new Random(1, 'bench/train/layer');
  for (const [name, { shape }] of session.persistent()) {
    const values = Float32Array.from({ length: sizeOf(shape) }, () => random.normal());
    await session.write({ [name]: values });
  }
  return session;
}

export function layerBody(session: Session): Body {
  return (count) => timed(count, () => session.run('layer'));
}

/** The same in PyTorch. */
export function peerLayerBody(peer: Peer, variant: string): Body {
  return (count) => peer.ask(`layer ${variant} ${String(count)}`);
}
