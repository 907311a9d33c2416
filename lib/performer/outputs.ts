import type { ImageSize } from '../data/image_size.js';
import { expected, PartlensError, show } from '../errors.js';
import { lowerModel, type LowerOptions } from './lower.js';
import { modelError } from './onnx_error.js';
import type { OnnxModel } from './onnx_model.js';
import type { RuntimeChoice } from './with_runtime.js';

/** Nodes between an output and a value that can be read in its stead. */
const MAX_STEPS = 16;

/** An output that cannot be computed here. */
export interface UnreadableOutput {
  name: string;
  /** Node, op type and way out, as in the error. */
  reason: string;
  /** The nearest value before it that can be read, if there is one: the scores before an ArgMax. */
  instead: string | undefined;
  /** It is only which of `instead` is largest or smallest: those say more. */
  isIndex: boolean;
}

/** Ops that tell which score wins, and ops that only dress their answer. */
const INDEX = new Set(['ArgMax', 'ArgMin', 'Hardmax', 'TopK']);
const DRESS = new Set(['Cast', 'Identity', 'Squeeze', 'Unsqueeze', 'Reshape', 'Flatten']);

/**
 * Which outputs of a model can be lowered, each tried alone where not all can together. Throws the
 * first output's error when none can be read and nothing stands in for it.
 */
export function readableOutputs(
  model: OnnxModel,
  options: Omit<LowerOptions, 'wanted'> = {},
): { readable: string[]; unreadable: UnreadableOutput[] } {
  const attempt = (wanted: readonly string[]): PartlensError | undefined => {
    try {
      lowerModel(model, { ...options, wanted });
      return undefined;
    } catch (error) {
      if (error instanceof PartlensError && error.code === 'E_ONNX') return error;
      throw error;
    }
  };
  const outputs = model.outputs;
  if (outputs.length === 0) throw modelError('at least one output', model.path, 'none');
  if (!attempt(outputs)) return { readable: [...outputs], unreadable: [] };
  const producers = new Map(
    model.nodes.flatMap(({ opType, inputs, outputs: made }) =>
      made.map((name) => [name, { opType, before: inputs[0] }] as const),
    ),
  );
  const before = (output: string): Pick<UnreadableOutput, 'instead' | 'isIndex'> => {
    const passed: string[] = [];
    let at = producers.get(output);
    while (at?.before !== undefined && producers.has(at.before) && passed.length < MAX_STEPS) {
      passed.push(at.opType);
      if (!attempt([at.before])) {
        const isIndex =
          passed.some((one) => INDEX.has(one)) &&
          passed.every((one) => INDEX.has(one) || DRESS.has(one));
        return { instead: at.before, isIndex };
      }
      at = producers.get(at.before);
    }
    return { instead: undefined, isIndex: false };
  };
  const readable: string[] = [];
  const unreadable: UnreadableOutput[] = [];
  let first: PartlensError | undefined;
  for (const name of outputs) {
    const error = attempt([name]);
    if (!error) readable.push(name);
    else {
      first ??= error;
      unreadable.push({ name, reason: error.message, ...before(name) });
    }
  }
  const none = readable.length === 0 && unreadable.every(({ instead }) => instead === undefined);
  if (none && first) throw first;
  return { readable, unreadable };
}

/**
 * The output that a performer is to have: the one that is named, the model's only one (the scores where it
 * is only the index of the largest), or of several the only one that can be read here. Throws `E_ARGUMENT`
 * listing them where the choice is the user's.
 */
export function chooseOutput(
  model: OnnxModel,
  named: string | undefined,
  { runtime, size }: { runtime: RuntimeChoice; size: ImageSize | undefined },
): string {
  if (named !== undefined) return named;
  const { outputs } = model;
  const isPlain = outputs.length === 1 && !outputs.some((name) => mayBeIndex(model, name));
  const found = isPlain || runtime === 'onnxruntime' ? undefined : tryOutputs(model, size);
  const choices = found && found.readable.length > 0 ? found.readable : outputs;
  const [only, other] = choices;
  if (only === undefined || other !== undefined) {
    throw expected(`one of ${choices.map(show).join(', ')}`, 'output', undefined, {
      op: 'loadPerformer',
    });
  }
  const scores = found?.unreadable.find(({ name, isIndex }) => name === only && isIndex);
  return scores?.instead ?? only;
}

/** True where a node that tells which score wins makes the value, or what dresses its answer. */
function mayBeIndex({ nodes }: OnnxModel, output: string): boolean {
  const producers = new Map(nodes.flatMap((node) => node.outputs.map((name) => [name, node])));
  let node = producers.get(output);
  for (let step = 0; step < MAX_STEPS && node && DRESS.has(node.opType); step++) {
    node = producers.get(node.inputs[0] ?? '');
  }
  return node !== undefined && INDEX.has(node.opType);
}

/** As `readableOutputs`; undefined where it throws `E_ONNX`. */
export function tryOutputs(
  model: OnnxModel,
  size: ImageSize | undefined,
): ReturnType<typeof readableOutputs> | undefined {
  try {
    return readableOutputs(model, size === undefined ? {} : { size });
  } catch (error) {
    if (error instanceof PartlensError && error.code === 'E_ONNX') return undefined;
    throw error;
  }
}
