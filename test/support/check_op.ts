import { expect } from 'chai';
import type { ErrorCode } from '../../lib/errors.js';
import { gradient } from '../../lib/engine/grad.js';
import { Graph, type Value } from '../../lib/engine/graph.js';
import type { Chw, Layout } from '../../lib/engine/tensor.js';
import { meanSquare, scale } from '../../lib/engine/ops/index.js';
import {
  showShape,
  sizeOf,
  type DType,
  type Shape,
  type TensorData,
} from '../../lib/engine/tensor.js';
import { compareGradient } from './check_gradient.js';
import { normal, seeded, type Draw } from './draw.js';
import { backends, runGraph, sameBits, smallOnly, type Arrays } from './engine.js';
import { allowedError, exact, Grid, indexOfLargest, relativeError, type Round } from './grid.js';
import { failure } from './performer.js';

export interface InputSpec {
  /** Default: maps for rank 4, else rows. */
  layout?: Layout;
  dtype?: DType;
  /** Kept by the session and read back: the reference returns its new value under the same name. */
  state?: boolean;
  /** Default: standard normal. */
  draw?: Draw;
}

export type Grids<I extends string> = Record<I, Grid>;

/**
 * The op's equation as loops. Returns its outputs by name, the one with the gradient first, and the
 * new values of states. `f` rounds every intermediate result.
 */
export type Reference<I extends string, A> = (
  inputs: Grids<I>,
  attrs: A,
  f: Round,
) => Record<string, Grid>;

/** A gradient that is by definition not the derivative: dL/dinput from g = dL/doutput. */
export type ClosedForm<I extends string, A> = (
  inputs: Grids<I>,
  g: Grid,
  attrs: A,
  f: Round,
) => Partial<Grids<I>>;

export interface OpUnderTest<I extends string, A> {
  name: string;
  inputs: Record<I, InputSpec>;
  build: (values: Record<I, Value>, attrs: A) => Record<string, Value>;
  /** Inputs with a gradient, default none. */
  wrt?: readonly I[];
  /** Instead of central differences of the reference. */
  closedForm?: ClosedForm<I, A>;
  /** Relative error that is allowed beside 3 times that of a naive float32 loop, default 1e-6. */
  floor?: number;
  /** Shapes that the op must refuse: those of the first case with these replaced. */
  wrong?: readonly {
    shapes: Partial<Record<I, Shape>>;
    text: RegExp;
    attrs?: A;
    code?: ErrorCode;
  }[];
}

export interface OpCase<I extends string, A> {
  shapes: Record<I, Shape>;
  attrs: A;
  /** (C, H, W) behind a flattened axis. */
  chw?: Partial<Record<I, Chw>>;
  draw?: Partial<Record<I, Draw>>;
  /** Left out by `PARTLENS_TEST_SMALL`. */
  large?: boolean;
  /** Elements of each input whose gradient is compared, default 60. */
  samples?: number;
}

/**
 * Tests an op on every backend present: values and gradients against the float64 reference, the same
 * bits for any number of threads, no trace of what memory held before, padding zero, wrong shapes
 * refused.
 */
export function checkOp<I extends string, A>(
  op: OpUnderTest<I, A>,
  reference: Reference<I, A>,
  cases: readonly OpCase<I, A>[],
): void {
  for (const [number, given] of cases.entries()) {
    if (given.large && smallOnly) continue;
    for (const backend of backends()) {
      it(`${title(op, given)} on ${backend}`, async () => {
        const run = new Run(op, given, `${op.name} ${String(number)}`);
        const one = await runGraph(run.graph, run.values, { backend, threads: 1 });
        const three = await runGraph(run.graph, run.values, { backend, threads: 3 });
        const changed = Object.keys(one).filter((name) => !sameBits(one[name], three[name]));
        expect(changed, 'outputs that depend on the number of threads').to.deep.equal([]);
        run.checkPadding(one);
        run.check(one, reference);
      });
    }
  }
  for (const { shapes, text, attrs, code = 'E_SHAPE' } of op.wrong ?? []) {
    const [first] = cases;
    if (!first) throw new Error(`${op.name} has no case`);
    const shown = Object.entries<Shape | undefined>(shapes)
      .map(([name, shape]) => `${name} ${showShape(shape ?? [])}`)
      .join(', ');
    it(`${shown || 'wrong attributes'} is ${code}: ${String(text)}`, async () => {
      const wrong = {
        ...first,
        attrs: attrs ?? first.attrs,
        shapes: { ...first.shapes, ...shapes },
        chw: {},
      };
      await failure(code, text, () => new Run(op, wrong, 'wrong'));
    });
  }
}

function title<I extends string, A>(
  op: OpUnderTest<I, A>,
  { shapes, attrs }: OpCase<I, A>,
): string {
  const inputs = Object.entries<Shape>(shapes).map(
    ([name, shape]) => `${name} ${showShape(shape)}`,
  );
  const options = JSON.stringify(attrs).replaceAll('"', '');
  return `${op.name} ${inputs.join(' ')} ${options === '{}' ? '' : options}`.trim();
}

/** One case: its inputs, its graph, and the comparison of what came out. */
class Run<I extends string, A> {
  readonly graph = new Graph();
  readonly values: Arrays = {};
  readonly #inputs: Grids<I>;
  readonly #main: string;
  readonly #probed: string[] = [];

  constructor(
    readonly op: OpUnderTest<I, A>,
    readonly given: OpCase<I, A>,
    label: string,
  ) {
    const names = Object.keys(op.inputs) as I[];
    const leaves = names.map((name) => [name, this.#leaf(name)] as const);
    const outputs = op.build(Object.fromEntries(leaves) as Record<I, Value>, given.attrs);
    const [main, first] = Object.entries(outputs)[0] ?? [];
    if (main === undefined || !first) throw new Error(`${op.name} has no output`);
    this.#main = main;
    for (const [name, value] of Object.entries(outputs)) this.#output(name, value);
    const wrt = op.wrt ?? [];
    if (wrt.length > 0) this.#appendGradient(first, Object.fromEntries(leaves) as Record<I, Value>);

    for (const name of [...names, 'g']) {
      const leaf = this.graph.leaf(name);
      if (!leaf) continue;
      const spec = name === 'g' ? {} : op.inputs[name as I];
      const draw = given.draw?.[name as I] ?? spec.draw ?? normal;
      const drawn = draw(seeded(`${label} ${name}`), sizeOf(leaf.shape));
      this.values[name] = leaf.dtype === 'i32' ? Int32Array.from(drawn) : Float32Array.from(drawn);
    }
    this.#inputs = Object.fromEntries(
      names.map((name) => [name, new Grid(given.shapes[name], this.values[name])]),
    ) as Grids<I>;
  }

  /** Sums over physical elements see what lies in the padding; sums over values do not. */
  checkPadding(got: Arrays): void {
    for (const name of this.#probed) {
      const data = got[name] ?? new Float32Array();
      const squares = Float64Array.from(data).reduce((sum, value) => sum + value * value, 0);
      const wanted = squares / data.length;
      const [seen = NaN] = got[`squares of ${name}`] ?? [];
      const error = Math.abs(seen - wanted);
      expect(error, `trace of the padding of ${name}`).to.be.at.most(1e-5 * wanted + 1e-30);
    }
  }

  check(got: Arrays, reference: Reference<I, A>): void {
    const { floor = 1e-6, wrt = [], closedForm } = this.op;
    const { attrs, samples = 60 } = this.given;
    const want = reference(this.#inputs, attrs, exact);
    const naive = reference(this.#inputs, attrs, Math.fround);
    for (const [name, grid] of Object.entries(want)) {
      const allowed = allowedError(relativeError(naive[name]?.data ?? [], grid.data), floor);
      compare(name, got[name], grid, allowed);
    }
    const main = want[this.#main];
    if (wrt.length === 0 || !main) return;

    const g = new Grid(main.shape, this.values.g);
    const forward = relativeError(naive[this.#main]?.data ?? [], main.data);
    if (closedForm) {
      const closed = closedForm(this.#inputs, g, attrs, exact);
      const closedNaive = closedForm(this.#inputs, g, attrs, Math.fround);
      for (const name of wrt) {
        const grid = closed[name];
        if (!grid) throw new Error(`no closed form for ${name}`);
        const naiveError = relativeError(closedNaive[name]?.data ?? [], grid.data);
        const allowed = allowedError(naiveError, floor);
        compare(`gradient of ${name}`, got[`d ${name}`], grid, allowed);
      }
      return;
    }
    for (const name of wrt) {
      const evaluate = (grid: Grid): Float64Array => {
        const values = reference({ ...this.#inputs, [name]: grid }, attrs, exact)[this.#main];
        return values?.data ?? new Float64Array();
      };
      const input = this.#inputs[name];
      compareGradient({
        name: `${this.op.name}: gradient of ${name}`,
        evaluate,
        at: input,
        g: g.data,
        got: got[`d ${name}`] ?? new Float32Array(input.data.length),
        random: seeded(`${this.op.name} samples of ${name}`),
        samples,
        floor: allowedError(forward, floor),
      });
    }
  }

  #leaf(name: I): Value {
    const { layout, dtype, state = false } = this.op.inputs[name];
    const options = {
      ...(layout ? { layout } : {}),
      ...(dtype ? { dtype } : {}),
      chw: this.given.chw?.[name],
    };
    const shape = this.given.shapes[name];
    return state ? this.graph.state(name, shape, options) : this.graph.input(name, shape, options);
  }

  #output(name: string, value: Value): void {
    this.graph.output(name, value);
    if (value.dtype !== 'f32') return;
    this.#probed.push(name);
    const zero = scale(value, { factor: 0 });
    this.graph.output(`squares of ${name}`, meanSquare(value, zero));
  }

  #appendGradient(of: Value, leaves: Record<I, Value>): void {
    const { shape, layout, chw } = of;
    const wrt = this.op.wrt ?? [];
    const seed = this.graph.input('g', shape, { layout, chw });
    const found = gradient(
      [{ of, gradient: seed }],
      wrt.map((name) => leaves[name]),
    );
    found.forEach((value, i) => {
      if (value) this.#output(`d ${wrt[i] ?? ''}`, value);
    });
  }
}

function compare(name: string, got: TensorData | undefined, want: Grid, allowed: number): void {
  if (!got) throw new Error(`no value ${name}`);
  expect(got.length, `length of ${name}`).to.equal(want.data.length);
  const error = relativeError(got, want.data);
  if (error <= allowed) return;
  const worst = indexOfLargest(want.data.map((value, i) => (got[i] ?? NaN) - value));
  throw new Error(
    `${name}[${String(worst)}] is ${String(got[worst])}, expected ${String(want.data[worst])}: ` +
      `relative error ${error.toExponential(2)} above ${allowed.toExponential(2)}`,
  );
}
