import { PartlensError } from '../errors.js';
import type { Value } from './graph.js';
import type { ValueType } from './tensor.js';

/** Bytes of a tensor in a backend's memory, padding included. */
export type BytesOf = (type: ValueType) => number;

/** One tensor of a compiled program: a type at a place of the session's arena. */
export interface Slot extends ValueType {
  /** Bytes from the start of the arena, a multiple of 64. */
  offset: number;
  bytes: number;
}

export const ALIGN = 64;
/** Up to the next multiple of ALIGN. */
export const align = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/** Places of parameters, states and constants: by name, one for all programs. */
export class PersistentMemory {
  readonly #slots = new Map<string, Slot>();
  bytes = 0;

  constructor(readonly bytesOf: BytesOf) {}

  keep(value: Value): Slot {
    const { name, kind } = value.node;
    const known = this.#slots.get(name);
    if (known) {
      if (describe(known) === describe(value)) return known;
      throw new PartlensError(
        'E_SHAPE',
        `Expected one shape for ${kind} ${name} in all programs but received ${describe(known)} and ${describe(value)}.`,
      );
    }
    const slot = { ...typeOf(value), offset: this.bytes, bytes: this.bytesOf(typeOf(value)) };
    this.bytes += align(slot.bytes);
    this.#slots.set(name, slot);
    return slot;
  }

  /** Keeps the values one after the other; false if another program has them elsewhere. */
  keepTogether(values: readonly Value[]): boolean {
    const slots = values.map((value) => this.keep(value));
    return slots.every((slot, i) => {
      const before = slots[i - 1];
      return !before || slot.offset === before.offset + align(before.bytes);
    });
  }
}

export function typeOf({ shape, dtype, layout, chw }: ValueType): ValueType {
  return { shape, dtype, layout, chw };
}

function describe({ shape, dtype, layout, chw }: ValueType): string {
  return `${dtype} ${layout} (${shape.join(', ')})${chw ? ` of (${chw.join(', ')})` : ''}`;
}

/** One stretch of memory of a program with the ops between which it is in use. */
export interface Buffer {
  bytes: number;
  first: number;
  last: number;
  offset: number;
}

/**
 * Gives every buffer the lowest offset free during its life; those of a group lie one after the other.
 * Returns the end of the last.
 */
export function placeBuffers(buffers: Buffer[], groups: Buffer[][], start: number): number {
  const grouped = new Set(groups.flat());
  const wholes = groups.map((members) => ({
    bytes: members.reduce((sum, { bytes }) => sum + bytes, 0),
    first: Math.min(...members.map(({ first }) => first)),
    last: Math.max(...members.map(({ last }) => last)),
    offset: 0,
  }));
  const end = placeApart([...buffers.filter((buffer) => !grouped.has(buffer)), ...wholes], start);
  groups.forEach((members, i) => {
    let offset = wholes[i]?.offset ?? start;
    for (const member of members) {
      member.offset = offset;
      offset += member.bytes;
    }
  });
  return end;
}

function placeApart(buffers: Buffer[], start: number): number {
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
