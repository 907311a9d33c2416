import { Graph } from '../../engine/graph.js';
import { conv2d, relu } from '../../engine/ops/index.js';
import { createSession, type DeviceOptions, type Session } from '../../engine/session.js';
import { expected } from '../../errors.js';
import { runRows } from '../../explainer/run_rows.js';
import type { CodeSource } from '../map_source.js';
import type { FittedCode } from './fitted.js';

/** Images that are computed together. */
const BATCH = 32;

/** Sizes of the performer's maps; `positive`: they are never below 0, so that what is rebuilt is not either. */
export interface CodeSizes {
  channels: number;
  height: number;
  width: number;
  positive: boolean;
}

/** A fitted code on the engine; owns its session. */
export class EngineCode implements CodeSource {
  readonly name: string;
  readonly filters: number;
  readonly #code: FittedCode;
  readonly #session: Session;
  readonly #sizes: CodeSizes;

  private constructor(code: FittedCode, session: Session, sizes: CodeSizes) {
    this.name = code.name;
    this.filters = code.filters;
    this.#code = code;
    this.#session = session;
    this.#sizes = sizes;
  }

  static async open(
    code: FittedCode,
    sizes: CodeSizes,
    device: DeviceOptions = {},
  ): Promise<EngineCode> {
    const programs = { encode: encoderOf(code, sizes), decode: decoderOf(code, sizes) };
    const session = await createSession({ programs, ...device });
    try {
      const own = Object.entries(code.frozen).map(([name, { data }]) => [name, data] as const);
      const { weights, bias } = code.decoder;
      await session.write({ ...Object.fromEntries(own), back: weights, constant: bias });
    } catch (error) {
      session.dispose();
      throw error;
    }
    return new EngineCode(code, session, sizes);
  }

  /** Throws `E_SHAPE`. */
  async maps(features: Float32Array, count: number): Promise<Float32Array> {
    const maps = await this.#run('encode', features, count, [this.#sizes.channels, this.filters]);
    await this.#code.finish?.(maps, count);
    return maps;
  }

  /** Throws `E_SHAPE`. */
  async rebuild(features: Float32Array, count: number): Promise<Float32Array> {
    const maps = await this.maps(features, count);
    return this.#run('decode', maps, count, [this.filters, this.#sizes.channels]);
  }

  dispose(): void {
    this.#session.dispose();
  }

  async #run(
    program: string,
    x: Float32Array,
    count: number,
    [from, to]: readonly [number, number],
  ): Promise<Float32Array> {
    const cells = this.#sizes.height * this.#sizes.width;
    const given = [{ name: 'features', data: x, size: from * cells }];
    const rows = { count, batch: BATCH, op: this.name };
    return (await runRows(this.#session, program, given, rows, { y: to * cells })).y;
  }
}

function encoderOf({ frozen, encode }: FittedCode, { channels, height, width }: CodeSizes): Graph {
  const graph = new Graph();
  const x = graph.input('features', [BATCH, channels, height, width]);
  const tensor = (name: string) => {
    const shape = frozen[name]?.shape;
    if (!shape) throw expected('a tensor of the code', 'frozen', name);
    return graph.frozen(name, shape, shape.length === 4 ? { layout: 'conv_weight' } : {});
  };
  graph.output('y', encode(x, tensor));
  return graph;
}

function decoderOf({ filters: D }: FittedCode, sizes: CodeSizes): Graph {
  const { channels: C, height, width, positive } = sizes;
  const graph = new Graph();
  const x = graph.input('features', [BATCH, D, height, width]);
  const w = graph.frozen('back', [C, D, 1, 1], { layout: 'conv_weight' });
  const y = conv2d(x, w, graph.frozen('constant', [C]));
  graph.output('y', positive ? relu(y) : y);
  return graph;
}
