import type { Graph } from '../../lib/engine/graph.js';
import { planPrograms, type Plan, type Program } from '../../lib/engine/plan.js';
import { sizeOf, type ValueType } from '../../lib/engine/tensor.js';

/** Memory of a backend without blocks: four bytes an element. */
export const bytesOf = (type: ValueType): number => sizeOf(type.shape) * 4;

/** The plan of one graph, and its program. */
export function planned(graph: Graph): { plan: Plan; program: Program } {
  const plan = planPrograms(new Map([['main', graph]]), bytesOf);
  const program = plan.programs.get('main');
  if (!program) throw new Error('no program');
  return { plan, program };
}
