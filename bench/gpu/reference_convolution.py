"""Float64 references of the convolutions, with what ends them."""
from __future__ import annotations

from types import SimpleNamespace as Names

import numpy as np

from .kernels import ACTIVATIONS, ENDINGS
from .reference_elementwise import FUNCTIONS
from .reference_ops import Arrays, Shapes


def ended(y: np.ndarray, residual: np.ndarray | None, a: Names) -> np.ndarray:
    """The end of a convolution: ReLU if `relu`, plus the residual, then the function `activation`."""
    y = np.maximum(y, 0) if a.relu else y
    y = y if residual is None else y + residual
    ending = ENDINGS[int(a.activation)]
    if ending in ACTIVATIONS:
        return FUNCTIONS[ending](y, a)
    return {'none': y, 'relu': np.maximum(y, 0), 'clip': np.clip(y, a.alpha, a.beta)}[ending]


class _Taps:
    """A convolution as one matrix product for each tap (r, s) of the filter, pixels as rows."""

    def __init__(self, x_shape, w_shape, y_shape, a: Names) -> None:
        (self.N, self.C, self.H, self.W), (self.R, self.S) = x_shape, w_shape[2:]
        self.P, self.Q, self.a = y_shape[2], y_shape[3], a
        self.rows = max(self.H + a.pad_top, (self.P - 1) * a.stride_h + (self.R - 1) * a.dilation_h + 1)
        self.columns = max(self.W + a.pad_left, (self.Q - 1) * a.stride_w + (self.S - 1) * a.dilation_w + 1)

    def frame(self) -> np.ndarray:
        """Zeros for the padded image, channels last."""
        return np.zeros((self.N, self.rows, self.columns, self.C))

    def inside(self, frame: np.ndarray) -> np.ndarray:
        top, left = self.a.pad_top, self.a.pad_left
        return frame[:, top:top + self.H, left:left + self.W]

    def tap(self, frame: np.ndarray, r: int, s: int) -> np.ndarray:
        """(N, P, Q, C): what tap (r, s) of the filter sees, a view."""
        down, across = self.a.stride_h, self.a.stride_w
        r, s = r * self.a.dilation_h, s * self.a.dilation_w
        return frame[:, r:r + (self.P - 1) * down + 1:down,
                     s:s + (self.Q - 1) * across + 1:across]

    def __iter__(self):
        return ((r, s) for r in range(self.R) for s in range(self.S))


def _pixels(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N * H * W, C)"""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def conv2d_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, O, P, Q = shape['y']
    taps = _Taps(t.x.shape, t.w.shape, shape['y'], a)
    frame = taps.frame()
    taps.inside(frame)[:] = t.x.transpose(0, 2, 3, 1)
    y = np.zeros((N * P * Q, O)) + (0 if t.b is None else t.b)
    for r, s in taps:
        y += taps.tap(frame, r, s).reshape(-1, taps.C) @ t.w[:, :, r, s].T
    y = y.reshape(N, P, Q, O).transpose(0, 3, 1, 2)
    return {'y': ended(y, t.residual, a)}


def conv2d_backward_data(t: Names, a: Names, shape: Shapes) -> Arrays:
    taps = _Taps(shape['dx'], t.w.shape, t.g.shape, a)
    frame, g = taps.frame(), _pixels(t.g)
    for r, s in taps:
        place = taps.tap(frame, r, s)
        place += (g @ t.w[:, :, r, s]).reshape(place.shape)
    return {'dx': taps.inside(frame).transpose(0, 3, 1, 2)}


def conv2d_backward_weight(t: Names, a: Names, shape: Shapes) -> Arrays:
    taps = _Taps(t.x.shape, shape['dw'], t.g.shape, a)
    frame, g, dw = taps.frame(), _pixels(t.g), np.zeros(shape['dw'])
    taps.inside(frame)[:] = t.x.transpose(0, 2, 3, 1)
    for r, s in taps:
        dw[:, :, r, s] = g.T @ taps.tap(frame, r, s).reshape(-1, taps.C)
    return {'dw': dw}


def _apart(t: Names, a: Names) -> np.ndarray:
    """The weights of a convolution in groups as those of one without, 0 between groups."""
    O, K, R, S = t.w.shape
    groups = getattr(a, 'groups', O)
    w = np.zeros((O, groups * K, R, S))
    for o in range(O):
        first = o // (O // groups) * K
        w[o, first:first + K] = t.w[o]
    return w


def grouped_conv2d_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return conv2d_forward(Names(x=t.x, w=_apart(t, a), b=t.b, residual=t.residual), a, shape)


def grouped_conv2d_backward_data(t: Names, a: Names, shape: Shapes) -> Arrays:
    return conv2d_backward_data(Names(g=t.g, w=_apart(t, a)), a, shape)


depthwise_conv2d_forward = grouped_conv2d_forward
depthwise_conv2d_backward_data = grouped_conv2d_backward_data


def conv2d_backward_bias(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'db': t.g.sum(axis=(0, 2, 3))}


def expand_depthwise_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    expand = Names(stride_h=1, stride_w=1, pad_top=0, pad_left=0, dilation_h=1, dilation_w=1, relu=a.expand_relu,
                   activation=a.expand_activation, alpha=a.expand_alpha, beta=a.expand_beta)
    first = Names(x=t.x, w=t.w_expand, b=t.b_expand, residual=None)
    maps = conv2d_forward(first, expand, {'y': (t.x.shape[0], t.w.shape[0], *t.x.shape[2:])})['y']
    return depthwise_conv2d_forward(Names(x=maps, w=t.w, b=t.b, residual=None), a, shape)
