"""The lists of native/ as Python values: kernels.def, attrs.def, signatures.def."""
from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class TensorType:
    """What crosses the contract beside the values. chw: the last axis is a flattened (C, H, W)."""

    layout: str
    shape: tuple[int, ...]
    dtype: str = 'f32'
    chw: tuple[int, int, int] | None = None

    @property
    def count(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class Pattern:
    """One operand of signatures.def: `i32 maps? N C P Q`, `any`, `= x`, `=? x`."""

    layout: str
    letters: tuple[str, ...] = ()
    dtype: str = 'f32'
    optional: bool = False
    like: str = ''

    @staticmethod
    def parse(text: str) -> Pattern:
        words = text.split()
        if words[0] in ('=', '=?'):
            return Pattern('', like=words[1], optional=words[0] == '=?')
        dtype = words.pop(0) if words[0] == 'i32' else 'f32'
        layout = words.pop(0)
        return Pattern(layout.rstrip('?'), tuple(words), dtype, layout.endswith('?'))


@dataclass(frozen=True)
class Kernel:
    """One line of kernels.def with its attributes and the types of its operands."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: str
    fields: tuple[tuple[str, str], ...]
    patterns: tuple[Pattern, ...]

    def types(self, sizes: Mapping[str, int], given: Mapping[str, TensorType],
              chw: Mapping[str, tuple[int, int, int]]) -> list[TensorType]:
        """Types of all operands from the sizes of the letters; `given`: those of `any`."""
        found: dict[str, TensorType] = {}
        for name, pattern in zip(self.inputs + self.outputs, self.patterns):
            if pattern.like:
                found[name] = found[pattern.like]
            elif pattern.layout == 'any':
                found[name] = given[name]
            else:
                shape = tuple(int(x) if x.isdigit() else sizes[x] for x in pattern.letters)
                flat = chw.get(pattern.letters[-1]) if len(shape) == 2 else None
                found[name] = TensorType(pattern.layout, shape, pattern.dtype, flat)
        return list(found.values())

    def bind(self, inputs: Sequence[TensorType | None],
             sizes: Mapping[str, int]) -> list[TensorType]:
        """Types of the outputs, from those of the inputs and sizes that these do not tell."""
        letters, given, chw = dict(sizes), {}, {}
        for name, pattern, found in zip(self.inputs, self.patterns, inputs):
            if found is None or pattern.like:
                continue
            given[name] = found
            letters.update(zip(pattern.letters, found.shape))
            if found.chw and pattern.letters:
                chw[pattern.letters[-1]] = found.chw
        return self.types(letters, given, chw)[len(self.inputs):]

    def pack(self, attrs: Mapping[str, float]) -> bytes:
        """The attribute struct. Every field must be given, and no other."""
        names = [name for _, name in self.fields if name != 'none']
        if set(names) != set(attrs):
            raise ValueError(f'{self.name}: expected attributes {names}, received {list(attrs)}')
        return b''.join(struct.pack('<i' if type_ == 'i32' else '<f', attrs.get(name, 0))
                        for type_, name in self.fields)

    def rounded(self, attrs: Mapping[str, float]) -> dict[str, float]:
        """The attributes as the kernel sees them: floats of 32 bits."""
        values = struct.unpack('<' + ''.join('i' if t == 'i32' else 'f' for t, _ in self.fields),
                               self.pack(attrs))
        return {name: value for (_, name), value in zip(self.fields, values)}


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(','))


def _read() -> dict[str, Kernel]:
    native = ROOT / 'native'
    fields = {}
    for name, body in re.findall(r'ATTRS\((\w+),((?:\s*[IF]32\(\w+\))+)\)',
                                 (native / 'attrs.def').read_text()):
        fields[name] = tuple((type_.lower(), field)
                             for type_, field in re.findall(r'([IF]32)\((\w+)\)', body))
    patterns = {name: tuple(Pattern.parse(part) for part in text.split(','))
                for name, text in re.findall(r'SIGNATURE\((\w+), "([^"]*)"\)',
                                             (native / 'signatures.def').read_text())}
    return {name: Kernel(name, _names(inputs), _names(outputs), attrs, fields[attrs],
                         patterns[name])
            for name, inputs, outputs, attrs in re.findall(
                r'^KERNEL\((\w+), \(([^)]*)\),\s+\(([^)]*)\), (\w+)\)',
                (native / 'kernels.def').read_text(), re.M)}


def _kinds(of: str) -> tuple[str, ...]:
    """The functions of `activation` or `binary`; a place here is the attribute `kind`."""
    return tuple(re.findall(rf'^{of}\((\w+)\)$', (ROOT / 'native/kinds.def').read_text(), re.M))


KERNELS = _read()
ACTIVATIONS, BINARIES = _kinds('ACTIVATION'), _kinds('BINARY')
# What ends a convolution; a place here is the attribute `activation` (native/ops/epilogue.h).
ENDINGS = 'none', 'relu', 'clip', *ACTIVATIONS
# Matrix products at the device's precision; everything else is float32 whatever the precision.
PRODUCTS = frozenset({'conv2d_forward', 'conv2d_backward_data', 'conv2d_backward_weight',
                      'linear_forward', 'linear_backward_data', 'linear_backward_weight',
                      'linear_adam_step', 'linear_sgd_step', 'gram_forward', 'gram_backward',
                      'expand_depthwise_forward'})
