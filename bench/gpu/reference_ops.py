"""Float64 references of the general kernels: each transcribes its equation, in logical order.

A reference takes the inputs (t.x is None where absent), the attributes and the shapes of the
outputs, and returns the outputs by name.
"""
from __future__ import annotations

from types import SimpleNamespace as Names

import numpy as np

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


def linear_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    y = t.x @ t.w.T + (0 if t.b is None else t.b)
    return {'y': np.maximum(y, 0) if a.relu else y}


def linear_backward_data(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': t.g @ t.w}


def linear_backward_weight(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dw': t.g.T @ t.x}


def linear_backward_bias(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'db': t.g.sum(axis=0)}


def gated(values: np.ndarray, t: Names) -> np.ndarray:
    """Cut where the ReLU behind the optional input `gate` is closed."""
    gate = getattr(t, 'gate', None)
    return values if gate is None else np.where(gate > 0, values, 0)


def relu_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': np.maximum(t.x, 0)}


def relu_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': np.where(t.y > 0, t.g, 0)}


def clip_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': np.minimum(np.maximum(t.x, a.lo), a.hi)}


def clip_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': np.where((a.lo < t.x) & (t.x < a.hi), t.g, 0)}


def scale_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': a.factor * t.x}


def add_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': gated(t.a + t.b, t)}


def add_scaled(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': gated(t.a + t.s * t.b, t)}


def concat_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': np.concatenate([t.a, t.b], axis=1)}


def concat_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    first = shape['da'][1] if 'da' in shape else t.g.shape[1] - shape['db'][1]
    return {'da': t.g[:, :first], 'db': t.g[:, first:]}


def _windows(a: Names, H: int, W: int, P: int, Q: int):
    """For each output cell (p, q): its window's corner, unclipped, and its part in the image."""
    for p in range(P):
        for q in range(Q):
            top, left = p * a.stride_h - a.pad_top, q * a.stride_w - a.pad_left
            down, across = (a.kernel_h - 1) * a.dilation_h + 1, (a.kernel_w - 1) * a.dilation_w + 1
            rows = slice(top + max(0, -(top // a.dilation_h)) * a.dilation_h, min(top + down, H),
                         a.dilation_h)
            columns = slice(left + max(0, -(left // a.dilation_w)) * a.dilation_w,
                            min(left + across, W), a.dilation_w)
            yield p, q, top, left, rows, columns


def maxpool2d_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, C, H, W = t.x.shape
    y, index = np.zeros(shape['y']), np.zeros(shape['y'], np.int32)
    for p, q, _, _, rows, columns in _windows(a, H, W, *shape['y'][2:]):
        window = t.x[:, :, rows, columns].reshape(N, C, -1)
        width, best = len(range(W)[columns]), window.argmax(axis=2)
        y[:, :, p, q] = window.max(axis=2)
        index[:, :, p, q] = ((rows.start + best // width * a.dilation_h) * W
                                + columns.start + best % width * a.dilation_w)
    return {'y': y, 'index': index}


def maxpool2d_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, C, H, W = shape['dx']
    dx = np.zeros((N, C, H * W))
    n, c = np.ogrid[:N, :C]
    for p in range(t.g.shape[2]):
        for q in range(t.g.shape[3]):
            dx[n, c, t.index[:, :, p, q]] += t.g[:, :, p, q]
    return {'dx': gated(dx.reshape(N, C, H, W), t)}


def _divisor(a: Names, H: int, W: int, top: int, left: int, rows: slice, columns: slice) -> int:
    if not a.count_include_pad:
        return (rows.stop - rows.start) * (columns.stop - columns.start)
    return ((min(top + a.kernel_h, H + a.pad_bottom) - top)
            * (min(left + a.kernel_w, W + a.pad_right) - left))


def avgpool2d_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    H, W = t.x.shape[2:]
    y = np.zeros(shape['y'])
    for p, q, top, left, rows, columns in _windows(a, H, W, *shape['y'][2:]):
        total = t.x[:, :, rows, columns].sum(axis=(2, 3))
        y[:, :, p, q] = total / _divisor(a, H, W, top, left, rows, columns)
    return {'y': y}


def avgpool2d_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    H, W = shape['dx'][2:]
    dx = np.zeros(shape['dx'])
    for p, q, top, left, rows, columns in _windows(a, H, W, *t.g.shape[2:]):
        share = t.g[:, :, p, q] / _divisor(a, H, W, top, left, rows, columns)
        dx[:, :, rows, columns] += share[:, :, None, None]
    return {'dx': dx}


def _channel_sums(x: np.ndarray, before: int, after: int) -> np.ndarray:
    """sum of x[c - before .. c + after] for each channel c."""
    C = x.shape[1]
    return np.stack([x[:, max(c - before, 0):c + after + 1].sum(axis=1) for c in range(C)], axis=1)


def _lrn_base(x: np.ndarray, a: Names) -> np.ndarray:
    return a.k + a.alpha / a.size * _channel_sums(x * x, (a.size - 1) // 2, a.size // 2)


def lrn_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': t.x * _lrn_base(t.x, a) ** -a.beta}


def lrn_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    base = _lrn_base(t.x, a)
    rest = _channel_sums(t.g * t.x * base ** (-a.beta - 1), a.size // 2, (a.size - 1) // 2)
    return {'dx': t.g * base ** -a.beta - 2 * a.alpha * a.beta / a.size * t.x * rest}


def softmax_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    e = np.exp(t.x - t.x.max(axis=1, keepdims=True))
    return {'y': e / e.sum(axis=1, keepdims=True)}


def softmax_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': t.y * (t.g - (t.g * t.y).sum(axis=1, keepdims=True))}


def softmax_cross_entropy_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    p = softmax_forward(t, a, shape)['y']
    of_label = np.take_along_axis(p, t.labels[:, None], axis=1)
    return {'loss': -np.log(of_label).mean(), 'probabilities': p}


def softmax_cross_entropy_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, F = t.probabilities.shape
    return {'dx': t.g / N * (t.probabilities - np.eye(F)[t.labels])}


def kl_divergence_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    q = softmax_forward(t, a, shape)['y']
    p = softmax_forward(Names(x=t.target), a, shape)['y']
    return {'loss': (p * np.log(p / q)).sum(axis=1).mean(), 'difference': q - p}


def kl_divergence_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': t.g / len(t.difference) * t.difference}


def _mix64(z: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 [Steele, Lea, Flood 2014]."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
    return z ^ (z >> np.uint64(31))


def dropout_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    golden = np.uint64(0x9e3779b97f4a7c15)
    high, low = (int(word) & 0xffffffff for word in t.seed)
    with np.errstate(over='ignore'):
        key = _mix64(np.array([high << 32 | low], np.uint64)
                     + golden * np.array([a.salt & 0xffffffffffffffff], np.uint64))
        position = np.arange(t.x.size, dtype=np.uint64)
        keep = _mix64(key ^ (position * golden)) >= np.uint64(int(a.rate * 2.0 ** 64))
    return {'y': np.where(keep.reshape(t.x.shape), t.x / (1 - a.rate), 0)}
