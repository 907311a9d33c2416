import type { Node, Value } from './graph.js';

const MOST_CHANNELS = 8; // NARROW of native/simd/conv_core.h

/**
 * Inputs of a few channels that only convolutions read: the CPU takes them as they come, (N, C, H, W),
 * instead of spreading each cell over a block of 16 lanes. `nodes` are the calls of a program.
 */
export function pictures(nodes: readonly Node[], wanted: readonly Value[]): Set<Value> {
  const found = new Set<Value>();
  for (const { kind, outputs } of nodes) {
    const [value] = outputs;
    const [, channels = 0] = value?.shape ?? [];
    if (kind === 'input' && value?.layout === 'maps' && channels <= MOST_CHANNELS) found.add(value);
  }
  for (const value of wanted) found.delete(value);
  for (const node of nodes) {
    node.inputs.forEach((value, i) => {
      if (value && !(i === 0 && packsChannels(node))) found.delete(value);
    });
  }
  return found;
}

/** A convolution that copies what its windows read, densely, before it reads it. */
function packsChannels({ op, attrs }: Node): boolean {
  return op?.name === 'conv2d_forward' && attrs['dilation_w'] === 1;
}
