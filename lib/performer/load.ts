import { expected, PartlensError, requireNames, requireText, withMemoryErrors } from '../errors.js';
import type { DeviceOptions } from '../engine/session.js';
import { featureInfo, layerInfo, poolInfo, siteInfo } from './layer_info.js';
import { nativeRunner } from './native_runner.js';
import { elements, isMaps, type NetValue, type Network } from './network.js';
import type { OnnxModel } from './onnx_model.js';
import { readOnnx } from './onnx_read.js';
import { indicesOf, parseOutput, type OutputName } from './output_part.js';
import { chooseOutput } from './outputs.js';
import { NetworkParts, type ProgramSpec } from './parts.js';
import { bypassName, Performer, targetName, type PerformerFacts } from './performer.js';
import { completePreprocessing, parsePreprocessing, readSidecar } from './preprocessing.js';
import type { Preprocessing, Sidecar } from './preprocessing.js';
import { logitsOf } from './propose.js';
import { createOnnxRuntimeRunner, type OnnxRuntimeOptions, type Runner } from './runtime/index.js';
import { selectCut, type Cut, type DecoderKind } from './select.js';
import { costOfWay } from './tail.js';
import { TailPart } from './tail_part.js';
import {
  requireRuntime,
  runtimeProgram,
  withRuntime,
  type RuntimeChoice,
  type RuntimeUse,
} from './with_runtime.js';

export interface LoadPerformerOptions extends DeviceOptions {
  /** Value or node whose maps are explained; default: what `inspectModel` proposes. */
  layer?: string;
  /** Features to be rebuilt, in the order of the network; default: what `inspectModel` proposes. */
  targets?: readonly string[];
  /**
   * What the head computes; default: the graph's only output. `scores[17,:]` is row 17 of each image's
   * scores, `boxes[3,5]` one number: a class of a detector's box.
   */
  output?: string;
  /** The decoder that layer and targets are proposed for, default `own`. */
  decoder?: DecoderKind;
  /** Joined with the JSON file of the model's name; these fields win. */
  preprocessing?: Partial<Preprocessing>;
  /** Images that are computed together, default 8; any number can be asked for. */
  batch?: number;
  /** Default `auto`: partlens where it has every op, else onnxruntime-node, the optional peer. */
  runtime?: RuntimeChoice | undefined;
}

/**
 * Loads a CNN from ONNX (opset 7 to 26) and cuts it: input -> layer -> targets -> output.
 *
 * Preprocessing and class names come from the JSON file with the model's name (see `Sidecar`) or from
 * the options; nothing is guessed. What partlens has no op for is computed by onnxruntime-node where it is
 * installed (`runtime`). Throws `E_FILE`, `E_ONNX` (naming node, op type and opset),
 * `E_ARGUMENT` for unknown names (listing the nearest), for layers that cannot be explained and for
 * preprocessing that is missing; `E_BACKEND`, `E_MEMORY` from the session.
 */
export async function loadPerformer(
  path: string,
  options: LoadPerformerOptions = {},
): Promise<Performer> {
  return withMemoryErrors('loadPerformer', () => load(path, options));
}

async function load(path: string, options: LoadPerformerOptions): Promise<Performer> {
  const { batch = 8, layer, targets, runtime = 'auto' } = options;
  requireText(path, 'path', 'loadPerformer');
  if (layer !== undefined) requireText(layer, 'layer', 'loadPerformer');
  if (targets !== undefined) requireNames(targets, 'targets', 'loadPerformer');
  if (!Number.isInteger(batch) || batch < 1) {
    throw expected('an integer >= 1', 'batch', batch, { op: 'loadPerformer' });
  }
  requireRuntime(runtime, 'loadPerformer');
  const given = parsePreprocessing(options.preprocessing ?? {});
  const [model, sidecar] = await Promise.all([readOnnx(path), readSidecar(path)]);
  const size = given.size ?? sidecar.preprocessing.size;
  const wanted = options.output === undefined ? undefined : outputName(model, options.output);
  const output = chooseOutput(model, wanted?.name, { runtime, size });
  const names = [output, ...(layer === undefined ? [] : [layer]), ...(targets ?? [])];
  const asked = { runtime, names, size };
  const { host, ...read } = await withRuntime(model, asked, (lower) =>
    selectCut(model, { ...options, output }, lower),
  );
  const { network, cut } = read.result;
  try {
    const part = wanted?.places && partOf(network, wanted);
    const facts = factsOf(network, cut, {
      ...{ path, sidecar, given, batch, runtime: read.runtime },
      ...(part ? { part } : {}),
    });
    if (!host) {
      const runner = await ownRunner(network, cut, options);
      return new Performer(runner, facts, tailPartOf(network, cut, facts));
    }
    const { reason } = read.runtime;
    const runner = await foreignRunner(model, read.result, { ...options, batch, host, reason });
    return new Performer(runner, facts, undefined);
  } catch (error) {
    host?.dispose();
    throw error;
  }
}

/** The programs cut out of the file, in onnxruntime. */
async function foreignRunner(
  { path, proto }: OnnxModel,
  { network, cut }: { network: Network; cut: Cut },
  options: OnnxRuntimeOptions,
): Promise<Runner> {
  const programs = Object.entries(programsOf(network, cut)).map(
    ([name, spec]) => [name, runtimeProgram(network, spec)] as const,
  );
  const { batch, host, reason, threads } = options;
  const model = { path, model: proto };
  const run = { batch, host, reason, threads };
  return createOnnxRuntimeRunner(model, Object.fromEntries(programs), run);
}

function outputName(model: OnnxModel, text: string): OutputName {
  const names = new Set(model.nodes.flatMap(({ name, outputs }) => [name, ...outputs]));
  return parseOutput(text, (name) => names.has(name));
}

function partOf(network: Network, wanted: OutputName): { name: string; indices: Int32Array } {
  const value = network.names.get(wanted.name);
  const known = network.views.get(wanted.name);
  const view = known ?? (value && network.views.get(value.name));
  if (!view) throw new PartlensError('E_INTERNAL', `${wanted.name} was not read`);
  const places = wanted.places?.map((at) => at ?? ':').join(',') ?? '';
  return { name: `${wanted.name}[${places}]`, indices: indicesOf(view, wanted) };
}

/** The programs compiled for partlens. */
async function ownRunner(
  network: Network,
  cut: Cut,
  options: LoadPerformerOptions,
): Promise<Runner> {
  const { batch = 8 } = options;
  const programs = programsOf(network, cut);
  const parts = new NetworkParts(network, keptValues(programs, cut));
  const graphs = Object.entries(programs).map(
    ([name, spec]) => [name, parts.program(spec, batch)] as const,
  );
  return nativeRunner(parts, Object.fromEntries(graphs), options);
}

function programsOf(network: Network, cut: Cut): Record<string, ProgramSpec> {
  const { layer, site, bypass, targets, output, learned } = cut;
  const x = (value: NetValue) => ({ name: 'x', value });
  const bypassed = bypass.map((value, i) => ({ name: bypassName(i), value }));
  const answers = [
    { name: 'output', value: output },
    ...targets.map((value, i) => ({ name: targetName(i), value })),
  ];
  const last = targets.at(-1);
  const image = bypassed.filter(({ value }) => value === network.input);
  return {
    features: {
      from: [x(network.input)],
      outputs: [
        { name: 'layer', value: layer },
        ...bypassed.filter((one) => !image.includes(one)),
        ...answers,
      ],
    },
    ...(site.pool
      ? { site: { from: [x(layer)], outputs: [{ name: 'site', value: site.value }] } }
      : {}),
    tail: { from: [x(site.value), ...bypassed], outputs: answers },
    ...(typeof learned === 'string' || !last || last === output
      ? {}
      : { head: { from: [x(last)], outputs: answers.slice(0, 1) } }),
  };
}

function keptValues(programs: Record<string, ProgramSpec>, { output }: Cut): Set<NetValue> {
  const named = Object.values(programs).flatMap(({ from, outputs }) => [...from, ...outputs]);
  return new Set([...named.map(({ value }) => value), logitsOf(output)]);
}

function tailPartOf(network: Network, cut: Cut, { output }: PerformerFacts): TailPart {
  const { site, bypass, targets } = cut;
  const logits = output.classifier ? logitsOf(cut.output) : undefined;
  return new TailPart(network, { site: site.value, bypass, targets, logits });
}

interface FactSources {
  path: string;
  sidecar: Sidecar;
  given: Partial<Preprocessing>;
  batch: number;
  runtime: RuntimeUse;
  /** Of the output, the numbers that count. */
  part?: { name: string; indices: Int32Array };
}

function factsOf(network: Network, cut: Cut, sources: FactSources): PerformerFacts {
  const { path, sidecar, given, batch, runtime, part } = sources;
  const [channels = 1, height = 1, width = 1] = network.input.shape;
  const { bytes } = network;
  const size = part?.indices.length ?? elements(cut.output);
  const { classes } = sidecar;
  if (classes && cut.isModelOutput && !part && classes.length !== size) {
    throw expected(`${String(size)} classes, as the output has`, 'classes', classes.length, {
      op: 'loadPerformer',
      details: { sidecar: sidecar.path },
    });
  }
  const { learned } = cut;
  const kind = cut.output.step?.op.kind ?? '';
  const whole = !part && size >= 2 && !isMaps(cut.output);
  const classifier = whole && !['relu', 'clip', 'activation'].includes(kind);
  const name = part?.name ?? cut.output.name;
  return {
    path,
    fingerprint: network.fingerprint,
    input: { name: network.input.name, channels, height, width },
    layer: layerInfo(cut.layer),
    site: siteInfo(cut.site),
    bypass: cut.bypass.map(featureInfo),
    targets: cut.targets.map(featureInfo),
    output: { name, size, softmax: !part && kind === 'softmax', classifier },
    part: part?.indices,
    learned: typeof learned === 'string' ? learned : { pool: poolInfo(learned.pool) },
    preprocessing: completePreprocessing(sidecar, given, { channels, height, width, bytes }),
    classes,
    batch,
    runtime,
    wholeOutput: elements(cut.output),
    tailCost: costOfWay(network, cut.site.value, [...cut.targets, cut.output]),
    headless: cut.targets.at(-1) === cut.output,
  };
}
