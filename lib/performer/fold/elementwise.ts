import { sameShape, type Shape } from '../../engine/tensor.js';
import { floatAttribute, intAttribute } from '../attributes.js';
import { DataType } from '../onnx_proto.js';
import type { OnnxNode } from '../onnx_model.js';
import { constant, isFloatType, type Constant } from '../onnx_tensor.js';
import { broadcastDims } from './dims.js';
import { broadcastTables, checkSize, like, need, walk, type Fold, type Inputs } from './walk.js';

type Kind = Constant['kind'];

/** Ops on each element, under NumPy's broadcasting. */
export const ELEMENTWISE: Readonly<Record<string, Fold>> = {
  Add: arithmetic((a, b) => a + b),
  Sub: arithmetic((a, b) => a - b),
  Mul: arithmetic((a, b) => a * b),
  Div: arithmetic((a, b, whole) => (whole ? Math.trunc(a / b) : a / b)),
  Pow: (node, inputs) => {
    const [a, b] = [need(node, inputs, 0), need(node, inputs, 1)];
    const whole = a.kind === 'int';
    return combine(node, a, b, a.kind, (x, y) => (whole ? Math.trunc(x ** y) : x ** y));
  },
  Mod: (node, inputs) => {
    const c = intAttribute(node, 'fmod', 0) !== 0;
    const [a, b] = [need(node, inputs, 0), need(node, inputs, 1)];
    return combine(node, a, b, a.kind, (x, y) => (c ? x % y : x - y * Math.floor(x / y)));
  },
  Max: variadic(Math.max),
  Min: variadic(Math.min),
  Sum: variadic((a, b) => a + b),
  Equal: compare((a, b) => a === b),
  Less: compare((a, b) => a < b),
  LessOrEqual: compare((a, b) => a <= b),
  Greater: compare((a, b) => a > b),
  GreaterOrEqual: compare((a, b) => a >= b),
  And: compare((a, b) => a !== 0 && b !== 0),
  Or: compare((a, b) => a !== 0 || b !== 0),
  Xor: compare((a, b) => (a !== 0) !== (b !== 0)),
  Not: (node, inputs) => {
    const x = need(node, inputs, 0);
    return constant(
      'int',
      x.dims,
      Float64Array.from(x.data, (a) => Number(a === 0)),
      DataType.BOOL,
    );
  },
  Neg: unary((a) => -a),
  Abs: unary(Math.abs),
  Sign: unary(Math.sign),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Round: unary(roundHalfEven),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Reciprocal: unary((a) => 1 / a),
  Relu: unary((a) => Math.max(a, 0)),
  Clip: foldClip,
  Where: foldWhere,
  Cast: (node, inputs) => cast(need(node, inputs, 0), intAttribute(node, 'to', 0)),
  CastLike: (node, inputs) => {
    const to = need(node, inputs, 1);
    return cast(
      need(node, inputs, 0),
      to.kind === 'float' ? DataType.FLOAT : (to.type ?? DataType.INT64),
    );
  },
};

/** The nearest whole number, halves to the even one. */
export function roundHalfEven(a: number): number {
  const low = Math.floor(a);
  if (a - low !== 0.5) return Math.round(a);
  return low % 2 === 0 ? low : low + 1;
}

function unary(f: (a: number) => number): Fold {
  return (node, inputs) => {
    const x = need(node, inputs, 0);
    return like(x, x.dims, x.data.map(f));
  };
}

function arithmetic(f: (a: number, b: number, whole: boolean) => number): Fold {
  return (node, inputs) => {
    const [a, b] = [need(node, inputs, 0), need(node, inputs, 1)];
    const whole = a.kind === 'int' && b.kind === 'int';
    return combine(node, a, b, whole ? 'int' : 'float', (x, y) => f(x, y, whole));
  };
}

function compare(f: (a: number, b: number) => boolean): Fold {
  return (node, inputs) => {
    const [a, b] = [need(node, inputs, 0), need(node, inputs, 1)];
    return combine(node, a, b, 'int', (x, y) => Number(f(x, y)), DataType.BOOL);
  };
}

function variadic(f: (a: number, b: number) => number): Fold {
  return (node, inputs) => {
    let y = need(node, inputs, 0);
    for (let i = 1; i < inputs.length; i++) y = combine(node, y, need(node, inputs, i), y.kind, f);
    return y;
  };
}

function combine(
  node: OnnxNode,
  a: Constant,
  b: Constant,
  kind: Kind,
  f: (a: number, b: number) => number,
  type = kind === 'int' && a.kind === 'int' ? a.type : undefined,
): Constant {
  const dims = broadcastDims(node, [a.dims, b.dims]);
  const data = make(node, kind, dims, a.data.length + b.data.length);
  const [left, right] = [a.data, b.data];
  if (sameShape(a.dims, b.dims)) {
    for (let i = 0; i < data.length; i++) data[i] = f(left[i] ?? 0, right[i] ?? 0);
    return constant(kind, dims, data, type);
  }
  // First a alone, then b beside it: a table of offsets for each would cost as much as the data.
  walk(dims, broadcastTables(a.dims, dims), (at, i) => (data[i] = left[at] ?? 0));
  walk(dims, broadcastTables(b.dims, dims), (at, i) => (data[i] = f(data[i] ?? 0, right[at] ?? 0)));
  return constant(kind, dims, data, type);
}

function make(node: OnnxNode, kind: Kind, dims: Shape, from: number): Float32Array | Float64Array {
  const count = checkSize(node, dims, from);
  return kind === 'float' ? new Float32Array(count) : new Float64Array(count);
}

function foldClip(node: OnnxNode, inputs: Inputs): Constant {
  const x = need(node, inputs, 0);
  const bound = (index: number, name: string, open: number): number =>
    node.opset < 11 ? floatAttribute(node, name, open) : (inputs[index]?.data[0] ?? open);
  const [lo, hi] = [bound(1, 'min', -Infinity), bound(2, 'max', Infinity)];
  return like(
    x,
    x.dims,
    x.data.map((a) => Math.min(Math.max(a, lo), hi)),
  );
}

function foldWhere(node: OnnxNode, inputs: Inputs): Constant {
  const [condition, x, y] = [0, 1, 2].map((index) => need(node, inputs, index)) as [
    Constant,
    Constant,
    Constant,
  ];
  const parts = [condition, x, y];
  const dims = broadcastDims(
    node,
    parts.map((part) => part.dims),
  );
  const from = parts.reduce((sum, { data }) => sum + data.length, 0);
  const data = make(node, x.kind, dims, from);
  walk(dims, broadcastTables(y.dims, dims), (at, i) => (data[i] = y.data[at] ?? 0));
  const chosen = new Uint8Array(data.length);
  walk(dims, broadcastTables(condition.dims, dims), (at, i) => {
    chosen[i] = condition.data[at] === 0 ? 0 : 1;
  });
  walk(dims, broadcastTables(x.dims, dims), (at, i) => {
    if (chosen[i] === 1) data[i] = x.data[at] ?? 0;
  });
  return like(x, dims, data);
}

function cast(x: Constant, to: number): Constant {
  if (isFloatType(to)) return constant('float', x.dims, x.data);
  const convert = to === DataType.BOOL ? (a: number) => Number(a !== 0) : Math.trunc;
  return constant('int', x.dims, Float64Array.from(x.data, convert), to);
}
