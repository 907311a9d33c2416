import { PartlensError } from './errors.js';
import type { Graph, Node, Value, ValueType } from './graph.js';
import { fuseSteps } from './ops/linear_step.js';
import { isOptional } from './signature.js';
import { sizeOf } from './tensor.js';

/** Bytes of a tensor in a backend's memory, padding included. */
export type BytesOf = (type: ValueType) => number;
/** A kernel's number in the addon's table. */
export type KernelIndex = (name: string) => number;

/** One tensor of a compiled program: a type at a place of the session's arena. */
export interface Slot extends ValueType {
  /** Bytes from the start of the arena, a multiple of 64. */
  offset: number;
  bytes: number;
}

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
  /** Slot of each input, output, and of each parameter, state and constant used. */
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

const ALIGN = 64;
const align = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/**
 * Compiles the graphs of one session. Parameters and states of one name share one place in all
 * programs; the rest of the arena is planned by lifetime, for each program anew.
 */
export function planPrograms(graphs: ReadonlyMap<string, Graph>, bytesOf: BytesOf): Plan {
  const persistent = new Map<string, Slot>();
  let top = 0;
  const keep = (value: Value): Slot => {
    const { name, kind } = value.node;
    const known = persistent.get(name);
    if (known) {
      if (describe(known) === describe(value)) return known;
      throw new PartlensError(
        'E_SHAPE',
        `Expected one shape for ${kind} ${name} in all programs but received ${describe(known)} and ${describe(value)}.`,
      );
    }
    const slot = { ...typeOf(value), offset: top, bytes: bytesOf(typeOf(value)) };
    top += align(slot.bytes);
    persistent.set(name, slot);
    return slot;
  };

  const compiled = [...graphs].map(
    ([name, graph]) => [name, new Compiler(graph, bytesOf)] as const,
  );
  for (const [, compiler] of compiled) compiler.keepLeaves(keep);
  const programs = new Map<string, Program>();
  let arenaBytes = top;
  for (const [name, compiler] of compiled) {
    const { program, end } = compiler.finish(top);
    programs.set(name, program);
    arenaBytes = Math.max(arenaBytes, end);
  }
  return { programs, arenaBytes, persistentBytes: top };
}

/** A program in the encoding that `native/program.cpp` reads: see ARCHITECTURE.md. */
export function encodeProgram(program: Program, kernelIndex: KernelIndex): Int32Array {
  const words: number[] = [0x504c, 1, program.slots.length, program.ops.length];
  const dtypes = ['f32', 'i32'];
  const layouts = ['rows', 'maps', 'conv_weight', 'linear_weight'];
  for (const { dtype, layout, shape, chw, offset } of program.slots) {
    const dims = [0, 1, 2, 3].map((axis) => shape[axis] ?? 1);
    words.push(dtypes.indexOf(dtype), layouts.indexOf(layout), shape.length, ...dims);
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

function typeOf({ shape, dtype, layout, chw }: ValueType): ValueType {
  return { shape, dtype, layout, chw };
}

function describe({ shape, dtype, layout, chw }: ValueType): string {
  return `${dtype} ${layout} (${shape.join(', ')})${chw ? ` of (${chw.join(', ')})` : ''}`;
}

/** One stretch of memory of a program with the ops between which it is in use. */
interface Buffer {
  bytes: number;
  first: number;
  last: number;
  offset: number;
}

/** Turns one graph into a program: needed nodes in order, lifetimes, offsets. */
class Compiler {
  readonly #nodes: Node[];
  readonly #buffers = new Map<Value, Buffer>();
  readonly #kept = new Map<Value, Slot>();
  readonly #readers: ReadonlyMap<Value, number>;

  constructor(
    readonly graph: Graph,
    readonly bytesOf: BytesOf,
  ) {
    this.#nodes = scheduledNodes(graph);
    this.#readers = countReaders(this.#nodes, wantedOf(graph));
    checkOrder(this.#nodes);
  }

  keepLeaves(keep: (value: Value) => Slot): void {
    for (const node of this.#nodes) {
      if (!isPersistent(node)) continue;
      for (const value of node.outputs) this.#kept.set(value, keep(value));
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
    for (const node of this.#nodes) {
      const [value] = node.outputs;
      if (node.kind === 'op') program.ops.push(this.#op(node, slotOf));
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
    const signatures = Object.values(op.outputs);
    const inputs = node.inputs.map((value) => (value ? slotOf(value) : -1));
    const outputs = node.outputs.map((value, i) =>
      isOptional(signatures[i] ?? '') && !this.#readers.has(value) ? -1 : slotOf(value),
    );
    const attrs = Object.entries(op.attrs).map(([name, type]) => ({
      type,
      value: node.attrs[name] ?? 0,
    }));
    return { kernel: op.name, slots: [...inputs, ...outputs], attrs };
  }

  #slotTable(program: Program): (value: Value) => number {
    const numbers = new Map<Value, number>();
    return (value) => {
      const known = numbers.get(value);
      if (known !== undefined) return known;
      const root = storageOf(value);
      const place = this.#kept.get(root) ?? this.#buffers.get(root);
      if (!place) throw new PartlensError('E_INTERNAL', `${value.node.name} has no memory`);
      const slot = { ...typeOf(value), offset: place.offset, bytes: place.bytes };
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
      const bytes = align(this.bytesOf(typeOf(root)));
      const first = root.node.kind === 'input' ? -1 : position;
      this.#buffers.set(root, { bytes, first, last: position, offset: 0 });
    };
    this.#nodes.forEach((node, position) => {
      for (const value of node.inputs) if (value) touch(value, position);
      for (const value of node.outputs) touch(value, position);
    });
    for (const value of this.graph.outputs.values()) touch(value, end);
    return placeBuffers([...this.#buffers.values()], start);
  }
}

/** Gives every buffer the lowest offset free during its life; returns the end of the last. */
function placeBuffers(buffers: Buffer[], start: number): number {
  const placed: Buffer[] = [];
  let end = start;
  const order = buffers.map((buffer, i) => ({ buffer, i }));
  order.sort((a, b) => b.buffer.bytes - a.buffer.bytes || a.i - b.i);
  for (const { buffer } of order) {
    const rivals = placed.filter((p) => p.first <= buffer.last && buffer.first <= p.last);
    rivals.sort((a, b) => a.offset - b.offset);
    let offset = start;
    for (const rival of rivals) {
      if (offset + buffer.bytes <= rival.offset) break;
      offset = Math.max(offset, rival.offset + rival.bytes);
    }
    buffer.offset = offset;
    placed.push(buffer);
    end = Math.max(end, offset + buffer.bytes);
  }
  return end;
}

function isPersistent({ kind }: Node): boolean {
  return kind === 'parameter' || kind === 'state' || kind === 'constant';
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

/** The nodes that a program of the graph calls or holds, fused, in order. */
export function scheduledNodes(graph: Graph): Node[] {
  const nodes = reachable(wantedOf(graph));
  return fuseSteps(nodes, countReaders(nodes, wantedOf(graph)));
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
function checkOrder(nodes: readonly Node[]): void {
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
    node.outputs.forEach((_, index) => {
      const input = updatedInput(node, index);
      if (input) overwritten.set(input, node);
    });
  }
}

/** Elements of a slot on the host. */
export function elementsOf(slot: Slot): number {
  return sizeOf(slot.shape);
}
