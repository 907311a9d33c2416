"""What a call must do, by arithmetic: bytes, operations; equal calls."""
from __future__ import annotations

from typing import Iterable

import numpy as np

from .program import Call


def operand_bytes(call: Call) -> int:
    """Every input read once, every output written once; padding not counted."""
    return sum(4 * value.type.count for value in call.operands if value)


def operations(call: Call) -> int:
    """Floating-point operations of the matrix products in a call; 0 for all else."""
    kernel, shapes = call.kernel, [v.type.shape if v else () for v in call.operands]
    sizes: dict[str, int] = {}
    for pattern, shape in zip(kernel.patterns, shapes):
        sizes.update({x: size for x, size in zip(pattern.letters, shape) if not x.isdigit()})
    if kernel.name.startswith('conv2d_') and not kernel.name.endswith('bias'):
        return 2 * int(np.prod([sizes[x] for x in 'NOPQCRS'], dtype=np.int64))
    if kernel.name.startswith('gram_'):
        return 2 * int(np.prod([sizes[x] for x in 'NDDHW'], dtype=np.int64))
    if kernel.name.startswith('linear_') and not kernel.name.endswith('bias'):
        products = 2 if kernel.name.endswith('_step') and call.outputs[-1] else 1
        return products * 2 * sizes['N'] * sizes['F'] * sizes['O']
    if kernel.name.startswith('filter_loss_'):
        return 2 * sizes['N'] * sizes['D'] * sizes['T'] * sizes['n'] * sizes['m']
    return 0


def signature(call: Call) -> tuple:
    """Equal for calls that do the same work."""
    types = tuple(value.type if value else None for value in call.operands)
    return call.kernel.name, types, tuple(sorted(call.attrs.items()))


def distinct(calls: Iterable[Call]) -> list[tuple[Call, int]]:
    """Each different call with how often it comes."""
    found: dict[tuple, tuple[Call, int]] = {}
    for call in calls:
        key = signature(call)
        found[key] = found.get(key, (call, 0))[0], found.get(key, (call, 0))[1] + 1
    return list(found.values())
