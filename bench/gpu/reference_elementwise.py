"""Float64 references of the elementwise kernels with kinds and of those with a value per channel."""
from __future__ import annotations

from math import erf, pi, sqrt
from types import SimpleNamespace as Names
from typing import Callable

import numpy as np

from .kernels import ACTIVATIONS, BINARIES
from .reference_ops import Arrays, Shapes

Function = Callable[[np.ndarray, Names], np.ndarray]

_erf = np.vectorize(erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _elu(x: np.ndarray, alpha: float, width: float = 1) -> np.ndarray:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / width), x)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))


FUNCTIONS: dict[str, Function] = {
    'sigmoid': lambda x, a: _sigmoid(x),
    'tanh': lambda x, a: np.tanh(x),
    'hard_sigmoid': lambda x, a: np.clip(a.alpha * x + a.beta, 0, 1),
    'hard_swish': lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1),
    'silu': lambda x, a: x * _sigmoid(x),
    'gelu': lambda x, a: x / 2 * (1 + _erf(x / sqrt(2))),
    'gelu_tanh': lambda x, a: _gelu_tanh(x),
    'leaky_relu': lambda x, a: np.where(x < 0, a.alpha * x, x),
    'elu': lambda x, a: _elu(x, a.alpha),
    'celu': lambda x, a: _elu(x, a.alpha, a.alpha),
    'selu': lambda x, a: a.beta * _elu(x, a.alpha),
    'softplus': lambda x, a: np.log1p(np.exp(x)),
    'softsign': lambda x, a: x / (1 + abs(x)),
    'mish': lambda x, a: x * np.tanh(np.log1p(np.exp(x))),
    'exp': lambda x, a: np.exp(x),
    'log': lambda x, a: np.log(x),
    'sqrt': lambda x, a: np.sqrt(x),
    'reciprocal': lambda x, a: 1 / x,
    'abs': lambda x, a: abs(x),
    'neg': lambda x, a: -x,
    'erf': lambda x, a: _erf(x),
    'square': lambda x, a: x * x,
    'power': lambda x, a: x ** a.alpha,
}
STEP = 1e-6  # of central differences: their error is far below that of float32


def activation_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': FUNCTIONS[ACTIVATIONS[int(a.kind)]](t.x, a)}


def activation_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    f = FUNCTIONS[ACTIVATIONS[int(a.kind)]]
    return {'dx': t.g * (f(t.x + STEP, a) - f(t.x - STEP, a)) / (2 * STEP)}


def _along(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values per channel of maps or feature of rows, ready to be multiplied."""
    return values.reshape(1, -1, 1, 1) if x.ndim == 4 else values


def affine_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    y = _along(t.scale, t.x) * t.x + _along(t.shift, t.x)
    return {'y': np.maximum(y, 0) if a.relu else y}


def affine_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    dx = _along(t.scale, t.g) * t.g
    return {'dx': dx if t.y is None else np.where(t.y > 0, dx, 0)}


def prelu_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': np.where(t.x < 0, _along(t.slope, t.x) * t.x, t.x)}


def prelu_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': np.where(t.x < 0, _along(t.slope, t.x) * t.g, t.g)}


def binary_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    by_kind = dict(add=np.add, sub=np.subtract, mul=np.multiply, div=np.divide, max=np.maximum,
                   min=np.minimum, pow=np.power)
    return {'y': by_kind[BINARIES[int(a.kind)]](t.a, t.b)}


def _slopes(kind: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d f / d a, d f / d b; where max or min tie all of it is a's."""
    one = np.ones(np.broadcast_shapes(a.shape, b.shape))
    if kind == 'add':
        return one, one
    if kind == 'sub':
        return one, -one
    if kind == 'mul':
        return b * one, a * one
    if kind == 'div':
        return one / b, -a / b ** 2
    if kind in ('max', 'min'):
        first = a >= b if kind == 'max' else a <= b
        return first * one, ~first * one
    return b * a ** (b - 1), a ** b * np.log(a)


def binary_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    found = {}
    for name, operand, slope in zip(('da', 'db'), (t.a, t.b), _slopes(BINARIES[int(a.kind)], t.a, t.b)):
        axes = tuple(i for i, size in enumerate(operand.shape) if size == 1)
        found[name] = (t.g * slope).sum(axis=axes, keepdims=True)
    return found
