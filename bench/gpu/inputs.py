"""Random inputs on which every kernel is defined and a wrong result shows."""
from __future__ import annotations

from types import SimpleNamespace as Names
from typing import Callable

import numpy as np

from . import reference_ops
from .kernels import ACTIVATIONS, BINARIES
from .program import Call

Inputs = dict[str, np.ndarray]
Shape = tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape, Call, Inputs], np.ndarray]


def _normal(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _maps(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    """What a convolution reads, as tf32 (10 bits of mantissa) where the call says so."""
    drawn = _normal(rng, shape)
    return (drawn.view(np.int32) & -8192).view(np.float32) if call.attrs['rounded'] else drawn


def _relu(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    return np.maximum(_normal(rng, shape), 0)


def _coarse(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    """Few distinct numbers: the largest comes several times, the first must win."""
    return np.round(_normal(rng, shape), 1)


def _positive(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    return rng.uniform(0.5, 1.5, shape)


def _running(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    """A running mean: in training some are not initialised, which -1 says; one is near dead."""
    mean = np.where(np.arange(shape[0]) == 2, 1e-3, rng.uniform(0.5, 3, shape))
    return np.where(rng.random(shape) < 0.3, -1, mean) if call.attrs['training'] else mean


def _switches(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    return rng.integers(0, 2, shape)


def _softmax(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    x = Names(x=_normal(rng, shape).astype(np.float64))
    return reference_ops.softmax_forward(x, Names(), {})['y']


def _labels(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    rows = call.inputs[0] if call.kernel.name.endswith('forward') else call.inputs[1]
    return rng.integers(0, rows.type.shape[1] if rows else 1, shape)


def _cells(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    n, m = call.outputs[0].type.shape[2:] if call.outputs[0] else (1, 1)
    return rng.integers(0, n * m, shape)


def _pool_index(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    dx = call.outputs[0]
    x = Names(x=_coarse(rng, dx.type.shape if dx else ()))
    return reference_ops.maxpool2d_forward(x, Names(**call.attrs), {'y': shape})['index']


def _lrn_output(_: np.random.Generator, shape: Shape, call: Call, found: Inputs) -> np.ndarray:
    attrs = Names(**call.kernel.rounded(call.attrs))
    return reference_ops.lrn_forward(Names(x=found['x'].astype(np.float64)), attrs, {})['y']


def _share(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    return np.where(rng.random(shape) < 0.3, 0, rng.random(shape))


def _table(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    """Indices in no order, some outside, which count as the nearest inside."""
    maps = call.inputs[0] if call.kernel.name.endswith('forward') else call.outputs[0]
    most = max(maps.type.shape[1:]) if maps else 1
    return rng.integers(-1, most + 1, shape)


def _gram(rng: np.random.Generator, shape: Shape, *_: object) -> np.ndarray:
    """Products of maps with each other; the second filter is nearly silent."""
    strength = np.where(np.arange(shape[0]) == 1, 0.01, 1)
    x = strength[:, None] * _relu(rng, (shape[0], 50))
    return (x @ x.T).reshape(shape)


def _hyper(*_: object) -> np.ndarray:
    """lr and Adam's corrections at step 3; a large lr, so that a wrong update shows in w."""
    return np.array([0.3, 1 / (1 - 0.9 ** 3), 1 / (1 - 0.999 ** 3)])


def _of_kind(rng: np.random.Generator, shape: Shape, call: Call, _: Inputs) -> np.ndarray:
    """Positive where a function has no other values, or a pole at 0."""
    kind = (ACTIVATIONS if call.kernel.attrs == 'ActivationAttrs' else BINARIES)[int(call.attrs['kind'])]
    positive = kind in ('log', 'sqrt', 'reciprocal', 'power', 'div', 'pow')
    return (_positive if positive else _normal)(rng, shape)


SPECIAL: dict[tuple[str, str], Draw] = {
    ('conv2d_forward', 'x'): _maps,
    ('conv2d_backward_data', 'g'): _maps,
    ('maxpool2d_forward', 'x'): _coarse,
    ('maxpool2d_backward', 'index'): _pool_index,
    ('lrn_backward', 'y'): _lrn_output,
    **{(f'gather_channels_{way}', 'index'): _table for way in ('forward', 'backward')},
    **{(f'resize2d_{way}', f'{axis}_{end}'): _table for way in ('forward', 'backward')
       for axis in ('row', 'column') for end in ('low', 'high')},
    **{(f'resize2d_{way}', f'{axis}_share'): _share for way in ('forward', 'backward')
       for axis in ('row', 'column')},
    ('softmax_backward', 'y'): _softmax,
    ('softmax_cross_entropy_forward', 'labels'): _labels,
    ('softmax_cross_entropy_backward', 'probabilities'): _softmax,
    ('softmax_cross_entropy_backward', 'labels'): _labels,
    ('activation_forward', 'x'): _of_kind,
    ('activation_backward', 'x'): _of_kind,
    ('binary_forward', 'a'): _of_kind,
    ('binary_forward', 'b'): _of_kind,
    ('binary_backward', 'g'): _positive,  # else sums cancel
    ('binary_backward', 'a'): _of_kind,
    ('binary_backward', 'b'): _of_kind,
    ('affine_backward', 'y'): _relu,
    ('dropout_forward', 'seed'): lambda rng, shape, *_: rng.integers(-2**31, 2**31, shape),
    ('relu_backward', 'y'): _relu,
    ('mask_layer_forward', 'x'): lambda *given: np.maximum(_coarse(*given), 0),
    ('mask_layer_backward', 'peak'): _cells,
    ('mask_pool_forward', 'x'): _relu,  # no ties: products may round apart in float64
    ('mask_pool_backward', 'index'): _pool_index,
    ('mask_pool_backward', 'peak'): _cells,
    ('norm_mix_forward', 'x_interp'): lambda *given: 2 + _normal(*given),  # else one sum cancels
    ('norm_mix_forward', 'x_ordin'): lambda *given: 2 + _normal(*given),
    ('norm_mix_forward', 'alpha_interp'): _running,
    ('norm_mix_forward', 'alpha_ordin'): _running,
    ('norm_mix_backward', 'g'): _positive,  # else the sum dw_p cancels
    ('norm_mix_backward', 'x_interp'): lambda *given: 2 + _positive(*given),
    ('norm_mix_backward', 'x_ordin'): _positive,
    ('norm_mix_backward', 'factor_interp'): lambda *given: 1 + _positive(*given),
    ('norm_mix_backward', 'factor_ordin'): lambda *given: 0.5 * _positive(*given),
    **{(f'compete_{way}', name): draw for way in ('forward', 'backward')
       for name, draw in (('x', _relu), ('factor', _positive))},
    ('part_gates_forward', 'x'): _positive,
    ('part_gates_forward', 'peak'): _cells,
    ('part_gates_forward', 'alpha'): _running,
    ('part_gates_forward', 'on'): _switches,
    ('part_gates_backward', 'y'): lambda rng, shape, *_: rng.random(shape),
    ('part_gates_backward', 'inverse'): _positive,
    ('part_gates_backward', 'x'): _positive,
    ('part_gates_backward', 'peak'): _cells,
    ('part_gates_backward', 'factor'): _positive,
    ('part_gates_backward', 'on'): _switches,
    ('norm_layer_forward', 'alpha'): _running,
    ('norm_layer_backward', 'factor'): _positive,
    ('mix_tracks_forward', 'x_interp'): _positive,  # else one sum cancels
    ('mix_tracks_forward', 'x_ordin'): _positive,
    ('mix_tracks_backward', 'g'): _positive,  # else the sum dw_p cancels
    ('mix_tracks_backward', 'x_interp'): lambda *given: 2 + _positive(*given),
    ('mean_forward', 'x'): _positive,
    ('filter_loss_forward', 'x'): lambda *given: 3 * _relu(*given),
    ('filter_loss_forward', 'peak_mean'): _running,
    ('filter_loss_forward', 'foreign'): _share,
    ('filter_loss_backward', 'factor'): _positive,
    ('overlap_forward', 'gram'): _gram,
    ('overlap_backward', 'gram'): _gram,
    ('adam_step', 'v'): lambda *given: _normal(*given) ** 2,
    ('linear_adam_step', 'v'): lambda *given: 0.5 + _normal(*given) ** 2,  # tame divisors
    ('linear_adam_step', 'hyper'): _hyper,
    ('linear_sgd_step', 'hyper'): _hyper,
    ('adam_step', 'hyper'): _hyper,
    ('sgd_step', 'hyper'): _hyper,
    ('project_norm', 'norm'): _positive,
}


def inputs_of(call: Call, rng: np.random.Generator, plain: Draw = _normal) -> Inputs:
    """Inputs by name, float32 or int32, row-major. `plain` draws where any numbers will do."""
    found: Inputs = {}
    for name, value in zip(call.kernel.inputs, call.inputs):
        if value:
            draw = SPECIAL.get((call.kernel.name, name), plain)
            drawn = np.asarray(draw(rng, value.type.shape, call, found))
            found[name] = drawn.astype(np.int32 if value.type.dtype == 'i32' else np.float32,
                                       copy=False)
    return found
