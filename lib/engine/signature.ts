import { expected, PartlensError } from '../errors.js';
import {
  checkShape,
  sameShape,
  showShape,
  type Chw,
  type DType,
  type Layout,
  type ValueType,
} from './tensor.js';

/** Sizes of letters that no input shows. */
export type Derive = (
  sizes: Readonly<Record<string, number>>,
  attrs: Readonly<Record<string, number>>,
) => Record<string, number>;

/** A parsed signature. */
interface Signature {
  dtype: DType;
  layout: Layout | 'any';
  optional: boolean;
  letters: string[];
}

/** Parses `i32 rows? N F`. */
export function parseSignature(text: string): Signature {
  const words = text.split(' ');
  const dtype: DType = words[0] === 'i32' ? 'i32' : 'f32';
  if (dtype === 'i32') words.shift();
  const head = words.shift() ?? '';
  const optional = head.endsWith('?');
  const layout = (optional ? head.slice(0, -1) : head) as Layout | 'any';
  return { dtype, layout, optional, letters: words };
}

/** True for an input or output that may be absent. */
export function isOptional(signature: string): boolean {
  return signature.startsWith('=? ') || parseSignature(signature).optional;
}

/** The letters of one op call with the sizes they stand for. */
export class SignatureBinding {
  readonly #op: string;
  readonly #sizes = new Map<string, { size: number; chw: Chw | undefined; from: string }>();
  readonly #inputs = new Map<string, ValueType>();

  constructor(op: string, sizes: Readonly<Record<string, number>>) {
    this.#op = op.replace(/_forward$/, '');
    for (const [letter, size] of Object.entries(sizes)) {
      this.#sizes.set(letter, { size, chw: undefined, from: 'sizes' });
    }
  }

  match(name: string, text: string, value: ValueType | undefined): void {
    const [like, source = ''] = text.split(' ');
    if (like === '=' || like === '=?') {
      if (value || like === '=') this.#matchSame(name, source, value);
      return;
    }
    const { dtype, layout, optional, letters } = parseSignature(text);
    if (!value) {
      if (optional) return;
      throw expected(`a value of ${text}`, name, value, { op: this.#op });
    }
    this.#inputs.set(name, value);
    if (value.dtype !== dtype) {
      throw expected(`dtype ${dtype}`, name, value.dtype, { op: this.#op, code: 'E_DTYPE' });
    }
    if (layout === 'any') return;
    if (value.layout !== layout || value.shape.length !== letters.length) {
      throw this.#shapeError(name, letters, value, ` in layout ${layout}`);
    }
    letters.forEach((letter, axis) => {
      const chw = axis === letters.length - 1 ? value.chw : undefined;
      const size = value.shape[axis] ?? 0;
      const known = /^\d+$/.test(letter)
        ? { size: Number(letter), chw: undefined, from: 'its signature' }
        : this.#sizes.get(letter);
      if (!known) this.#sizes.set(letter, { size, chw, from: name });
      else if (known.size !== size || (axis > 0 && showChw(known.chw) !== showChw(chw))) {
        throw this.#shapeError(name, letters, value, this.#since(letter, known));
      }
    });
  }

  derive(derive: Derive | undefined, attrs: Readonly<Record<string, number>>): void {
    const known = Object.fromEntries([...this.#sizes].map(([letter, { size }]) => [letter, size]));
    for (const [letter, size] of Object.entries(derive?.(known, attrs) ?? {})) {
      if (!Number.isInteger(size) || size < 1) {
        const given = [...this.#inputs]
          .map(([name, v]) => `${name} ${showShape(v.shape)}`)
          .join(', ');
        throw expected(
          `inputs that give ${letter} >= 1`,
          'inputs',
          `${given}: ${letter} = ${String(size)}`,
          {
            op: this.#op,
            code: 'E_SHAPE',
          },
        );
      }
      this.#sizes.set(letter, { size, chw: undefined, from: 'attributes' });
    }
  }

  type(name: string, text: string): ValueType {
    if (text.startsWith('= ')) {
      const source = this.#inputs.get(text.slice(2));
      if (!source) throw new PartlensError('E_INTERNAL', `${this.#op}: ${name} copies ${text}`);
      const { shape, dtype, layout, chw } = source;
      return { shape, dtype, layout, chw };
    }
    const { dtype, layout, letters } = parseSignature(text);
    if (layout === 'any') throw new PartlensError('E_INTERNAL', `${this.#op}: ${name} has no type`);
    const sizes = letters.map((letter) =>
      /^\d+$/.test(letter) ? { size: Number(letter), chw: undefined } : this.#sizes.get(letter),
    );
    const shape = sizes.map((known, i) => {
      if (known) return known.size;
      throw new PartlensError('E_INTERNAL', `${this.#op}: size of ${letters[i] ?? '?'} is unknown`);
    });
    checkShape(shape, name, this.#op);
    const flat = layout === 'rows' || layout === 'linear_weight' ? sizes.at(-1)?.chw : undefined;
    return { shape, dtype, layout, chw: flat };
  }

  #matchSame(name: string, source: string, value: ValueType | undefined): void {
    const like = this.#inputs.get(source);
    if (!value || !like) throw expected(`a value like ${source}`, name, value, { op: this.#op });
    this.#inputs.set(name, value);
    if (like.dtype !== value.dtype) {
      throw expected(`dtype ${like.dtype}`, name, value.dtype, { op: this.#op, code: 'E_DTYPE' });
    }
    const same = sameShape(like.shape, value.shape) && like.layout === value.layout;
    if (!same || showChw(like.chw) !== showChw(value.chw)) {
      throw expected(
        `${name} of the shape of ${source}, ${showShape(like.shape)} in layout ${like.layout}`,
        name,
        `${showShape(value.shape)} in layout ${value.layout}`,
        { op: this.#op, code: 'E_SHAPE' },
      );
    }
  }

  #since(letter: string, known: { size: number; chw: Chw | undefined; from: string }): string {
    const flat = known.chw ? ` flattened from ${showShape(known.chw)}` : '';
    return ` with ${letter} = ${String(known.size)}${flat}, as ${known.from} has`;
  }

  #shapeError(name: string, letters: string[], value: ValueType, why: string): PartlensError {
    const received = `${showShape(value.shape)}${value.chw ? ` flattened from ${showShape(value.chw)}` : ''} in layout ${value.layout}`;
    return new PartlensError(
      'E_SHAPE',
      `Expected ${name} of shape (${letters.join(', ')})${why}, but received ${received}.`,
      { op: this.#op, details: { name, shape: value.shape } },
    );
  }
}

function showChw(chw: Chw | undefined): string {
  return chw ? chw.join(',') : '';
}
