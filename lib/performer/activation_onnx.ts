import type { ActivationKind, ActivationOp } from './network.js';
import type { OnnxBuilder } from './onnx_builder.js';

/** Activations that are one node, with the attribute names of alpha and beta. */
const NODES: Partial<Record<ActivationKind, readonly [string, string?, string?]>> = {
  sigmoid: ['Sigmoid'],
  tanh: ['Tanh'],
  hard_sigmoid: ['HardSigmoid', 'alpha', 'beta'],
  hard_swish: ['HardSwish'],
  leaky_relu: ['LeakyRelu', 'alpha'],
  elu: ['Elu', 'alpha'],
  celu: ['Celu', 'alpha'],
  selu: ['Selu', 'alpha', 'gamma'],
  softplus: ['Softplus'],
  softsign: ['Softsign'],
  exp: ['Exp'],
  log: ['Log'],
  sqrt: ['Sqrt'],
  reciprocal: ['Reciprocal'],
  abs: ['Abs'],
  neg: ['Neg'],
  erf: ['Erf'],
};

/** Adds an activation in nodes that opset 17 has. */
export function writeActivation(
  builder: OnnxBuilder,
  name: string,
  x: string,
  op: ActivationOp,
): string {
  const single = NODES[op.name];
  if (single) {
    const [opType, first, second] = single;
    return builder.node(opType, name, [x], {
      ...(first !== undefined && op.alpha !== undefined ? { [first]: { float: op.alpha } } : {}),
      ...(second !== undefined && op.beta !== undefined ? { [second]: { float: op.beta } } : {}),
    });
  }
  const number = (label: string, value: number): string =>
    builder.weight(`${name}.${label}`, [], Float32Array.of(value));
  const node = (opType: string, label: string, ...inputs: string[]): string =>
    builder.node(opType, `${name}.${label}`, inputs);
  switch (op.name) {
    case 'silu':
      return builder.node('Mul', name, [x, node('Sigmoid', 'sigmoid', x)]);
    case 'mish': {
      const tanh = node('Tanh', 'tanh', node('Softplus', 'softplus', x));
      return builder.node('Mul', name, [x, tanh]);
    }
    case 'square':
      return builder.node('Mul', name, [x, x]);
    case 'power':
      return builder.node('Pow', name, [x, number('exponent', op.alpha ?? 1)]);
    default: {
      // gelu: x (1 + erf(x / sqrt(2))) / 2, or with tanh(sqrt(2 / pi) (x + 0.044715 x^3)).
      const exact = op.name === 'gelu';
      const cubic = (): string => {
        const cube = node('Mul', 'cube', node('Mul', 'squared', x, x), x);
        return node('Add', 'sum', x, node('Mul', 'part', cube, number('c', 0.044715)));
      };
      const factor = number('factor', exact ? Math.SQRT1_2 : Math.sqrt(2 / Math.PI));
      const inner = node('Mul', 'inner', exact ? x : cubic(), factor);
      const gate = node(
        'Add',
        'gate',
        node(exact ? 'Erf' : 'Tanh', 'curve', inner),
        number('one', 1),
      );
      return builder.node('Mul', name, [node('Mul', 'half', x, number('share', 0.5)), gate]);
    }
  }
}
