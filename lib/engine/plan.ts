import { PartlensError } from '../errors.js';
import { groupSteps, type StepGroup } from './flat_steps.js';
import { fuseCalls } from './fuse.js';
import type { Graph, Node, Value } from './graph.js';
import {
  align,
  ALIGN,
  PersistentMemory,
  placeBuffers,
  typeOf,
  type Buffer,
  type BytesOf,
  type Slot,
} from './memory.js';
import { isOptional } from './signature.js';
import { pictures } from './pictures.js';
import { LAYOUTS, sizeOf, type ValueType } from './tensor.js';

/** A kernel's number in the addon's table. */
export type KernelIndex = (name: string) => number;

export interface PlannedOp {
  kernel: string;
  /** Inputs, then outputs; -1 for what is absent. */
  slots: number[];
  /** 4-byte fields in the order of the kernel's attribute struct. */
  attrs: { type: 'i32' | 'f32'; value: number }[];
}

/** A graph compiled to a flat list of kernel calls over fixed places in memory. */
export interface Program {
  slots: Slot[];
  ops: PlannedOp[];
  /** Slot of each input, output, and of each tensor used that the session keeps. */
  inputs: Map<string, number>;
  outputs: Map<string, number>;
  persistent: Map<string, { slot: number; node: Node }>;
}

export interface Plan {
  programs: Map<string, Program>;
  /** Memory of the session: everything below, all programs share it. */
  arenaBytes: number;
  /** Parameters, states and constants. */
  persistentBytes: number;
}

export interface PlanOptions {
  /** Whether the backend takes pictures as they come (`pictures.ts`), default false. */
  pictures?: boolean;
}

/**
 * Compiles the graphs of one session. Parameters and states of one name share one place in all
 * programs; the rest of the arena is planned by lifetime, for each program anew.
 */
export function planPrograms(
  graphs: ReadonlyMap<string, Graph>,
  bytesOf: BytesOf,
  options: PlanOptions = {},
): Plan {
  const persistent = new PersistentMemory(bytesOf);
  const compiled = [...graphs].map(
    ([name, graph]) => [name, new Compiler(graph, bytesOf, options)] as const,
  );
  for (const [, compiler] of compiled) compiler.keepGroups(persistent);
  for (const [, compiler] of compiled) compiler.keepLeaves(persistent);
  const programs = new Map<string, Program>();
  let arenaBytes = persistent.bytes;
  for (const [name, compiler] of compiled) {
    const { program, end } = compiler.finish(persistent.bytes);
    programs.set(name, program);
    arenaBytes = Math.max(arenaBytes, end);
  }
  return { programs, arenaBytes, persistentBytes: persistent.bytes };
}

/** A program in the encoding that `native/program.cpp` reads: see ARCHITECTURE.md. */
export function encodeProgram(program: Program, kernelIndex: KernelIndex): Int32Array {
  const words: number[] = [0x504c, 1, program.slots.length, program.ops.length];
  const dtypes = ['f32', 'i32'];
  for (const { dtype, layout, shape, chw, offset } of program.slots) {
    const dims = [0, 1, 2, 3].map((axis) => shape[axis] ?? 1);
    words.push(dtypes.indexOf(dtype), LAYOUTS.indexOf(layout), shape.length, ...dims);
    words.push(...(chw ?? [0, 0, 0]), offset / ALIGN);
  }
  const bits = new DataView(new ArrayBuffer(4));
  for (const { kernel, slots, attrs } of program.ops) {
    words.push(kernelIndex(kernel), slots.length, ...slots, attrs.length);
    for (const { type, value } of attrs) {
      if (type === 'f32') bits.setFloat32(0, value);
      else bits.setInt32(0, value);
      words.push(bits.getInt32(0));
    }
  }
  return Int32Array.from(words);
}

/** Turns one graph into a program: needed nodes in order, lifetimes, offsets. */
class Compiler {
  readonly #nodes: readonly Node[];
  #groups: readonly StepGroup[];
  readonly #buffers = new Map<Value, Buffer>();
  readonly #kept = new Map<Value, Slot>();
  readonly #readers: ReadonlyMap<Value, number>;
  readonly #pictures: ReadonlySet<Value>;

  constructor(
    readonly graph: Graph,
    readonly bytesOf: BytesOf,
    options: PlanOptions,
  ) {
    const { nodes, groups } = schedule(graph);
    this.#nodes = nodes;
    this.#groups = groups;
    this.#readers = countReaders(this.#nodes, wantedOf(graph));
    this.#pictures = options.pictures ? pictures(this.#nodes, wantedOf(graph)) : new Set();
    checkOrder(this.#nodes, this.#readers);
  }

  /** Comes before any program's `keepLeaves`: a group whose tensors lie elsewhere steps one by one. */
  keepGroups(memory: PersistentMemory): void {
    this.#groups = this.#groups.filter(({ members }) =>
      keptOperands(members).every((values) => memory.keepTogether(values)),
    );
  }

  keepLeaves(memory: PersistentMemory): void {
    for (const node of this.#nodes) {
      if (!isPersistent(node)) continue;
      for (const value of node.outputs) this.#kept.set(value, memory.keep(value));
    }
  }

  finish(start: number): { program: Program; end: number } {
    const end = this.#place(start);
    const program: Program = {
      slots: [],
      ops: [],
      inputs: new Map(),
      outputs: new Map(),
      persistent: new Map(),
    };
    const slotOf = this.#slotTable(program);
    const flat = new Map(
      this.#groups.flatMap((group) => group.members.map((node) => [node, group])),
    );
    for (const node of this.#nodes) {
      const [value] = node.outputs;
      const group = flat.get(node);
      if (group && node !== group.members[0]) continue;
      if (group) program.ops.push(this.#flatOp(node, group, program, slotOf));
      else if (node.kind === 'op') program.ops.push(this.#op(node, slotOf));
      else if (node.kind === 'input' && value) program.inputs.set(node.name, slotOf(value));
      else if (isPersistent(node) && value) {
        program.persistent.set(node.name, { slot: slotOf(value), node });
      }
    }
    for (const [name, value] of this.graph.outputs) program.outputs.set(name, slotOf(value));
    return { program, end };
  }

  #op(node: Node, slotOf: (value: Value) => number): PlannedOp {
    const { op } = node;
    if (!op) throw new PartlensError('E_INTERNAL', `${node.name} has no kernel`);
    const inputs = node.inputs.map((value) => (value ? slotOf(value) : -1));
    const outputs = Object.values(op.outputs).map((signature, i) => {
      const value = node.outputs[i];
      return !value || (isOptional(signature) && !this.#readers.has(value)) ? -1 : slotOf(value);
    });
    const attrs = Object.entries(op.attrs).map(([name, type]) => ({
      type,
      value: node.attrs[name] ?? 0,
    }));
    return { kernel: op.name, slots: [...inputs, ...outputs], attrs };
  }

  /** One step over the memory of all members: their tensors lie one after the other. */
  #flatOp(
    node: Node,
    { members }: StepGroup,
    program: Program,
    slotOf: (value: Value) => number,
  ): PlannedOp {
    const whole = (place: { offset: number }, values: readonly (Value | undefined)[]): number => {
      const bytes = values.reduce((sum, value) => sum + (value ? this.#bytes(value) : 0), 0);
      const type = { shape: [bytes / 4], dtype: 'f32', layout: 'rows', chw: undefined } as const;
      return program.slots.push({ ...type, offset: place.offset, bytes }) - 1;
    };
    const { slots, ...rest } = this.#op(node, slotOf);
    const operands = [...node.inputs, ...node.outputs];
    const hyper = node.inputs.length - 1;
    const flat = slots.map((slot, i) => {
      const place = program.slots[slot];
      const values = members.map(({ inputs, outputs }) => [...inputs, ...outputs][i]);
      return i === hyper || !place || !operands[i] ? slot : whole(place, values);
    });
    return { ...rest, slots: flat };
  }

  #bytes(value: Value): number {
    return align(this.bytesOf(this.#typeOf(value)));
  }

  #typeOf(value: Value): ValueType {
    const type = typeOf(value);
    return this.#pictures.has(value) ? { ...type, layout: 'picture' } : type;
  }

  #slotTable(program: Program): (value: Value) => number {
    const numbers = new Map<Value, number>();
    return (value) => {
      const known = numbers.get(value);
      if (known !== undefined) return known;
      const root = storageOf(value);
      const place = this.#kept.get(root) ?? this.#buffers.get(root);
      if (!place) throw new PartlensError('E_INTERNAL', `${value.node.name} has no memory`);
      const slot = { ...this.#typeOf(value), offset: place.offset, bytes: place.bytes };
      numbers.set(value, program.slots.push(slot) - 1);
      return program.slots.length - 1;
    };
  }

  /** Lifetimes by position in the op list, then offsets, the largest buffers first. */
  #place(start: number): number {
    const end = this.#nodes.length;
    const touch = (value: Value, position: number): void => {
      const root = storageOf(value);
      if (this.#kept.has(root)) return;
      const known = this.#buffers.get(root);
      if (known) {
        known.last = Math.max(known.last, position);
        return;
      }
      const bytes = this.#bytes(root);
      const first = root.node.kind === 'input' ? -1 : position;
      this.#buffers.set(root, { bytes, first, last: position, offset: 0 });
    };
    this.#nodes.forEach((node, position) => {
      for (const value of node.inputs) if (value) touch(value, position);
      for (const value of node.outputs) touch(value, position);
    });
    for (const value of this.graph.outputs.values()) touch(value, end);
    const groups = this.#groups.map(({ members }) =>
      members.flatMap(
        ({ inputs: [, gradient] }) => (gradient && this.#buffers.get(gradient)) ?? [],
      ),
    );
    return placeBuffers([...this.#buffers.values()], groups, start);
  }
}

function isPersistent({ kind }: Node): boolean {
  return kind === 'parameter' || kind === 'state' || kind === 'frozen' || kind === 'constant';
}

/** The value whose memory this one lives in: through views, and from `w_out` to w. */
function storageOf(value: Value): Value {
  const { node, index } = value;
  const source = node.kind === 'view' ? node.inputs[0] : updatedInput(node, index);
  return source ? storageOf(source) : value;
}

function updatedInput(node: Node, index: number): Value | undefined {
  if (!node.op?.updates) return undefined;
  const output = Object.keys(node.op.outputs)[index] ?? '';
  if (!output.endsWith('_out')) return undefined;
  return node.inputs[Object.keys(node.op.inputs).indexOf(output.slice(0, -4))];
}

/** What a run computes: outputs, and updates of parameters and states. */
function wantedOf({ outputs, updates }: Graph): Value[] {
  return [...outputs.values(), ...updates];
}

/** The nodes that a program of the graph calls or holds, fused, in order; steps that run as one. */
export function schedule(graph: Graph): { nodes: readonly Node[]; groups: StepGroup[] } {
  return groupSteps(fuseCalls(reachable(wantedOf(graph)), wantedOf(graph)));
}

/** What an optimizer's steps update, operand by operand: all w, all m ... */
function keptOperands(members: readonly Node[]): Value[][] {
  const operands = (members[0]?.inputs ?? []).map((_, i) =>
    members.flatMap(({ inputs }) => inputs[i] ?? []),
  );
  return operands.filter((values) => values.every(({ node }) => isPersistent(node)));
}

/** Nodes that the wanted values need, in order of creation. */
function reachable(wanted: readonly Value[]): Node[] {
  const found = new Set<Node>();
  const stack = wanted.map((value) => value.node);
  for (let node = stack.pop(); node; node = stack.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    for (const input of node.inputs) if (input) stack.push(input.node);
  }
  return [...found].sort((a, b) => a.id - b.id);
}

/** How often each value is read: by nodes, and once for each time that it is wanted. */
function countReaders(nodes: readonly Node[], wanted: readonly Value[]): Map<Value, number> {
  const readers = new Map<Value, number>();
  const count = (value: Value | undefined): void => {
    if (value) readers.set(value, (readers.get(value) ?? 0) + 1);
  };
  wanted.forEach(count);
  for (const node of nodes) node.inputs.forEach(count);
  return readers;
}

/** An update overwrites its input's memory: nothing may read the old value afterwards. */
function checkOrder(nodes: readonly Node[], readers: ReadonlyMap<Value, number>): void {
  const overwritten = new Map<Value, Node>();
  for (const node of nodes) {
    for (const input of node.inputs) {
      const by = input && overwritten.get(input);
      if (by) {
        throw new PartlensError(
          'E_INTERNAL',
          `${node.name} reads ${input.node.name} after ${by.name} has overwritten it`,
        );
      }
    }
    node.outputs.forEach((output, index) => {
      const input = updatedInput(node, index);
      const signature = Object.values(node.op?.outputs ?? {})[index] ?? '';
      const absent = isOptional(signature) && !readers.has(output); // no kernel writes it
      if (input && !absent) overwritten.set(input, node);
    });
  }
}

/** Elements of a slot on the host. */
export function elementsOf(slot: Slot): number {
  return sizeOf(slot.shape);
}
