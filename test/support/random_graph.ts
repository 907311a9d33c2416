import type { ModelSpec } from '../../lib/performer/onnx_write.js';
import { Draw, type Maps } from './random_draw.js';
import { randomNumbers } from './onnx_models.js';

type Block = (draw: Draw, x: Maps) => Maps | undefined;

const windowed: Block = (draw, x) => {
  const kind = draw.of(['Conv', 'Conv', 'MaxPool', 'AveragePool']);
  const kernel = [draw.int(1, 3), draw.int(1, 3)];
  const strides = [draw.int(1, 2), draw.int(1, 2)];
  const dilations = kind === 'AveragePool' ? [1, 1] : [draw.int(1, 2), draw.int(1, 2)];
  const span = (axis: number): number => ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
  const pads = [0, 1, 0, 1].map((axis) => draw.int(0, (kernel[axis] ?? 1) - 1));
  const out = (axis: number, size: number): number =>
    Math.floor(
      (size + (pads[axis] ?? 0) + (pads[axis + 2] ?? 0) - span(axis)) / (strides[axis] ?? 1),
    ) + 1;
  const [H, W] = [out(0, x.H), out(1, x.W)];
  if (H < 3 || W < 3) return undefined;
  const window = { kernel_shape: kernel, strides, pads };
  if (kind === 'AveragePool') {
    const count_include_pad = draw.int(0, 1);
    return { ...x, H, W, name: draw.node(kind, [x.name], { ...window, count_include_pad }) };
  }
  if (kind === 'MaxPool') {
    return { ...x, H, W, name: draw.node(kind, [x.name], { ...window, dilations }) };
  }
  const O = draw.of([3, 8, 17]);
  const w = draw.weight([O, x.C, ...kernel], Math.sqrt(1 / x.C));
  return { C: O, H, W, name: draw.node('Conv', [x.name, w], { ...window, dilations }) };
};

const grouped: Block = (draw, x) => {
  const divisors = [2, 3, 4, x.C].filter((groups) => x.C % groups === 0);
  const groups = draw.of(divisors);
  return draw.conv(
    x,
    groups === x.C && draw.next() < 0.6 ? x.C : groups * draw.int(1, 3),
    3,
    groups,
  );
};

const activated: Block = (draw, x) => {
  const opType = draw.of([
    ...['Relu', 'Sigmoid', 'Tanh', 'HardSigmoid', 'LeakyRelu', 'Elu', 'Celu', 'Selu', 'Softplus'],
    ...['Softsign', 'Abs', 'Neg', 'Erf', 'PRelu', 'Clip', 'Max', 'Min'],
    ...(draw.opset >= 14 ? ['HardSwish'] : []),
    ...(draw.opset >= 18 ? ['Mish'] : []),
    ...(draw.opset >= 20 ? ['Gelu'] : []),
  ]);
  const alpha = { alpha: { float: 0.25 + draw.next() } };
  const inputs = [x.name];
  if (opType === 'PRelu')
    inputs.push(draw.weight(draw.of([[x.C, 1, 1], [1], [x.C, x.H, x.W]]), 0.3));
  if (opType === 'Clip')
    inputs.push(draw.weight([], 0, -0.5), draw.of([draw.weight([], 0, 1), '']));
  if (opType === 'Max' || opType === 'Min') inputs.push(draw.weight([], 0, draw.of([0, 0.5])));
  const takesAlpha = ['HardSigmoid', 'LeakyRelu', 'Elu', 'Celu'].includes(opType);
  const attributes = takesAlpha ? alpha : {};
  return { ...x, name: draw.node(opType, inputs, attributes) };
};

const powers: Block = (draw, x) => {
  const positive = draw.node('Add', [draw.node('Abs', [x.name]), draw.weight([], 0, 0.3)]);
  const kind = draw.of(['Sqrt', 'Log', 'Reciprocal', 'Pow', 'Exp']);
  if (kind === 'Exp') return { ...x, name: draw.node('Exp', [draw.node('Tanh', [x.name])]) };
  const exponent = draw.weight([], 0, draw.of([0.5, 1.5, 2, -1, 3]));
  return { ...x, name: draw.node(kind, kind === 'Pow' ? [positive, exponent] : [positive]) };
};

const withConstant: Block = (draw, { C, H, W, name }) => {
  const shapes = [
    [],
    [1],
    [C, 1, 1],
    [1, C, 1, 1],
    [1, 1, H, W],
    [C, H, W],
    [H, 1],
    [W],
    [1, C, H, 1],
  ];
  const opType = draw.of(['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min']);
  const far = opType === 'Div' ? 3 : 0;
  const inputs = [name, draw.weight(draw.of(shapes), 0.5, far)];
  const turned = opType === 'Div' ? inputs : draw.of([inputs, [...inputs].reverse()]);
  return { C, H, W, name: draw.node(opType, turned) };
};

const branches: Block = (draw, x) => {
  const other = draw.conv(x, x.C, draw.of([1, 3]));
  const opType = draw.of(['Add', 'Sub', 'Mul', 'Max', 'Min', 'Sum', 'Mean']);
  const more = opType === 'Sum' || opType === 'Max' || opType === 'Mean' ? [x.name] : [];
  return {
    ...x,
    name: draw.node(opType, [
      ...draw.of([
        [x.name, other.name],
        [other.name, x.name],
      ]),
      ...more,
    ]),
  };
};

const excited: Block = (draw, x) => {
  const pooled = draw.of([
    () => draw.node(draw.of(['GlobalAveragePool', 'GlobalMaxPool']), [x.name]),
    () => draw.reduce(draw.of(['ReduceMean', 'ReduceMax', 'ReduceSum']), x.name, [2, -1], 1),
  ])();
  const cell = { name: pooled, C: x.C, H: 1, W: 1 };
  const narrow = draw.conv(cell, draw.int(1, 4), 1);
  const wide = draw.conv({ ...narrow, name: draw.node('Relu', [narrow.name]) }, x.C, 1);
  const gate = draw.node(draw.of(['Sigmoid', 'HardSigmoid']), [wide.name]);
  return {
    ...x,
    name: draw.node(
      'Mul',
      draw.of([
        [x.name, gate],
        [gate, x.name],
      ]),
    ),
  };
};

const attended: Block = (draw, x) => {
  const over = draw.of([[1], [1, 2], [3], [1, 2, 3]]);
  const how = draw.of(['ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin']);
  const mean = draw.reduce(how, x.name, over, 1);
  return { ...x, name: draw.node(draw.of(['Add', 'Sub', 'Mul']), [x.name, mean]) };
};

const bordered: Block = (draw, x) => {
  const mode = draw.of(['constant', 'reflect', 'edge', ...(draw.opset >= 19 ? ['wrap'] : [])]);
  const pads = [0, 0, draw.int(0, 2), draw.int(0, 2), 0, 0, draw.int(0, 2), draw.int(0, 2)];
  if (mode === 'constant' && draw.next() < 0.3) pads[draw.of([2, 3, 6, 7])] = -1;
  if (mode === 'constant' && draw.next() < 0.3) pads[draw.of([1, 5])] = draw.int(1, 3);
  const value = mode === 'constant' && draw.next() < 0.5 ? [draw.weight([], 1)] : [];
  const name = draw.node('Pad', [x.name, draw.ints(pads), ...value], { mode });
  const grow = (axis: number): number => (pads[axis] ?? 0) + (pads[axis + 4] ?? 0);
  const y = { name, C: x.C + grow(1), H: x.H + grow(2), W: x.W + grow(3) };
  return draw.of([() => y, () => windowed(draw, y) ?? y])();
};

const normalised: Block = (draw, x) => {
  if (x.H * x.W < 4 || x.C < 2) return undefined;
  const kind = draw.of([
    'batch',
    'lrn',
    'instance',
    'group',
    ...(draw.opset >= 17 ? ['last', 'all'] : []),
  ]);
  if (kind === 'batch') return { ...x, name: draw.net.batchNorm(x.name, draw.name('bn'), x.C) };
  if (kind === 'lrn') return { ...x, name: draw.node('LRN', [x.name], { size: 3, alpha: 0.1 }) };
  const numbers = (dims: number[]): string[] => [draw.weight(dims, 0.3, 1), draw.weight(dims, 0.3)];
  if (kind === 'instance') {
    return { ...x, name: draw.node('InstanceNormalization', [x.name, ...numbers([x.C])]) };
  }
  if (kind === 'all') {
    const inputs = [
      x.name,
      ...numbers(
        draw.of([
          [x.C, x.H, x.W],
          [x.C, 1, 1],
        ]),
      ),
    ];
    return { ...x, name: draw.node('LayerNormalization', inputs, { axis: draw.of([1, -3]) }) };
  }
  if (kind === 'last') {
    const last = draw.node('Transpose', [x.name], { perm: [0, 2, 3, 1] });
    const normed = draw.node('LayerNormalization', [last, ...numbers([x.C])], { axis: -1 });
    return { ...x, name: draw.node('Transpose', [normed], { perm: [0, 3, 1, 2] }) };
  }
  const groups = draw.of([1, 2, 4].filter((one) => x.C % one === 0));
  const split = draw.node('Reshape', [x.name, draw.ints([0, groups, -1])]);
  const inputs = [split, draw.weight([groups], 0.3, 1), draw.weight([groups], 0.3)];
  const normed = draw.node('InstanceNormalization', inputs);
  return { ...x, name: draw.node('Reshape', [normed, draw.ints([-1, x.C, x.H, x.W])]) };
};

const cut: Block = (draw, x) => {
  const kind = draw.of(['split', 'slice', 'flip', 'gather', 'rows']);
  if (kind === 'split' && x.C >= 2) {
    const first = draw.int(1, x.C - 1);
    const names = [draw.name('part'), draw.name('part')] as const;
    const inputs = [x.name, draw.ints([first, x.C - first])];
    const made = {
      opType: 'Split',
      name: names[0],
      inputs,
      outputs: names,
      attributes: { axis: 1 },
    };
    draw.net.nodes.push(made);
    const other = draw.conv({ ...x, name: names[0], C: first }, 3, 1);
    const joined = draw.node('Concat', [names[1], other.name, names[1]], {
      axis: draw.of([1, -3]),
    });
    return { ...x, C: 2 * (x.C - first) + 3, name: joined };
  }
  const range = (start: number[], end: number[], axes: number[], steps: number[]): string =>
    draw.node('Slice', [x.name, ...[start, end, axes, steps].map((list) => draw.ints(list))]);
  if (kind === 'slice' && x.C >= 2) {
    const step = draw.int(1, 2);
    return { ...x, C: Math.ceil((x.C - 1) / step), name: range([1], [2 ** 40], [1], [step]) };
  }
  if (kind === 'flip') return { ...x, name: range([-1], [-(2 ** 40)], [draw.of([1, 2, 3])], [-1]) };
  if (kind === 'gather') {
    const index = Array.from({ length: draw.int(1, 9) }, () => draw.int(-x.C, x.C - 1));
    const name = draw.node('Gather', [x.name, draw.ints(index)], { axis: 1 });
    return { ...x, C: index.length, name };
  }
  if (x.H < 6) return undefined;
  return { ...x, H: x.H - 2, name: range([1, 0], [-1, x.W], [2, 3], [1, 1]) };
};

const shuffled: Block = (draw, { C, H, W, name }) => {
  const groups = draw.of([2, 3, 4, 1].filter((one) => C % one === 0));
  const five = draw.node('Reshape', [name, draw.ints([-1, groups, C / groups, H, W])]);
  const turned = draw.node('Transpose', [five], { perm: [0, 2, 1, 3, 4] });
  return { C, H, W, name: draw.node('Reshape', [turned, draw.ints([-1, C, H, W])]) };
};

const resized: Block = (draw, x) => {
  const scales = [draw.of([1, 2, 1.5, 0.5]), draw.of([1, 2, 3, 0.7])] as const;
  const [H, W] = [Math.floor(x.H * scales[0]), Math.floor(x.W * scales[1])];
  if (H < 3 || W < 3 || H * W > 900) return undefined;
  const mode = draw.of(['nearest', 'linear']);
  const coordinates = draw.of(['half_pixel', 'align_corners', 'asymmetric', 'pytorch_half_pixel']);
  const nearest = draw.of(['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil']);
  const attributes = {
    mode,
    coordinate_transformation_mode: coordinates,
    ...(mode === 'nearest' ? { nearest_mode: nearest } : {}),
  };
  const sizes = draw.next() < 0.5;
  const inputs = sizes
    ? [x.name, '', '', draw.ints([2, x.C, H, W])]
    : [x.name, '', draw.net.weight(draw.name('scales'), [4], listed([1, 1, ...scales]))];
  return { ...x, H, W, name: draw.node('Resize', inputs, attributes) };
};

function listed(numbers: readonly number[]): () => number {
  let i = 0;
  return () => numbers[i++] ?? 0;
}

const mixed: Block = (draw, x) => {
  const last = draw.node('Transpose', [x.name], { perm: [0, 2, 3, 1] });
  const rows = draw.of([
    () => last,
    () => draw.node('Reshape', [last, draw.ints([-1, x.H * x.W, x.C])]),
  ])();
  const product = draw.node('MatMul', [rows, draw.weight([x.C, 6], 0.4)]);
  const added = draw.node('Add', [product, draw.weight([6], 0.2)]);
  const back = draw.node('MatMul', [draw.node('Relu', [added]), draw.weight([6, x.C], 0.4)]);
  const four = rows === last ? back : draw.node('Reshape', [back, draw.ints([-1, x.H, x.W, x.C])]);
  const first = draw.node('Transpose', [four], { perm: [0, 3, 1, 2] });
  return { ...x, name: draw.node('Add', [x.name, first]) };
};

const stacked: Block = (draw, x) => {
  const other = draw.conv(x, x.C, 1);
  const axis = draw.of([2, 3, -1]);
  const name = draw.node('Concat', [x.name, other.name], { axis });
  return axis === 2 ? { ...x, H: 2 * x.H, name } : { ...x, W: 2 * x.W, name };
};

const BLOCKS: readonly Block[] = [
  ...[windowed, windowed, grouped, grouped, activated, activated, activated, powers, withConstant],
  ...[withConstant, branches, excited, attended, bordered, normalised, normalised, cut, shuffled],
  ...[resized, mixed, stacked],
];

/** From maps to a vector and logits. */
function head(draw: Draw, x: Maps): string {
  const all = x.C * x.H * x.W;
  const last = (): string => draw.node('Transpose', [x.name], { perm: [0, 2, 3, 1] });
  const pooled = (): string => draw.node('GlobalAveragePool', [x.name]);
  const [vector, F] = draw.of<() => [string, number]>([
    () => [draw.node('Flatten', [x.name], { axis: draw.of([1, -3]) }), all],
    () => [draw.node('Reshape', [x.name, draw.ints([-1, all])]), all],
    () => [draw.node('Reshape', [last(), draw.ints([-1, all])]), all],
    () => [draw.node('Flatten', [pooled()]), x.C],
    () => [draw.reduce('ReduceMean', x.name, [2, 3], 0), x.C],
    () => [draw.reduce('ReduceMean', last(), [1, 2], 0), x.C],
    () => [draw.node('Squeeze', [pooled(), draw.ints([2, 3])]), x.C],
    () => {
      const parts = ['GlobalAveragePool', 'GlobalMaxPool'].map((op) => draw.node(op, [x.name]));
      return [
        draw.node(
          'Concat',
          parts.map((part) => draw.node('Flatten', [part])),
          { axis: 1 },
        ),
        2 * x.C,
      ];
    },
  ])();
  const weight = draw.weight([F, 7], Math.sqrt(1 / F));
  const product = draw.of([
    () => draw.node('Gemm', [vector, weight, draw.weight([7])], { alpha: 0.5 }),
    () => draw.node('Add', [draw.node('MatMul', [vector, weight]), draw.weight([7])]),
  ])();
  const active = draw.node(draw.of(['Relu', 'Tanh', 'LeakyRelu', 'Elu']), [product]);
  const twice = draw.next() < 0.3 ? draw.node('Mul', [active, product]) : active;
  const logits = draw.node('Gemm', [twice, draw.weight([5, 7], 0.4), draw.weight([5])], {
    transB: 1,
  });
  return draw.next() < 0.4 ? draw.node('Softmax', [logits], { axis: draw.of([1, -1]) }) : logits;
}

/** A random feed-forward network with every tensor as an output; images (2, 3, size, size). */
export function randomGraph(seed: number): { spec: ModelSpec; size: number; names: string[] } {
  const first = randomNumbers(seed);
  const opsets = [13, 14, 17, 18, 19, 20, 21];
  const opset = opsets[Math.floor(first() * opsets.length)] ?? 13;
  const size = 8 + Math.floor(first() * 8);
  const draw = new Draw(seed, opset, size);
  let x: Maps = { name: 'image', C: 3, H: size, W: size };
  for (let steps = draw.int(4, 9); steps > 0;) {
    const next = draw.of(BLOCKS)(draw, x);
    if (!next) continue;
    x = next;
    steps--;
  }
  head(draw, x);
  const names = draw.net.nodes.flatMap(({ outputs }) => [...outputs]);
  return { spec: draw.net.spec(...names), size, names };
}
