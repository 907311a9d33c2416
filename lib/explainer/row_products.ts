import { gradient } from '../engine/grad.js';
import { Graph, type Value } from '../engine/graph.js';
import { linear } from '../engine/ops/index.js';
import { createSession, type DeviceOptions, type Session } from '../engine/session.js';

/** Sizes of a factorisation: N rows of C numbers by D filters. */
export interface RowSizes {
  rows: number;
  channels: number;
  filters: number;
}

/** Products of matrices with N rows, computed by the engine; it holds X (N, C). */
export class RowProducts {
  readonly #session: Session;

  private constructor(session: Session) {
    this.#session = session;
  }

  static async open(
    x: Float32Array,
    sizes: RowSizes,
    device: DeviceOptions = {},
  ): Promise<RowProducts> {
    const session = await createSession({ programs: programsOf(sizes), ...device });
    try {
      await session.write({ x });
    } catch (error) {
      session.dispose();
      throw error;
    }
    return new RowProducts(session);
  }

  /** X W^T (N, D) of W (D, C). */
  async project(w: Float32Array): Promise<Float32Array> {
    return this.#run('project', { w });
  }

  /** A^T X (D, C) of A (N, D). */
  async collect(a: Float32Array): Promise<Float32Array> {
    return this.#run('collect', { a });
  }

  /** A^T A (D, D) of A (N, D). */
  async square(a: Float32Array): Promise<Float32Array> {
    return this.#run('square', { a });
  }

  /** A G^T (N, D) of A (N, D) and G (D, D). */
  async mix(a: Float32Array, g: Float32Array): Promise<Float32Array> {
    return this.#run('mix', { a, g });
  }

  dispose(): void {
    this.#session.dispose();
  }

  async #run(program: string, inputs: Record<string, Float32Array>): Promise<Float32Array> {
    const { y } = await this.#session.run(program, { inputs, fetch: ['y'] });
    return y as Float32Array;
  }
}

function programsOf({ rows: N, channels: C, filters: D }: RowSizes): Record<string, Graph> {
  const weight = { layout: 'linear_weight' } as const;
  const make = (build: (graph: Graph) => Value): Graph => {
    const graph = new Graph();
    graph.output('y', build(graph));
    return graph;
  };
  /** A^T X as the gradient of X W^T with respect to W. */
  const collected = (x: Value, a: Value, columns: number): Value => {
    const w = a.node.graph.constant(0, [D, columns], weight);
    return gradient([{ of: linear(x, w, undefined), gradient: a }], [w])[0] ?? w;
  };
  return {
    project: make((graph) =>
      linear(graph.frozen('x', [N, C]), graph.input('w', [D, C], weight), undefined),
    ),
    collect: make((graph) => collected(graph.frozen('x', [N, C]), graph.input('a', [N, D]), C)),
    square: make((graph) => {
      const a = graph.input('a', [N, D]);
      return collected(a, a, D);
    }),
    mix: make((graph) =>
      linear(graph.input('a', [N, D]), graph.input('g', [D, D], weight), undefined),
    ),
  };
}
