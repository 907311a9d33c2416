import { expect } from 'chai';
import { gradient } from '../../lib/engine/grad.js';
import { Graph, type Value } from '../../lib/engine/graph.js';
import {
  add,
  conv2d,
  flatten,
  linear,
  maskLayer,
  mean,
  meanSquare,
  mixTracks,
  projectNorm,
  relu,
  scale,
  softmaxCrossEntropy,
} from '../../lib/engine/ops/index.js';
import { sizeOf, type TensorData } from '../../lib/engine/tensor.js';
import { runGraph, type Arrays } from '../support/engine.js';
import { failure } from '../support/performer.js';
import { normal, seeded } from '../support/draw.js';

/** Draws every leaf of a graph and runs it. */
async function evaluate(graph: Graph, given: Arrays = {}): Promise<Record<string, number[]>> {
  const values: Arrays = {};
  for (const node of graph.nodes) {
    const [value] = node.outputs;
    if (node.inputs.length > 0 || !value || node.kind === 'constant') continue;
    values[node.name] = Float32Array.from(normal(seeded(node.name), sizeOf(value.shape)));
  }
  const found = await runGraph(graph, { ...values, ...given });
  return Object.fromEntries(
    Object.entries(found).map(([name, data]) => [name, Array.from<number>(data)]),
  );
}

function fetch(graph: Graph, values: Record<string, Value | undefined>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!value) throw new Error(`no value ${name}`);
    graph.output(name, value);
  }
}

/** How often a kernel occurs in a graph. */
function count(graph: Graph, kernel: string): number {
  return graph.nodes.filter(({ op }) => op?.name === kernel).length;
}

function near(got: readonly number[] | undefined, want: readonly number[]): void {
  expect(got).to.have.length(want.length);
  want.forEach((value, i) => {
    expect(got?.[i]).to.be.closeTo(value, 1e-5 * Math.max(1, Math.abs(value)));
  });
}

describe('grad', () => {
  it('a scalar starts with 1, another shape with its seed', async () => {
    const graph = new Graph();
    const x = graph.input('x', [3]);
    const seed = graph.input('seed', [3]);
    const [ofMean] = gradient([{ of: mean(x) }], [x]);
    const [ofScale] = gradient([{ of: scale(x, { factor: 2 }), gradient: seed }], [x]);
    fetch(graph, { ofMean, ofScale, sameSeed: scale(seed, { factor: 1 }) });
    const got = await evaluate(graph);
    near(got.ofMean, [1 / 3, 1 / 3, 1 / 3]);
    near(
      got.ofScale,
      (got.sameSeed ?? []).map((value) => 2 * value),
    );
  });

  it('sums what arrives on several ways', async () => {
    const graph = new Graph();
    const x = graph.input('x', [4]);
    const twice = add(scale(x, { factor: 3 }), x);
    const [dx] = gradient([{ of: mean(add(twice, scale(twice, { factor: -0.5 }))) }], [x]);
    fetch(graph, { dx });
    near((await evaluate(graph)).dx, [0.5, 0.5, 0.5, 0.5]);
  });

  it('a value on both sides of an add counts twice', async () => {
    const graph = new Graph();
    const x = graph.input('x', [2]);
    const [dx] = gradient([{ of: mean(add(x, x)) }], [x]);
    fetch(graph, { dx });
    near((await evaluate(graph)).dx, [1, 1]);
  });

  it('seeds in the middle join what flows back from later nodes', async () => {
    const graph = new Graph();
    const x = graph.input('x', [3]);
    const middle = scale(x, { factor: 2 });
    const end = mean(scale(middle, { factor: 5 }));
    const seed = graph.input('seed', [3]);
    const factor = graph.input('factor', []);
    const [plain, atMiddle] = gradient([{ of: end }, { of: middle, gradient: seed }], [x, middle]);
    const [scaled] = gradient([{ of: end }, { of: middle, gradient: seed, scale: factor }], [x]);
    const [twice] = gradient([{ of: end }, { of: end }, { of: middle, gradient: seed }], [x]);
    fetch(graph, { plain, atMiddle, scaled, twice });
    const got = await evaluate(graph, {
      seed: Float32Array.of(1, 2, 3),
      factor: Float32Array.of(10),
    });
    const late = 5 / 3;
    near(
      got.atMiddle,
      [1, 2, 3].map((s) => late + s),
    );
    near(
      got.plain,
      [1, 2, 3].map((s) => 2 * (late + s)),
    );
    near(
      got.scaled,
      [1, 2, 3].map((s) => 2 * (late + 10 * s)),
    );
    near(
      got.twice,
      [1, 2, 3].map((s) => 2 * (2 * late + s)),
    );
  });

  it('a seed on the wanted value itself is its gradient', () => {
    const graph = new Graph();
    const x = graph.input('x', [3]);
    const seed = graph.input('seed', [3]);
    expect(gradient([{ of: x, gradient: seed }], [x])).to.deep.equal([seed]);
  });

  it('what does not depend on a wanted value has no gradient', () => {
    const graph = new Graph();
    const x = graph.input('x', [3]);
    const other = graph.input('other', [3]);
    const later = relu(x);
    const found = gradient([{ of: mean(x) }], [x, other, later]);
    expect(found[0]).not.to.equal(undefined);
    expect(found.slice(1)).to.deep.equal([undefined, undefined]);
  });

  it('an input whose op gives it no gradient has none', () => {
    const graph = new Graph();
    const x = graph.input('x', [2, 3]);
    const target = graph.input('target', [2, 3]);
    const [dx, dTarget] = gradient([{ of: meanSquare(x, target) }], [x, target]);
    expect(dx).not.to.equal(undefined);
    expect(dTarget).to.equal(undefined);
  });

  it('nothing is appended that no wanted value needs', () => {
    const graph = new Graph();
    const x = graph.input('x', [1, 2, 4, 4]);
    const w = graph.parameter('w', [3, 2, 3, 3], { layout: 'conv_weight' });
    const b = graph.parameter('b', [3]);
    const loss = meanSquare(conv2d(x, w, b), graph.input('target', [1, 3, 2, 2]));
    gradient([{ of: loss }], [w]);
    expect(count(graph, 'conv2d_backward_weight')).to.equal(1);
    expect(count(graph, 'conv2d_backward_data')).to.equal(0);
    expect(count(graph, 'conv2d_backward_bias')).to.equal(0);
  });

  it('nodes shared by two calls are computed once', () => {
    const graph = new Graph();
    const x = graph.input('x', [2, 3]);
    const w = graph.parameter('w', [4, 3], { layout: 'linear_weight' });
    const v = graph.parameter('v', [4, 4], { layout: 'linear_weight' });
    const hidden = linear(x, w, undefined, { relu: true });
    const loss = meanSquare(linear(hidden, v, undefined), graph.input('target', [2, 4]));
    const [first] = gradient([{ of: loss }], [w]);
    const before = graph.nodes.length;
    const [again, other] = gradient([{ of: loss }], [w, v]);
    expect(again).to.equal(first);
    expect(graph.nodes.length - before, 'nodes of the second call').to.equal(1);
    expect(other?.node.op?.name).to.equal('linear_backward_weight');
    expect(count(graph, 'mean_square_backward')).to.equal(1);
    expect(count(graph, 'relu_backward')).to.equal(1);
  });

  it('an op of several gradients runs once', () => {
    const graph = new Graph();
    const maps = ['a', 'b'].map((name) => graph.parameter(name, [1, 2, 3, 3]));
    const wP = graph.parameter('w_p', []);
    const [a, b] = maps;
    if (!a || !b) throw new Error('no maps');
    const loss = meanSquare(mixTracks(a, b, wP).y, graph.input('target', [1, 2, 3, 3]));
    const found = gradient([{ of: loss }], [a, b, wP]);
    expect(found.every((value) => value !== undefined)).to.equal(true);
    expect(count(graph, 'mix_tracks_backward')).to.equal(1);
  });

  it('goes through views', async () => {
    const graph = new Graph();
    const x = graph.input('x', [1, 2, 2, 2]);
    const w = graph.parameter('w', [1, 8], { layout: 'linear_weight', chw: [2, 2, 2] });
    const y = linear(flatten(x), w, undefined);
    const seed = graph.constant(1, [1, 1]);
    const [dx] = gradient([{ of: y, gradient: seed }], [x]);
    fetch(graph, { dx });
    expect(dx?.layout).to.equal('maps');
    const values: TensorData = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    near((await evaluate(graph, { w: values })).dx, [...values]);
  });

  it('a label, a peak and a mask carry no gradient', () => {
    const graph = new Graph();
    const x = graph.input('x', [1, 2, 3, 3]);
    const { y } = maskLayer(x);
    const labels = graph.input('labels', [1], { dtype: 'i32' });
    const w = graph.parameter('w', [3, 18], { layout: 'linear_weight', chw: [2, 3, 3] });
    const { loss } = softmaxCrossEntropy(linear(flatten(y), w, undefined), labels);
    const found = gradient([{ of: loss }], [x, labels]);
    expect(found[0]?.node.op?.name).to.equal('mask_layer_backward');
    expect(found[1]).to.equal(undefined);
  });

  it('refuses what has no gradient', async () => {
    const graph = new Graph();
    const w = graph.parameter('w', [2, 2, 1, 1], { layout: 'conv_weight' });
    const x = graph.input('x', [1, 2, 2, 2]);
    const projected = projectNorm(w, graph.constant(1, [2]));
    const loss = meanSquare(conv2d(x, projected, undefined), graph.input('t', [1, 2, 2, 2]));
    await failure('E_INTERNAL', /project_norm has no gradient/, () =>
      gradient([{ of: loss }], [w]),
    );
    await failure('E_ARGUMENT', /\[gradient\] Expected at least one seed/, () => gradient([], [w]));
    const lonely = scale(x, { factor: 1 });
    const s = graph.constant(1);
    await failure('E_ARGUMENT', /another gradient for seed with a scale/, () =>
      gradient([{ of: lonely, gradient: x, scale: s }], [x]),
    );
  });
});
