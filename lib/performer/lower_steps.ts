import { sizeOf } from '../engine/tensor.js';
import type { Draft } from './lower_context.js';
import type { NetValue, Step } from './network.js';
import { nodeError } from './onnx_error.js';
import type { OnnxNode } from './onnx_model.js';
import { isVector, lengthOf, permutationOf, plain, sameAtoms, type View } from './view.js';

/** A value whose name is known when its node is done. */
type Pending = { -readonly [K in keyof NetValue]: NetValue[K] } & { step: Step };

/** An output of a node. */
interface Named {
  name: string;
  view: View;
}

/** The steps of a network, in order, as nodes add them. */
export class Steps {
  readonly values: Pending[] = [];
  readonly #batch: number;
  readonly #taken: Set<string>;
  readonly #flattened = new Map<NetValue, NetValue>();
  #pending: Pending[] = [];

  /** `taken`: names that the file gives. */
  constructor(batch: number, taken: Set<string>) {
    this.#batch = batch;
    this.#taken = taken;
  }

  /** Adds a step of `node`. */
  emit(node: OnnxNode, { op, inputs, shape, field }: Draft): NetValue {
    if (sizeOf(shape) >= 2 ** 31) {
      throw nodeError(node, 'an output of fewer than 2^31 elements', shape);
    }
    const step = { op, inputs, node };
    const value: Pending = { name: '', shape, field, step, axes: undefined };
    this.#pending.push(value);
    return value;
  }

  /** Maps as rows: one value for all that ask. */
  flatten(node: OnnxNode, value: NetValue): NetValue {
    if (value.shape.length === 1) return value;
    const { op, inputs } = value.step ?? {};
    const [source] = inputs ?? [];
    if (op?.kind === 'as_maps' && source) return source;
    const known = this.#flattened.get(value);
    if (known) return known;
    const rows = this.emit(node, {
      op: { kind: 'flatten' },
      inputs: [value],
      shape: [sizeOf(value.shape)],
      field: undefined,
    });
    this.#flattened.set(value, rows);
    return rows;
  }

  /**
   * Steps from the one at `count` on come from inside a node: what it gives out has its outputs' names, the
   * rest has none in the file.
   */
  inside(count: number, outputs: readonly Named[]): void {
    const given = new Map(outputs.map(({ name, view }) => [view.value, name]));
    for (const value of this.values.slice(count)) {
      const name = given.get(value);
      if (name === undefined) value.axes = undefined;
      else value.name = name;
    }
  }

  /** Takes back every step from the one at `count` on. */
  rewind(count: number): void {
    const gone = new Set<NetValue>([...this.#pending, ...this.values.splice(count)]);
    this.#pending = [];
    for (const [value, rows] of this.#flattened) if (gone.has(rows)) this.#flattened.delete(value);
  }

  /** Names the steps that `node` added: those that are its outputs as the file does. */
  finish(node: OnnxNode, outputs: readonly Named[]): Named[] {
    const defined = outputs.map(({ name, view }) => {
      const final = this.#asRows(node, view);
      const value = this.#pending.find((one) => one === final.value);
      if (value?.name === '') {
        value.name = name;
        value.axes = permutationOf(final);
      }
      return { name, view: final };
    });
    const used = new Set(defined.map(({ view }) => view.value));
    for (const value of [...this.#pending].reverse()) {
      if (used.has(value)) value.step.inputs.forEach((input) => used.add(input));
    }
    for (const value of this.#pending.filter((one) => used.has(one))) {
      if (value.name === '') value.name = this.#newName(outputs[0]?.name ?? node.name, value);
      this.values.push(value);
    }
    for (const value of this.#pending) {
      const [source] = value.step.inputs;
      if (!used.has(value) && source) this.#flattened.delete(source);
    }
    this.#pending = [];
    return defined;
  }

  /** (N, C H W) is rows; what was pooled to one cell for it has no other form. */
  #asRows(node: OnnxNode, view: View): View {
    const { value, axes } = view;
    if (value.shape.length === 1 || !isVector(view, this.#batch)) return view;
    const own = plain(value, this.#batch).axes.slice(1).flat();
    if (!sameAtoms(axes.at(-1) ?? [], own)) return view;
    const pending = this.#pending.find((one) => one === value);
    const kind = pending?.step.op.kind;
    if (pending && (kind === 'avgpool' || kind === 'maxpool') && lengthOf(own) === value.shape[0]) {
      pending.shape = value.shape.slice(0, 1);
      pending.field = undefined;
      return view;
    }
    const rows = this.flatten(node, value);
    const last = plain(rows, this.#batch).axes.at(-1) ?? [];
    return { value: rows, axes: [...axes.slice(0, -1), last] };
  }

  #newName(output: string, { step }: Pending): string {
    const stem = `${output}/${step.op.kind}`;
    let name = stem;
    for (let i = 2; this.#taken.has(name); i++) name = `${stem}${String(i)}`;
    this.#taken.add(name);
    return name;
  }
}
