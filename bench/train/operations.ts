import { registry } from '../../lib/engine/graph.js';
import { parseSignature } from '../../lib/engine/signature.js';
import type { PlannedOp, Program } from '../../lib/engine/plan.js';

/** What a call must do, by arithmetic. */
export interface Work {
  /** Floating-point operations of its matrix products as the method states them; 0 for all else. */
  operations: number;
  /** Those that it really does: fewer where Winograd's transform saves some. */
  done: number;
  /** Every input read once, every output written once; padding not counted. */
  bytes: number;
  /** Shapes of its matrices, for the reader. */
  shapes: string;
}

export function workOf(program: Program, op: PlannedOp, winograd: number): Work {
  const definition = registry.get(op.kernel);
  const signatures = Object.values({ ...definition?.inputs, ...definition?.outputs });
  const sizes: Record<string, number> = {};
  const shapes: (readonly number[])[] = [];
  let bytes = 0;
  op.slots.forEach((number, i) => {
    const slot = program.slots[number];
    if (!slot) return;
    shapes.push(slot.shape);
    bytes += 4 * slot.shape.reduce((product, size) => product * size, 1);
    const signature = signatures[i] ?? '';
    if (signature.startsWith('=')) return;
    parseSignature(signature).letters.forEach((letter, axis) => {
      sizes[letter] ??= slot.shape[axis] ?? 1;
    });
  });
  const operations = operationsOf(op, sizes);
  const matrices = shapes.filter((shape) => shape.length > 1);
  const shown = (matrices.length > 0 ? matrices : shapes).slice(0, 2);
  return {
    operations,
    done: isTiled(op.kernel, sizes) ? tiledOperations(sizes, winograd) : operations,
    bytes,
    shapes: shown.map((shape) => shape.join('x')).join(' '),
  };
}

function product(sizes: Record<string, number>, letters: string): number {
  return Array.from(letters).reduce((found, letter) => found * (sizes[letter] ?? 1), 1);
}

function operationsOf({ kernel, slots }: PlannedOp, sizes: Record<string, number>): number {
  if (kernel.endsWith('bias')) return 0;
  if (kernel.startsWith('conv2d_')) return 2 * product(sizes, 'NOPQCRS');
  if (kernel.startsWith('filter_loss_')) return 2 * product(sizes, 'NDTnm');
  if (!kernel.startsWith('linear_')) return 0;
  const both = kernel.endsWith('_step') && slots.at(-1) !== -1; // weight and data
  return (both ? 4 : 2) * product(sizes, 'NFO');
}

/** As winograd_pays in native/ops/conv2d_winograd.cpp decides for the shapes timed here. */
function isTiled(kernel: string, sizes: Record<string, number>): boolean {
  const { R, S, C = 0, O = 0 } = sizes;
  const named = kernel.startsWith('conv2d_') && !kernel.endsWith('bias');
  return named && R === 3 && S === 3 && C >= 32 && O >= 32;
}

/** (m + 2)^2 products for each tile of m x m outputs; m = 0: none, as with accuracy direct. */
function tiledOperations(sizes: Record<string, number>, m: number): number {
  const { N = 1, P = 1, Q = 1, C = 1, O = 1 } = sizes;
  if (m === 0) return 2 * 9 * N * P * Q * C * O;
  return 2 * (m + 2) ** 2 * N * Math.ceil(P / m) * Math.ceil(Q / m) * C * O;
}
