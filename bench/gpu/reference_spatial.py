"""Float64 references of the kernels that move, resize and normalise maps."""
from __future__ import annotations

from types import SimpleNamespace as Names

import numpy as np

Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]

PAD_MODES = 'constant', 'reflect', 'edge', 'wrap'


def _pad(a: Names, x: np.ndarray) -> np.ndarray:
    margins = (0, 0), (0, 0), (a.pad_top, a.pad_bottom), (a.pad_left, a.pad_right)
    mode = PAD_MODES[a.mode]
    return np.pad(x, margins, mode, **({'constant_values': a.value} if a.mode == 0 else {}))


def pad2d_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': _pad(a, t.x)}


def pad2d_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    _, _, H, W = shape['dx']
    cells = np.arange(H * W).reshape(1, 1, H, W)
    places = _pad(Names(**{**vars(a), 'value': -1}), cells)[0, 0]
    dx = np.zeros((*shape['dx'][:2], H * W))
    for p, q in np.argwhere(places >= 0):
        dx[:, :, places[p, q]] += t.g[:, :, p, q]
    return {'dx': dx.reshape(shape['dx'])}


def _places(a: Names, counts: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    firsts = a.channel_first, a.row_first, a.column_first
    steps = a.channel_step, a.row_step, a.column_step
    return np.ix_(*(first + step * np.arange(n) for first, step, n in zip(firsts, steps, counts)))


def slice_maps_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': np.stack([x[_places(a, shape['y'][1:])] for x in t.x])}


def slice_maps_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    dx = np.zeros(shape['dx'])
    for image, g in zip(dx, t.g):
        image[_places(a, t.g.shape[1:])] = g
    return {'dx': dx}


def gather_channels_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': t.x[:, np.clip(t.index, 0, t.x.shape[1] - 1)]}


def gather_channels_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    dx = np.zeros(shape['dx'])
    for k, c in enumerate(np.clip(t.index, 0, shape['dx'][1] - 1)):
        dx[:, c] += t.g[:, k]
    return {'dx': dx}


def _mix(low: np.ndarray, high: np.ndarray, share: np.ndarray, size: int) -> np.ndarray:
    """(P, size): how much of each cell is in each cell of the result."""
    eye = np.eye(size)
    mixed = [eye[np.clip(index, 0, size - 1)] for index in (low, high)]
    return (1 - share)[:, None] * mixed[0] + share[:, None] * mixed[1]


def _mixes(t: Names, H: int, W: int) -> tuple[np.ndarray, np.ndarray]:
    return (_mix(t.row_low, t.row_high, t.row_share, H),
            _mix(t.column_low, t.column_high, t.column_share, W))


def resize2d_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    rows, columns = _mixes(t, *t.x.shape[2:])
    return {'y': rows @ t.x @ columns.T}


def resize2d_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    rows, columns = _mixes(t, *shape['dx'][2:])
    return {'dx': rows.T @ t.g @ columns}


def _normal(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    scale = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + epsilon)
    return (x - x.mean(axis=axes, keepdims=True)) * scale, scale


def _normal_gradient(g: np.ndarray, x: np.ndarray, axes: tuple[int, ...],
                     epsilon: float) -> np.ndarray:
    xhat, scale = _normal(x, axes, epsilon)
    return scale * (g - g.mean(axis=axes, keepdims=True)
                    - xhat * (g * xhat).mean(axis=axes, keepdims=True))


def channel_norm_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': _normal(t.x, (min(1, t.x.ndim - 1),), a.epsilon)[0]}


def channel_norm_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': _normal_gradient(t.g, t.x, (min(1, t.x.ndim - 1),), a.epsilon)}


def _groups(x: np.ndarray, a: Names) -> np.ndarray:
    return x.reshape(x.shape[0], a.groups, -1)


def group_norm_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': _normal(_groups(t.x, a), (2,), a.epsilon)[0].reshape(shape['y'])}


def group_norm_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    found = _normal_gradient(_groups(t.g, a), _groups(t.x, a), (2,), a.epsilon)
    return {'dx': found.reshape(shape['dx'])}


def _image_scale(t: Names, a: Names) -> tuple[np.ndarray, np.ndarray]:
    rms = np.sqrt((t.x ** 2).mean(axis=(1, 2, 3), keepdims=True))
    return a.target / rms, t.x / rms


def image_norm_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': _image_scale(t, a)[0] * t.x}


def image_norm_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    factor, unit = _image_scale(t, a)
    return {'dx': factor * (t.g - unit * (t.g * unit).mean(axis=(1, 2, 3), keepdims=True))}
