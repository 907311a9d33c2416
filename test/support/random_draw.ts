import { NetBuilder, randomNumbers } from './onnx_models.js';

/** Maps under way: (N, C, H, W). */
export interface Maps {
  name: string;
  C: number;
  H: number;
  W: number;
}

/** Random choices and the network that they make. */
export class Draw {
  readonly net: NetBuilder;
  readonly next: () => number;
  #count = 0;

  constructor(
    seed: number,
    readonly opset: number,
    size: number,
  ) {
    this.next = randomNumbers(seed * 7919 + 13);
    this.net = new NetBuilder({ size, opset, seed: seed + 1 });
  }

  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  of<T>(choices: readonly T[]): T {
    const chosen = choices[this.int(0, choices.length - 1)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }

  name(stem: string): string {
    return `${stem}${String(this.#count++)}`;
  }

  node(
    opType: string,
    inputs: string[],
    attributes: Parameters<NetBuilder['node']>[3] = {},
  ): string {
    return this.net.node(opType, this.name(opType.toLowerCase()), inputs, attributes);
  }

  weight(dims: readonly number[], scale = 1, offset = 0): string {
    return this.net.weight(this.name('w'), dims, () => offset + scale * this.net.normal());
  }

  ints(values: readonly number[]): string {
    return this.net.ints(this.name('i'), values);
  }

  /** ReduceMean and its kin: axes are an attribute before opset 18. */
  reduce(opType: string, x: string, axes: number[], keepdims: number): string {
    const asInput = this.opset >= 18 || opType === 'ReduceSum';
    return asInput
      ? this.node(opType, [x, this.ints(axes)], { keepdims })
      : this.node(opType, [x], { axes, keepdims });
  }

  conv(x: Maps, O: number, k: number, groups = 1): Maps {
    const w = this.weight([O, x.C / groups, k, k], Math.sqrt(2 / ((x.C / groups) * k * k)));
    const pad = (k - 1) / 2;
    const attributes = { pads: [pad, pad, pad, pad], group: groups, kernel_shape: [k, k] };
    const inputs = this.next() < 0.5 ? [x.name, w, this.weight([O], 0.1)] : [x.name, w];
    return { ...x, C: O, name: this.node('Conv', inputs, attributes) };
  }
}
