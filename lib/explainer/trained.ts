import { resolve } from 'node:path';
import type { ImageSummary } from '../data/images.js';
import { expected, PartlensError, requireText } from '../errors.js';
import type { Graph } from '../engine/graph.js';
import {
  loadPerformer,
  type Performer,
  type PerformerAnswer,
  type RuntimeChoice,
} from '../performer/index.js';
import {
  createSession,
  deviceOptions,
  type DeviceOptions,
  type Session,
  type SessionInfo,
} from '../engine/session.js';
import { buildGates, codeChannels } from './appearance.js';
import { listCheckpoints, loadCheckpoint, type Checkpoint } from './checkpoint.js';
import type { TensorToStore } from '../data/safetensors.js';
import {
  buildDecoder,
  buildNetwork,
  DECODE_BATCH,
  decodedSizes,
  siteUnits,
  type Network,
} from './network.js';
import { pooledSize } from './network_spec.js';
import { networkSpec, readRunConfig, type RunConfig } from './run_folder.js';
import { runRows } from './run_rows.js';

export interface LoadExplainerOptions extends DeviceOptions {
  /** The performer of the run; default: loaded from the path in `config.json`. */
  performer?: Performer;
  /** What computes it, see `loadPerformer`. */
  runtime?: RuntimeChoice | undefined;
  onWarning?: (text: string) => void;
}

/** What the explainer makes of the performer's maps of `count` images. */
export interface ExplainerMaps {
  /** Part maps of both interpretable layers, (count, D, n, m), post-ReLU, before the mask. */
  layer1: Float32Array;
  layer2: Float32Array;
  /**
   * What the decoder rebuilds: one (count, S, q, r), the maps that the performer's later layers read, or
   * with the decoder `learned` (count, size) for each target.
   */
  rebuilt: Float32Array[];
  /** The two tracks before they are mixed, (count, E, q, r), as in `Encoding`. */
  interp: Float32Array;
  ordin: Float32Array;
}

/**
 * One image on its way through the encoder; D filters, n x m the cells of the maps, q x r after pooling; E
 * channels that the decoder reads: D, then with appearance the gated code and the ordinary track.
 */
export interface Encoding {
  /** Part maps of both interpretable layers, (D, n, m), post-ReLU, before the mask. */
  layer1: Float32Array;
  layer2: Float32Array;
  /** `layer2` behind its mask, (D, n, m). */
  masked: Float32Array;
  /** The two tracks before they are mixed, (E, q, r): x_enc = p * interp + (1 - p) * ordin. */
  interp: Float32Array;
  ordin: Float32Array;
  /** With appearance: the code before the gates, (r, q, r'). */
  code?: Float32Array;
}

const BATCH = 32;
/** Fields of every encoding, and the value of the network that each one is. */
const ENCODING = {
  layer1: 'a1',
  layer2: 'a2',
  masked: 'm2',
  interp: 'xInterp',
  ordin: 'xOrdin',
} as const satisfies Record<Exclude<keyof Encoding, 'code'>, keyof Network>;

/** What was trained: the network of a run folder with its performer, ready to be used. */
export class TrainedExplainer {
  /** Folder of the run. */
  readonly run: string;
  readonly config: RunConfig;
  readonly performer: Performer;
  /** Steps that its parameters have seen. */
  readonly step: number;
  /** The parts' share of the rebuilt features, 0..1; what they carry of a score is `share` of `evaluate`. */
  readonly p: number;
  /** Images of the training run that were used and skipped; undefined for a loaded one. */
  readonly summary: ImageSummary | undefined;
  readonly #session: Session;
  readonly #ownsPerformer: boolean;

  /** @internal Use `load`. */
  constructor(
    session: Session,
    facts: Pick<TrainedExplainer, 'run' | 'config' | 'performer' | 'step' | 'p' | 'summary'>,
    ownsPerformer: boolean,
  ) {
    this.#session = session;
    this.#ownsPerformer = ownsPerformer;
    this.run = facts.run;
    this.config = facts.config;
    this.performer = facts.performer;
    this.step = facts.step;
    this.p = facts.p;
    this.summary = facts.summary;
  }

  /** Loads the newest checkpoint of a run folder. Throws `E_FILE`, `E_STATE`. */
  static async load<Loaded extends TrainedExplainer>(
    this: new (...parts: ConstructorParameters<typeof TrainedExplainer>) => Loaded,
    folder: string,
    options: LoadExplainerOptions & { summary?: ImageSummary | undefined } = {},
  ): Promise<Loaded> {
    requireText(folder, 'run', 'loadExplainer');
    const run = resolve(folder);
    const config = await readRunConfig(run);
    if ((await listCheckpoints(run)).length === 0) throw noCheckpoint(run, 'there is none');
    const performer = options.performer ?? (await performerOf(config, options));
    let session: Session | undefined;
    try {
      if (!isPerformerOf(config, performer)) {
        throw new PartlensError(
          'E_STATE',
          `${performer.path} is not the model, or not cut at the layers, that ${run} explains.`,
        );
      }
      session = await createSession({ programs: programsOf(config), ...deviceOptions(options) });
      const checkpoint = await newest(run, config, session, options.onWarning);
      const held = session.persistent();
      const tensors = Object.entries(checkpoint.tensors).filter(([name]) => held.has(name));
      await session.write(Object.fromEntries(tensors));
      const p = 1 / (1 + Math.exp(-(checkpoint.tensors['mix.w_p']?.[0] ?? NaN)));
      const facts = { run, config, performer, step: checkpoint.step, p, summary: options.summary };
      return new this(session, facts, !options.performer);
    } catch (error) {
      session?.dispose();
      if (!options.performer) performer.dispose();
      throw error;
    }
  }

  /**
   * Part maps and rebuilt features from the performer's maps (count, C, n, m), row-major. Throws
   * `E_SHAPE`.
   */
  async maps(features: Float32Array, count: number): Promise<ExplainerMaps> {
    const { channels, filters } = this.config.network;
    const { cells } = this;
    const { layer1, layer2, interp, ordin, ...rebuilt } = await runRows(
      this.#session,
      'evaluate',
      [{ name: 'features', data: features, size: channels * cells }],
      { count, batch: BATCH },
      {
        ...{ layer1: filters * cells, layer2: filters * cells },
        ...{ interp: this.encodingSize, ordin: this.encodingSize },
        ...this.#decodedSizes(),
      },
    );
    return { layer1, layer2, rebuilt: Object.values(rebuilt), interp, ordin };
  }

  /** The encoder's way with the performer's maps (C, n, m) of one image. Throws `E_SHAPE`. */
  async encode(features: Float32Array): Promise<Encoding> {
    const { channels, filters } = this.config.network;
    const { appearance = 0 } = this.config.options;
    const [maps, track] = [filters * this.cells, this.encodingSize];
    const given = [{ name: 'features', data: features, size: channels * this.cells }];
    const sizes = { layer1: maps, layer2: maps, masked: maps, interp: track, ordin: track };
    const code = appearance * this.positions;
    const one = { count: 1, batch: 1 };
    if (code === 0) return runRows(this.#session, 'encode', given, one, sizes);
    return runRows(this.#session, 'encode', given, one, { ...sizes, code });
  }

  /**
   * With appearance: what the gates of some of an image's parts let through, (count, r, q, r'); `on` (count,
   * D), 1 or 0. A part that is off hands its places to nobody. Throws `E_SHAPE`.
   */
  async gated({ layer2, code }: Encoding, on: Float32Array, count: number): Promise<Float32Array> {
    if (!code)
      throw expected('an encoding with appearance', 'encoding', 'none', { code: 'E_SHAPE' });
    const { filters } = this.config.network;
    const inputs = [
      { name: 'on', data: on, size: filters },
      { name: 'layer2', data: repeated(layer2, count), size: layer2.length },
      { name: 'code', data: repeated(code, count), size: code.length },
    ];
    const sizes = { gated: code.length };
    return (await runRows(this.#session, 'gates', inputs, { count, batch: DECODE_BATCH }, sizes))
      .gated;
  }

  /**
   * What the decoder rebuilds, as in `ExplainerMaps`, from encodings x_enc (count, D, q, r), the encoder's
   * own or changed ones. Throws `E_SHAPE`.
   */
  async decode(encodings: Float32Array, count: number): Promise<Float32Array[]> {
    const rebuilt = await runRows(
      this.#session,
      'decode',
      [{ name: 'x_enc', data: encodings, size: this.encodingSize }],
      { count, batch: DECODE_BATCH },
      this.#decodedSizes(),
    );
    return Object.values(rebuilt);
  }

  /**
   * What the performer makes of `rebuilt` features of `count` images: targets and output. Rebuilt maps go
   * through its own later layers, with what bypasses them (`Performer.bypass`) as it was; of features that
   * the decoder `learned` gives, its own head makes the output. Throws `E_SHAPE`.
   */
  async answer(
    rebuilt: readonly Float32Array[],
    bypass: readonly Float32Array[],
    count: number,
  ): Promise<PerformerAnswer> {
    const [maps = new Float32Array(0)] = rebuilt;
    if (this.config.network.site) return this.performer.tail(maps, bypass, count);
    const output = await this.performer.head(rebuilt.at(-1) ?? maps, count);
    return { targets: [...rebuilt], output };
  }

  /** Cells of one map of the explained layer, n * m. */
  get cells(): number {
    const { height, width } = this.config.network;
    return height * width;
  }

  /** Positions of one channel of an encoding, q * r. */
  get positions(): number {
    const [q, r] = pooledSize(networkSpec(this.config));
    return q * r;
  }

  /** Values of one encoding, E * q * r. */
  get encodingSize(): number {
    return codeChannels(networkSpec(this.config), this.config.options) * this.positions;
  }

  /** Parameters and running means by name, row-major, as `docs/export.md` lists them. */
  async parameters(): Promise<Record<string, TensorToStore>> {
    const types = this.#session.persistent();
    const values = await this.#session.read([...types.keys()]);
    const tensors = [...types].map(([name, { shape }]): [string, TensorToStore] => [
      name,
      { shape, data: values[name] ?? new Float32Array(0) },
    ]);
    return Object.fromEntries(tensors);
  }

  /** Backend, threads and memory of the explainer's session. */
  info(): SessionInfo {
    return this.#session.info();
  }

  /** Frees the memory. Safe to call twice. */
  dispose(): void {
    this.#session.dispose();
    if (this.#ownsPerformer) this.performer.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #decodedSizes(): Record<`h_${number}`, number> {
    return decodedSizes(networkSpec(this.config));
  }
}

/** The newest sound checkpoint. Throws `E_FILE` saying what is wrong with the newest of all. */
async function newest(
  run: string,
  { fingerprint }: RunConfig,
  session: Session,
  onWarning: ((text: string) => void) | undefined,
): Promise<Checkpoint> {
  const reasons: string[] = [];
  const checkpoint = await loadCheckpoint(run, fingerprint, {
    needed: session.persistent(),
    onWarning: (text) => {
      reasons.push(text);
      onWarning?.(text);
    },
  });
  if (checkpoint) return checkpoint;
  throw noCheckpoint(run, reasons[0] ?? 'there is none');
}

function noCheckpoint(run: string, why: string): PartlensError {
  return new PartlensError(
    'E_FILE',
    `${run} holds no checkpoint that can be read: ${why.replace(/\.$/, '')}.\nGo on with it: train --resume.`,
  );
}

/** Whole batches, one image up to the mix of the tracks, and encodings from there on. */
function programsOf(config: RunConfig): Record<string, Graph> {
  const spec = networkSpec(config);
  const evaluate = buildNetwork(spec, config.options, { batch: BATCH, mode: 'evaluate' });
  evaluate.graph.output('layer1', evaluate.a1);
  evaluate.graph.output('layer2', evaluate.a2);
  evaluate.graph.output('interp', evaluate.xInterp);
  evaluate.graph.output('ordin', evaluate.xOrdin);
  evaluate.h.forEach((h, l) => {
    evaluate.graph.output(`h_${String(l + 1)}`, spec.site ? siteUnits(h, spec) : h);
  });
  const encode = buildNetwork(spec, config.options, { batch: 1, mode: 'evaluate' });
  for (const [name, value] of Object.entries(ENCODING)) {
    encode.graph.output(name, encode[value]);
  }
  if (encode.seen) encode.graph.output('code', encode.seen.code);
  return {
    evaluate: evaluate.graph,
    encode: encode.graph,
    decode: buildDecoder(spec, config.options, DECODE_BATCH),
    ...(encode.seen ? { gates: buildGates(spec, config.options, DECODE_BATCH) } : {}),
  };
}

/** The same model, cut at the same places. */
function isPerformerOf({ performer: known }: RunConfig, performer: Performer): boolean {
  const { fingerprint, layer, targets } = performer;
  const names = targets.map(({ name }) => name);
  return (
    fingerprint === known.fingerprint &&
    layer.name === known.layer &&
    names.join('\n') === known.targets.join('\n')
  );
}

async function performerOf(
  { performer }: RunConfig,
  options: LoadExplainerOptions,
): Promise<Performer> {
  const { path, layer, targets, output, preprocessing } = performer;
  return loadPerformer(path, {
    layer,
    targets,
    ...(output === undefined ? {} : { output }),
    ...(preprocessing ? { preprocessing } : {}),
    runtime: options.runtime,
    ...deviceOptions(options),
  });
}

/** A value `count` times. */
export function repeated(value: Float32Array, count: number): Float32Array {
  const result = new Float32Array(count * value.length);
  for (let row = 0; row < count; row++) result.set(value, row * value.length);
  return result;
}
