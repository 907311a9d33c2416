import { PartlensError } from '../errors.js';
import { lowerModel, type LowerOptions } from './lower.js';
import { modelError } from './onnx_error.js';
import type { OnnxModel } from './onnx_model.js';

/** Nodes between an output and a value that can be read in its stead. */
const MAX_STEPS = 16;

/** An output that cannot be computed here. */
export interface UnreadableOutput {
  name: string;
  /** Node, op type and way out, as in the error. */
  reason: string;
  /** The nearest value before it that can be read, if there is one: the scores before an ArgMax. */
  instead: string | undefined;
}

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
    model.nodes.flatMap(({ inputs, outputs: made }) =>
      made.map((name) => [name, inputs[0]] as const),
    ),
  );
  const before = (output: string): string | undefined => {
    let name = producers.get(output);
    for (let step = 0; step < MAX_STEPS && name !== undefined && producers.has(name); step++) {
      if (!attempt([name])) return name;
      name = producers.get(name);
    }
    return undefined;
  };
  const readable: string[] = [];
  const unreadable: UnreadableOutput[] = [];
  let first: PartlensError | undefined;
  for (const name of outputs) {
    const error = attempt([name]);
    if (!error) readable.push(name);
    else {
      first ??= error;
      unreadable.push({ name, reason: error.message, instead: before(name) });
    }
  }
  const none = readable.length === 0 && unreadable.every(({ instead }) => instead === undefined);
  if (none && first) throw first;
  return { readable, unreadable };
}
