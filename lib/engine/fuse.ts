import { endingOf } from './ops/ending.js';
import { registry, type Node, type OpDefinition, type Value } from './graph.js';

/** One call in the place of several. */
interface Join {
  /** The calls that it stands for. */
  of: readonly Node[];
  /** Whose turn it takes. */
  at: Node;
  op: OpDefinition | undefined;
  inputs: readonly (Value | undefined)[];
  /** What the calls made and somebody else reads; optional outputs at the end may be missing. */
  outputs: readonly Value[];
  attrs: Readonly<Record<string, number>>;
}

type Rule = (node: Node, calls: Calls) => Join[];

/**
 * What the plan joins, in this order. Results are those of the calls apart; a value that somebody else
 * reads, or that an output names, is computed, and the rule does not apply.
 */
const RULES: readonly Rule[] = [
  maskIntoPool,
  maskIntoPoolBackward,
  normIntoMix,
  reluIntoGradient,
  gradientIntoStep,
  dataIntoStep,
  residualIntoConvolution,
  activationIntoConvolution,
  expansionIntoDepthwise,
  roundedByMaker,
  peaksByMaker,
];

/**
 * Fuses the calls of a program. `nodes` in an order in which they can run; `wanted` are the graph's
 * outputs and updates. Returns the nodes in order, without those that are no longer needed.
 */
export function fuseCalls(nodes: readonly Node[], wanted: readonly Value[]): readonly Node[] {
  let calls = new Calls(nodes, wanted);
  for (const rule of RULES) {
    for (const node of calls.nodes) {
      const joins = calls.has(node) ? rule(node, calls) : [];
      if (joins.length > 0) calls = calls.with(joins) ?? calls;
    }
  }
  return calls.nodes;
}

/** mask_layer and the max-pooling that alone reads it: the masked maps are never written. */
function maskIntoPool(pool: Node, calls: Calls): Join[] {
  if (kernel(pool) !== 'maxpool2d_forward') return [];
  const mask = calls.madeFor(pool, pool.inputs[0]);
  const [, peak] = mask?.outputs ?? [];
  if (!mask || !peak || kernel(mask) !== 'mask_layer_forward') return [];
  const outputs = [...pool.outputs, peak];
  const attrs = { ...pool.attrs, ...mask.attrs };
  return [join('mask_pool_forward', [mask, pool], { inputs: mask.inputs, outputs, attrs })];
}

/** The way back through both. */
function maskIntoPoolBackward(mask: Node, calls: Calls): Join[] {
  if (kernel(mask) !== 'mask_layer_backward') return [];
  const pool = calls.madeFor(mask, mask.inputs[0]);
  if (!pool || kernel(pool) !== 'maxpool2d_backward') return [];
  const [, peak, gate] = mask.inputs;
  const [g, index] = pool.inputs;
  const { outputs } = mask;
  const attrs = { ...pool.attrs, ...mask.attrs };
  const inputs = [g, index, peak, gate];
  return [join('mask_pool_backward', [pool, mask], { inputs, outputs, attrs })];
}

/** Both norm_layers, their mix_tracks, and the way back: the normalised tracks are never written. */
function normIntoMix(mix: Node, calls: Calls): Join[] {
  if (kernel(mix) !== 'mix_tracks_forward') return [];
  const [x, z, wP] = mix.inputs;
  const [interp, ordin] = [calls.maker(x), calls.maker(z)];
  if (!interp || !ordin || interp === ordin) return [];
  if ([interp, ordin].some((norm) => kernel(norm) !== 'norm_layer_forward')) return [];
  if (JSON.stringify(interp.attrs) !== JSON.stringify(ordin.attrs)) return [];
  const back = calls.readers(x).find((node) => kernel(node) === 'mix_tracks_backward');
  if (!calls.onlyReadBy(x, [mix, back]) || !calls.onlyReadBy(z, [mix, back])) return [];

  const [[xInterp, alphaInterp], [xOrdin, alphaOrdin]] = [interp.inputs, ordin.inputs];
  const [[, factorInterp, interpOut], [, factorOrdin, ordinOut]] = [interp.outputs, ordin.outputs];
  const found = [...mix.outputs, factorInterp, factorOrdin, interpOut, ordinOut];
  const forward = join('norm_mix_forward', [interp, ordin, mix], {
    inputs: [xInterp, xOrdin, alphaInterp, alphaOrdin, wP],
    outputs: found.filter((value) => value !== undefined),
    attrs: interp.attrs,
  });
  if (!back) return [forward];

  const [g] = back.inputs;
  const [dInterp, dOrdin, dShare] = back.outputs;
  const [normInterp, normOrdin] = [calls.reader(dInterp), calls.reader(dOrdin)];
  if (!normInterp || !normOrdin || !dShare) return [];
  if (!isNormBackward(normInterp, factorInterp) || !isNormBackward(normOrdin, factorOrdin)) {
    return [];
  }
  const backward = join('norm_mix_backward', [back, normInterp, normOrdin], {
    inputs: [g, xInterp, xOrdin, factorInterp, factorOrdin, wP],
    outputs: [...normInterp.outputs, ...normOrdin.outputs, dShare],
    attrs: {},
    at: back,
  });
  return [forward, backward];
}

function isNormBackward(node: Node, factor: Value | undefined): boolean {
  return kernel(node) === 'norm_layer_backward' && node.inputs[1] === factor;
}

/** A ReLU's gradient in the call that makes what it cuts: an input `gate`, the ReLU's output. */
function reluIntoGradient(relu: Node, calls: Calls): Join[] {
  if (kernel(relu) !== 'relu_backward') return [];
  const [g, y] = relu.inputs;
  const maker = calls.madeFor(relu, g);
  const gate = Object.keys(maker?.op?.inputs ?? {}).indexOf('gate');
  if (!maker || gate < 0 || maker.inputs[gate]) return [];
  const inputs = maker.inputs.map((value, i) => (i === gate ? y : value));
  const { attrs, op } = maker;
  return [{ of: [maker, relu], at: relu, op, inputs, outputs: relu.outputs, attrs }];
}

const STEPS: Readonly<Record<string, string>> = {
  adam_step: 'linear_adam_step',
  sgd_step: 'linear_sgd_step',
};

/** The gradient of a fully connected layer's weight, which only the optimizer's step reads. */
function gradientIntoStep(step: Node, calls: Calls): Join[] {
  const name = STEPS[kernel(step)];
  const [w, grad, ...rest] = step.inputs;
  const maker = calls.madeFor(step, grad);
  if (name === undefined || !maker || kernel(maker) !== 'linear_backward_weight') return [];
  const { outputs, attrs } = step;
  const inputs = [...maker.inputs, w, ...rest];
  return [join(name, [maker, step], { inputs, outputs, attrs })];
}

/** The gradient of the data behind that weight, from the same pass over it. */
function dataIntoStep(data: Node, calls: Calls): Join[] {
  if (kernel(data) !== 'linear_backward_data') return [];
  const [g, w] = data.inputs;
  const step = calls.readers(w).find((node) => Object.values(STEPS).includes(kernel(node)));
  if (!step?.op || step.inputs[0] !== g || step.inputs[2] !== w) return [];
  const outputs = [...step.outputs, ...data.outputs];
  if (outputs.length !== Object.keys(step.op.outputs).length) return [];
  const { op, inputs, attrs } = step;
  return [{ of: [data, step], at: data, op, inputs, outputs, attrs }];
}

const CONVOLUTIONS = ['conv2d_forward', 'grouped_conv2d_forward', 'depthwise_conv2d_forward'];

/** A convolution that ends as it was computed: nothing is added, no function but a ReLU follows. */
function isPlain(node: Node | undefined): node is Node {
  return node !== undefined && CONVOLUTIONS.includes(kernel(node)) && !node.attrs['activation'];
}

/** The sum with what bypasses a convolution, by the convolution. */
function residualIntoConvolution(sum: Node, calls: Calls): Join[] {
  if (kernel(sum) !== 'add_forward' || sum.inputs[2]) return [];
  for (const [i, other] of [1, 0].map((at) => [1 - at, sum.inputs[at]] as const)) {
    const maker = calls.madeFor(sum, sum.inputs[i]);
    if (!isPlain(maker) || maker.attrs['relu'] || maker.inputs[3] || !other) continue;
    const inputs = [...maker.inputs.slice(0, 3), other];
    const { op, attrs } = maker;
    return [{ of: [maker, sum], at: sum, op, inputs, outputs: sum.outputs, attrs }];
  }
  return [];
}

/** The function that alone reads a convolution, by the convolution. */
function activationIntoConvolution(node: Node, calls: Calls): Join[] {
  const ending = endingOf(kernel(node), node.attrs);
  const maker = ending && calls.madeFor(node, node.inputs[0]);
  if (!isPlain(maker) || maker.attrs['relu']) return [];
  const { op, inputs } = maker;
  const alone = kernel(node) === 'relu_forward' && !inputs[3];
  const attrs = { ...maker.attrs, ...(alone ? { relu: 1 } : ending) };
  return [{ of: [maker, node], at: node, op, inputs, outputs: node.outputs, attrs }];
}

/**
 * The 1x1 convolution that a depthwise convolution alone reads: the expanded maps are never written.
 * Only where nothing else is joined to either but its end.
 */
function expansionIntoDepthwise(depthwise: Node, calls: Calls): Join[] {
  if (kernel(depthwise) !== 'depthwise_conv2d_forward' || depthwise.inputs[3]) return [];
  const [maps, w, b] = depthwise.inputs;
  const expand = calls.madeFor(depthwise, maps);
  if (!expand || kernel(expand) !== 'conv2d_forward' || expand.inputs[3]) return [];
  const [x, wExpand, bExpand] = expand.inputs;
  if (!isPointwise(expand, wExpand)) return [];
  if (x?.shape[2] !== maps?.shape[2] || x?.shape[3] !== maps?.shape[3]) return [];
  const { relu = 0, activation = 0, alpha = 0, beta = 0 } = expand.attrs;
  const ends = { expand_relu: relu, expand_activation: activation };
  const attrs = { ...depthwise.attrs, ...ends, expand_alpha: alpha, expand_beta: beta };
  const inputs = [x, wExpand, bExpand, w, b];
  const { outputs } = depthwise;
  return [join('expand_depthwise_forward', [expand, depthwise], { inputs, outputs, attrs })];
}

/** Each output pixel is made of the pixel at its place. */
function isPointwise({ attrs }: Node, w: Value | undefined): boolean {
  const one = w?.shape[2] === 1 && w.shape[3] === 1;
  return (
    one &&
    attrs['stride_h'] === 1 &&
    attrs['stride_w'] === 1 &&
    !attrs['pad_top'] &&
    !attrs['pad_left']
  );
}

/** Calls that can store maps in the precision of the products. */
const ROUNDING = [
  'conv2d_forward',
  'scale_forward',
  'mask_layer_forward',
  'relu_backward',
  'add_scaled',
];

/**
 * Where products are TF32, a convolution reads its maps rounded: by the call that makes them, instead of by a
 * pass of its own. Whoever else reads them finds them rounded, too.
 */
function roundedByMaker(node: Node, calls: Calls): Join[] {
  if (!['conv2d_forward', 'conv2d_backward_data'].includes(kernel(node))) return [];
  let maker = calls.maker(node.inputs[0]);
  // max-pooling chooses among its inputs
  while (maker && kernel(maker) === 'maxpool2d_forward') maker = calls.maker(maker.inputs[0]);
  if (!maker || !ROUNDING.includes(kernel(maker)) || endsLate(maker)) return [];
  return [withAttr(node, 'rounded'), withAttr(maker, 'round')];
}

/** Before a mask, the convolution also tells what it knows of the peaks of its maps. */
function peaksByMaker(node: Node, calls: Calls): Join[] {
  if (!['mask_layer_forward', 'mask_pool_forward'].includes(kernel(node))) return [];
  const maker = calls.maker(node.inputs[0]);
  const knows = maker && kernel(maker) === 'conv2d_forward' && !endsLate(maker);
  return knows ? [withAttr(maker, 'peaks')] : [];
}

/** A convolution whose kernel is followed by a sum or a function: what it stores is not the last word. */
function endsLate(node: Node): boolean {
  return CONVOLUTIONS.includes(kernel(node)) && !(isPlain(node) && !node.inputs[3]);
}

function withAttr(node: Node, name: string): Join {
  const { op, inputs, outputs, attrs } = node;
  return { of: [node], at: node, op, inputs, outputs, attrs: { ...attrs, [name]: 1 } };
}

function kernel(node: Node): string {
  return node.op?.name ?? '';
}

function join(
  name: string,
  of: readonly Node[],
  parts: Omit<Join, 'of' | 'at' | 'op'> & { at?: Node },
): Join {
  const at = of.at(-1);
  if (!at) throw new RangeError('nothing to join');
  return { at, ...parts, of, op: registry.get(name) };
}

/** The calls of a program in order: who makes each value and who reads it. */
class Calls {
  readonly #position = new Map<Node, number>();
  readonly #maker = new Map<Value, Node>();
  readonly #readers = new Map<Value, Node[]>();
  readonly #wanted: ReadonlySet<Value>;

  constructor(
    readonly nodes: readonly Node[],
    wanted: Iterable<Value>,
  ) {
    this.#wanted = new Set(wanted);
    nodes.forEach((node, i) => {
      this.#position.set(node, i);
      for (const value of node.outputs) this.#maker.set(value, node);
      for (const value of new Set(node.inputs)) {
        if (value) this.#readers.set(value, [...this.readers(value), node]);
      }
    });
  }

  has(node: Node): boolean {
    return this.#position.has(node);
  }

  readers(value: Value | undefined): readonly Node[] {
    return (value && this.#readers.get(value)) ?? [];
  }

  maker(value: Value | undefined): Node | undefined {
    return value && this.#maker.get(value);
  }

  /** Nobody but these reads the value. */
  onlyReadBy(value: Value | undefined, nodes: readonly (Node | undefined)[]): boolean {
    const wanted = value !== undefined && this.#wanted.has(value);
    return !wanted && this.readers(value).every((reader) => nodes.includes(reader));
  }

  /** The one reader of the value. */
  reader(value: Value | undefined): Node | undefined {
    const [only] = this.readers(value);
    return this.onlyReadBy(value, [only]) ? only : undefined;
  }

  /** The call that makes the value, if `node` alone reads it, and once: x + x is no call's to take. */
  madeFor(node: Node, value: Value | undefined): Node | undefined {
    const once = node.inputs.indexOf(value) === node.inputs.lastIndexOf(value);
    return once && this.onlyReadBy(value, [node]) ? this.maker(value) : undefined;
  }

  /** The calls after these joins; undefined when a value would be read before it is made or after it is overwritten. */
  with(joins: readonly Join[]): Calls | undefined {
    const joined = new Map(
      joins.map(({ at, op, inputs, outputs, attrs }) => [
        at,
        { ...at, op, inputs, outputs, attrs },
      ]),
    );
    const absorbed = new Set(joins.flatMap(({ of }) => of));
    const nodes = this.nodes.flatMap((node) => {
      const call = joined.get(node);
      return call ? [call] : absorbed.has(node) ? [] : [node];
    });
    const calls = new Calls(nodes, this.#wanted);
    return [...joined.values()].every((call) => calls.#inTime(call)) ? calls : undefined;
  }

  #inTime(call: Node): boolean {
    const at = this.#position.get(call) ?? NaN;
    const made = call.inputs.every((value) => {
      const maker = this.maker(value);
      return !maker || !isComputed(maker) || (this.#position.get(maker) ?? NaN) < at;
    });
    const read = [...call.outputs, ...call.inputs.filter((_, i) => isOverwritten(call, i))];
    return made && read.every((value) => this.#readAfter(value, call, at));
  }

  /** An output is read later; what it overwrites is not. */
  #readAfter(value: Value | undefined, call: Node, at: number): boolean {
    const later = value !== undefined && call.outputs.includes(value);
    return this.readers(value).every(
      (reader) => reader === call || (this.#position.get(reader) ?? NaN) > at === later,
    );
  }
}

function isComputed({ kind }: Node): boolean {
  return kind === 'op' || kind === 'view';
}

/** Input i lives on as an output of the call. */
function isOverwritten({ op }: Node, i: number): boolean {
  const name = `${Object.keys(op?.inputs ?? {})[i] ?? ''}_out`;
  return Object.keys(op?.outputs ?? {}).includes(name);
}
