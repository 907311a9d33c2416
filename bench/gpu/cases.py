"""What parity is checked on: the shapes at which kernels go wrong, and inputs for any call."""
from __future__ import annotations

from itertools import product
from typing import Iterator, Mapping

from .kernels import ACTIVATIONS, BINARIES, ENDINGS, KERNELS, TensorType
from .program import Call, Value

Chw = Mapping[str, tuple[int, int, int]]

ANY = (  # for kernels that take every layout
    TensorType('rows', ()), TensorType('rows', (7,)), TensorType('rows', (3, 6)),
    TensorType('rows', (2, 30), chw=(5, 3, 2)), TensorType('maps', (1, 3, 5, 7)),
    TensorType('maps', (3, 33, 9, 9)), TensorType('conv_weight', (5, 3, 3, 3)),
    TensorType('linear_weight', (5, 9)), TensorType('linear_weight', (4, 30), chw=(5, 3, 2)),
)
ADAM = dict(lr_scale=0.5, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01)
SGD = dict(lr_scale=0.5, momentum=0.9, weight_decay=0.01)
Pair = tuple[int, int]
Pad = tuple[int, int, int, int]  # top, left, bottom, right
End = tuple[str, float, float]  # the function that ends a convolution, its alpha, its beta
NOTHING: End = 'none', 0, 0
MAPS = TensorType('maps', (2, 5, 3, 4)), TensorType('maps', (3, 36, 6, 5))


def case(name: str, sizes: Mapping[str, int] | None = None, *, any_: TensorType | None = None,
         chw: Chw | None = None, absent: tuple[str, ...] = (),
         attrs: Mapping[str, float] | None = None) -> Call:
    """One call with values of its own."""
    kernel = KERNELS[name]
    names = kernel.inputs + kernel.outputs
    given = {key: any_ for key in names} if any_ else {}
    types = kernel.types(sizes or {}, given, chw or {})
    values: dict[str, Value | None] = {}
    for key, type_ in zip(names, types):
        updated = values.get(key[:-len('_out')]) if key.endswith('_out') else None
        values[key] = None if key in absent else Value(type_, key, updated)
    split = len(kernel.inputs)
    operands = tuple(values.values())
    return Call(kernel, dict(attrs or {}), operands[:split], operands[split:])


def _ends(end: End, prefix: str = '') -> dict[str, float]:
    name, alpha, beta = end
    return {f'{prefix}activation': ENDINGS.index(name), f'{prefix}alpha': alpha, f'{prefix}beta': beta}


def _absent(**given: object) -> tuple[str, ...]:
    return tuple(name for name, is_given in given.items() if not is_given)


def _window(H: int, W: int, R: int, S: int, stride: Pair, pad: Pad,
            dilation: Pair) -> tuple[int, int, dict[str, float]]:
    """Rows and columns of the outputs, and the attributes of the window."""
    P = (H + pad[0] + pad[2] - (R - 1) * dilation[0] - 1) // stride[0] + 1
    Q = (W + pad[1] + pad[3] - (S - 1) * dilation[1] - 1) // stride[1] + 1
    return P, Q, dict(stride_h=stride[0], stride_w=stride[1], pad_top=pad[0], pad_left=pad[1],
                      dilation_h=dilation[0], dilation_w=dilation[1])


def _conv(N: int, C: int, H: int, W: int, O: int, R: int, S: int, stride: Pair = (1, 1),
          pad: Pad = (0, 0, 0, 0), relu: int = 0, rounded: int = 0,
          dilation: Pair = (1, 1), end: End = NOTHING, residual: bool = False) -> Iterator[Call]:
    """All four passes; pad: top, left, bottom, right; rounded: maps and gradients are tf32."""
    P, Q, window = _window(H, W, R, S, stride, pad, dilation)
    sizes = dict(N=N, C=C, H=H, W=W, O=O, R=R, S=S, P=P, Q=Q)
    peaks = int(relu and end == NOTHING and not residual)
    attrs = dict(**window, relu=relu, **_ends(end), rounded=rounded, round=rounded, peaks=peaks)
    yield case('conv2d_forward', sizes, attrs=attrs, absent=_absent(b=relu, residual=residual))
    yield case('conv2d_backward_data', sizes, attrs=attrs)
    yield case('conv2d_backward_weight', sizes, attrs=attrs)
    yield case('conv2d_backward_bias', sizes)


def _grouped(N: int, C: int, H: int, W: int, O: int, R: int, S: int, groups: int,
             stride: Pair = (1, 1), pad: Pad = (0, 0, 0, 0),
             dilation: Pair = (1, 1), relu: int = 0, end: End = NOTHING,
             residual: bool = False) -> Iterator[Call]:
    """In groups of channels; with a group for each channel the depthwise kernels."""
    P, Q, window = _window(H, W, R, S, stride, pad, dilation)
    sizes = dict(N=N, C=C, H=H, W=W, O=O, K=C // groups, R=R, S=S, P=P, Q=Q)
    attrs = dict(**window, relu=relu, **_ends(end))
    name = 'depthwise' if groups == C == O else 'grouped'
    if name == 'grouped':
        attrs['groups'] = groups
    yield case(f'{name}_conv2d_forward', sizes, attrs=attrs, absent=_absent(b=relu, residual=residual))
    yield case(f'{name}_conv2d_backward_data', sizes, attrs=attrs)


def _expand(N: int, C: int, H: int, W: int, O: int, R: int, S: int, stride: Pair = (1, 1),
            pad: Pad = (0, 0, 0, 0), dilation: Pair = (1, 1),
            expand: End = NOTHING, end: End = NOTHING, bias: bool = True) -> Iterator[Call]:
    """A 1x1 convolution to O maps, then the depthwise convolution that alone reads it."""
    P, Q, window = _window(H, W, R, S, stride, pad, dilation)
    sizes = dict(N=N, C=C, H=H, W=W, O=O, R=R, S=S, P=P, Q=Q)
    attrs = dict(**window, relu=0, **_ends(end), expand_relu=int(not bias), **_ends(expand, 'expand_'))
    yield case('expand_depthwise_forward', sizes, attrs=attrs, absent=_absent(b_expand=bias, b=bias))


def _linear(N: int, F: int, O: int, chw: tuple[int, int, int] | None = None,
            relu: int = 0) -> Iterator[Call]:
    sizes, flat = dict(N=N, F=F, O=O), {'F': chw} if chw else {}
    yield case('linear_forward', sizes, chw=flat, attrs={'relu': relu},
               absent=() if relu else ('b',))
    yield case('linear_backward_data', sizes, chw=flat)
    yield case('linear_backward_weight', sizes, chw=flat)
    yield case('linear_backward_bias', sizes)
    for absent in ((), ('dx',)):
        yield case('linear_adam_step', sizes, chw=flat, attrs=ADAM, absent=absent)
        yield case('linear_sgd_step', sizes, chw=flat, attrs=SGD, absent=absent)


def _products() -> Iterator[Call]:
    same = (1, 1, 1, 1)
    yield from _conv(1, 3, 5, 7, 4, 3, 3, pad=same, relu=1)
    yield from _conv(2, 5, 6, 5, 7, 3, 3, (2, 2), same, relu=1)
    yield from _conv(1, 1, 4, 4, 1, 1, 1)
    yield from _grouped(2, 20, 9, 8, 40, 3, 2, 4, (2, 1), (1, 2, 1, 2), (2, 3), relu=1)
    yield from _grouped(1, 66, 5, 6, 33, 3, 3, 3, pad=same)
    yield from _grouped(2, 37, 9, 13, 37, 3, 3, 37, pad=same, relu=1)
    yield from _grouped(1, 5, 9, 8, 5, 3, 2, 5, (2, 1), (1, 2, 1, 2), (2, 3))
    yield from _grouped(1, 20, 7, 8, 40, 3, 3, 4, pad=same, end=('silu', 0, 0), residual=True)
    yield from _grouped(2, 37, 7, 8, 37, 3, 3, 37, pad=same, end=('clip', 0, 6), residual=True)
    yield from _expand(2, 5, 6, 7, 36, 3, 3, (2, 1), same, expand=('clip', 0, 6), end=('hard_swish', 0, 0))
    yield from _expand(1, 33, 9, 5, 17, 5, 3, pad=(2, 1, 2, 1), dilation=(1, 2), end=('relu', 0, 0), bias=False)
    yield from _conv(2, 8, 9, 7, 12, 1, 1, (2, 2))
    yield from _conv(1, 20, 6, 7, 36, 3, 3, pad=same, end=('leaky_relu', 0.1, 0))
    yield from _conv(2, 5, 6, 7, 20, 1, 1, end=('relu', 0, 0), residual=True)
    yield from _conv(2, 32, 14, 14, 132, 3, 3, pad=same, relu=1, end=('clip', -20, 30), residual=True)
    yield from _conv(1, 3, 23, 19, 6, 11, 11, (4, 4), (2, 2, 2, 2), relu=1)
    yield from _conv(1, 6, 7, 7, 5, 3, 1, (2, 1), (1, 0, 1, 0))
    yield from _conv(1, 4, 5, 6, 6, 5, 5, pad=(1, 2, 3, 0))
    yield from _conv(2, 5, 9, 8, 7, 3, 3, (2, 1), (2, 3, 2, 3), relu=1, dilation=(2, 3))
    yield from _conv(3, 33, 9, 9, 65, 3, 3, pad=same, relu=1)   # tails of every tile
    yield from _conv(3, 64, 15, 15, 8, 3, 3, pad=same)          # K split over blocks
    yield from _conv(2, 32, 14, 14, 132, 3, 3, pad=same, relu=1)  # wgmma where few blocks fill it
    yield from _conv(2, 132, 14, 14, 32, 3, 3, pad=same)        # wgmma in backward data
    yield from _conv(2, 32, 14, 14, 132, 3, 3, pad=same, rounded=1)
    yield from _conv(2, 132, 14, 14, 32, 3, 3, pad=same, rounded=1)
    yield from _conv(2, 64, 14, 14, 136, 3, 3, pad=same, relu=1)  # the same at bf16, all passes
    yield from _conv(2, 136, 14, 14, 64, 3, 3, pad=same)
    yield from _conv(5, 64, 13, 15, 133, 3, 1, (2, 1), (1, 0, 1, 0))  # K of bf16 split over blocks
    yield from _linear(1, 5, 3)
    yield from _linear(2, 7, 9, relu=1)
    yield from _linear(33, 64, 40, relu=1)
    yield from _linear(3, 12, 130, (3, 2, 2))
    yield from _linear(2, 54, 5, (6, 3, 3), relu=1)
    yield from _linear(3, 1030, 10)                             # K split over blocks
    yield from _linear(64, 70, 200)                             # one pass over several stages
    yield from _linear(65, 12, 9)                               # a batch too large for one pass


def hopper_tiles() -> Iterator[Call]:
    """Sizes that take the wgmma path on 132 multiprocessors, with tails. Too large to emulate."""
    yield from _conv(33, 96, 14, 14, 200, 3, 3, pad=(1, 1, 1, 1), relu=1)
    yield from _conv(33, 128, 14, 14, 192, 3, 3, pad=(1, 1, 1, 1), rounded=1)
    yield from _conv(130, 32, 14, 14, 136, 3, 3, (2, 2), (1, 1, 1, 1))
    yield from _conv(65, 136, 14, 14, 160, 1, 1)
    yield from _conv(2, 3, 224, 224, 64, 3, 3, pad=(1, 1, 1, 1), relu=1)
    yield from _conv(8, 3, 224, 224, 64, 11, 11, (4, 4), (2, 2, 2, 2), relu=1)


def _pointwise() -> Iterator[Call]:
    for any_ in ANY:
        yield case('relu_forward', any_=any_)
        yield case('clip_backward', any_=any_, attrs=dict(lo=-0.5, hi=0.75))
        for round_ in (0, 1):
            yield case('relu_backward', any_=any_, attrs=dict(round=round_))
            yield case('scale_forward', any_=any_, attrs=dict(factor=-1.7, round=round_))
        for absent, round_ in (((), 0), (('gate',), 1)):
            yield case('add_forward', any_=any_, absent=absent)
            yield case('add_scaled', any_=any_, absent=absent, attrs=dict(round=round_))
        yield case('dropout_forward', any_=any_, attrs=dict(rate=0.3, salt=5))
        yield case('mean_square_forward', any_=any_, attrs=dict(weight=0.7))
        yield case('mean_square_backward', any_=any_, attrs=dict(weight=0.7))
        yield case('balance_gradient', any_=any_, attrs=dict(rho=3))
        for absent in ((), ('before',)):
            yield case('clip_norm_total', any_=any_, absent=absent)
        yield case('clip_norm_scale', any_=any_, attrs=dict(most=0.5))
        yield case('adam_step', any_=any_, attrs=ADAM)
        yield case('sgd_step', any_=any_, attrs=SGD)
    for any_, kind in product(ANY, range(len(ACTIVATIONS))):
        attrs = dict(kind=kind, alpha=0.7, beta=0.4)
        yield case('activation_forward', any_=any_, attrs=attrs)
        yield case('activation_backward', any_=any_, attrs=attrs)
    for any_ in ANY:
        if any_.layout in ('rows', 'maps') and any_.shape:
            C = any_.shape[1 if any_.layout == 'maps' else -1]
            for relu in (0, 1):
                yield case('affine_forward', dict(C=C), any_=any_, attrs=dict(relu=relu))
            for absent in ((), ('y',)):
                yield case('affine_backward', dict(C=C), any_=any_, absent=absent)
            for values in (C, 1):
                yield case('prelu_forward', dict(C=values), any_=any_)
                yield case('prelu_backward', dict(C=values), any_=any_)
    yield from _binaries()
    for any_, (lo, hi) in product(ANY[1:], ((-0.5, 0.75), (0.25, 2.0), (-2.0, -0.25))):
        yield case('clip_forward', any_=any_, attrs=dict(lo=lo, hi=hi))
    for any_ in MAPS:
        N, C, H, W = any_.shape
        sizes = dict(N=N, A=C - 2, B=2, C=C, H=H, W=W)
        yield case('concat_forward', sizes)
        for absent in ((), ('da',), ('db',)):
            yield case('concat_backward', sizes, any_=any_, absent=absent)
        for size, beta in ((5, 0.75), (2, 0.5), (3, 1.2)):
            attrs = dict(size=size, alpha=0.3, beta=beta, k=2.0)
            yield case('lrn_forward', sizes, attrs=attrs)
            yield case('lrn_backward', sizes, attrs=attrs)


def _binaries() -> Iterator[Call]:
    for kind, (a, b) in product(range(len(BINARIES)), (
            ((2, 5, 3, 4), (2, 5, 3, 4)), ((3, 36, 6, 5), (3, 36, 1, 1)), ((1, 7, 1, 1), (2, 7, 3, 4)),
            ((2, 1, 3, 4), (2, 37, 3, 4)), ((2, 5, 3, 4), (1, 1, 1, 1)), ((2, 1, 3, 1), (1, 19, 1, 4)))):
        sizes = dict(zip(('N', 'C', 'H', 'W'), map(max, a, b)))
        sizes.update(zip(('Na', 'Ca', 'Ha', 'Wa', 'Nb', 'Cb', 'Hb', 'Wb'), a + b))
        yield case('binary_forward', sizes, attrs=dict(kind=kind))
        for absent in ((), ('da',), ('db',)):
            yield case('binary_backward', sizes, attrs=dict(kind=kind), absent=absent)


def _pools() -> Iterator[Call]:
    # N C H W, kernel, stride, pad top left bottom right, rows and columns beyond it (ceil mode)
    for (N, C, H, W), k, s, pad, ceil in (
            ((1, 3, 4, 6), (2, 2), (2, 2), (0, 0, 0, 0), 0),
            ((2, 5, 7, 7), (3, 3), (2, 2), (1, 1, 1, 1), 0),
            ((2, 36, 7, 6), (3, 3), (2, 2), (0, 0, 0, 0), 1),
            ((1, 4, 5, 5), (3, 2), (1, 2), (1, 0, 0, 1), 1),
            ((1, 6, 9, 5), (9, 5), (1, 1), (0, 0, 0, 0), 0)):
        over = ceil * (s[0] - 1), ceil * (s[1] - 1)
        P = (H + pad[0] + pad[2] - k[0] + over[0]) // s[0] + 1
        Q = (W + pad[1] + pad[3] - k[1] + over[1]) // s[1] + 1
        sizes = dict(N=N, C=C, H=H, W=W, P=P, Q=Q)
        attrs = dict(kernel_h=k[0], kernel_w=k[1], stride_h=s[0], stride_w=s[1], pad_top=pad[0],
                     pad_left=pad[1], pad_bottom=pad[2], pad_right=pad[3], dilation_h=1, dilation_w=1,
                     count_include_pad=0)
        yield case('maxpool2d_forward', sizes, attrs=attrs)
        yield case('maxpool2d_forward', sizes, attrs=attrs, absent=('index',))
        yield case('maxpool2d_backward', sizes, attrs=attrs)
        yield case('maxpool2d_backward', sizes, attrs=attrs, absent=('gate',))
        yield from _mask_pools(dict(N=N, D=C, n=H, m=W, P=P, Q=Q), {**attrs, 'beta': 4})
        for included in (0, 1):
            attrs = {**attrs, 'count_include_pad': included}
            yield case('avgpool2d_forward', sizes, attrs=attrs)
            yield case('avgpool2d_backward', sizes, attrs=attrs)


def _spatial() -> Iterator[Call]:
    for maps in MAPS:
        N, C, H, W = maps.shape
        sizes = dict(N=N, C=C, H=H, W=W, K=C + 7, A=2, P=2, Q=W)
        both = 'forward', 'backward'
        for mode, way in product(range(4), both):
            attrs = dict(pad_top=1, pad_left=2, pad_bottom=2, pad_right=0, mode=mode, value=0.7)
            yield case(f'pad2d_{way}', {**sizes, 'P': H + 3, 'Q': W + 2}, attrs=attrs)
        for way in both:
            attrs = dict(channel_first=C - 1, channel_step=-3, row_first=0, row_step=2,
                         column_first=W - 1, column_step=-1)
            yield case(f'slice_maps_{way}', sizes, attrs=attrs)
            yield case(f'gather_channels_{way}', sizes)
            yield case(f'resize2d_{way}', {**sizes, 'P': 2 * H + 1, 'Q': 3})
            yield case(f'channel_norm_{way}', any_=maps, attrs=dict(epsilon=1e-3))
            yield case(f'channel_norm_{way}', any_=TensorType('rows', (3, 70)),
                       attrs=dict(epsilon=1e-3))
            yield case(f'image_norm_{way}', sizes, attrs=dict(target=2.5))
            for groups in (1, C, 12 if C % 12 == 0 else 1):
                yield case(f'group_norm_{way}', sizes, attrs=dict(groups=groups, epsilon=1e-3))


def _mask_pools(sizes: Mapping[str, int], attrs: Mapping[str, float]) -> Iterator[Call]:
    yield case('mask_pool_forward', sizes, attrs=attrs)
    yield case('mask_pool_forward', sizes, attrs=attrs, absent=('index',))
    yield case('mask_pool_backward', sizes, attrs=attrs)
    yield case('mask_pool_backward', sizes, attrs=attrs, absent=('gate',))


def _competing(sizes: Mapping[str, int]) -> Iterator[Call]:
    sizes = {**sizes, 'H': sizes['n'], 'W': sizes['m']}
    for power, tau, absent in ((4, 0.2, ()), (2.5, 0.5, ('factor',))):
        attrs = dict(scale=2, tau=tau, power=power)
        yield case('compete_forward', sizes, attrs=attrs, absent=absent)
        yield case('compete_backward', sizes, attrs=attrs, absent=absent)
    for power, tau, training, absent in ((4, 0.2, 1, ()), (3, 0.5, 1, ('on',)),
                                         (4, 0.2, 0, ('on', 'alpha_out'))):
        attrs = dict(beta=1.5, tau=tau, power=power, training=training, momentum=0.9, floor=0.05)
        yield case('part_gates_forward', sizes, attrs=attrs, absent=absent)
        yield case('part_gates_backward', sizes, attrs=dict(beta=1.5, power=power),
                   absent=absent[:1])


def _rows() -> Iterator[Call]:
    for N, F in ((1, 1), (3, 7), (5, 64), (33, 1001)):
        sizes = dict(N=N, F=F)
        for name in ('softmax_forward', 'softmax_backward', 'softmax_cross_entropy_forward',
                     'softmax_cross_entropy_backward', 'kl_divergence_forward',
                     'kl_divergence_backward', 'mean_forward', 'mean_backward'):
            yield case(name, sizes)
    for name in ('kl_divergence_forward', 'kl_divergence_backward'):
        yield case(name, dict(N=3, F=210), chw={'F': (5, 6, 7)})


def _explainer() -> Iterator[Call]:
    for N, D, n, m in ((1, 1, 1, 1), (2, 5, 7, 7), (3, 36, 6, 6), (5, 8, 14, 14), (33, 4, 5, 5),
                       (3, 5, 5, 8), (2, 37, 4, 13)):
        sizes = dict(N=N, D=D, n=n, m=m, P=n, Q=m, T=n * m + 1)
        for round_ in (0, 1):
            yield case('mask_layer_forward', sizes, attrs=dict(beta=4, round=round_))
        yield case('mask_layer_backward', sizes, attrs=dict(beta=4))
        yield case('mask_layer_backward', sizes, attrs=dict(beta=4), absent=('gate',))
        yield from _competing(sizes)
        for training, absent in ((1, ()), (1, ('alpha_out',)), (0, ('alpha_out',))):
            attrs = dict(training=training, momentum=0.9, floor=0.05, scale=n, silent=1e-3)
            yield case('norm_layer_forward', sizes, absent=absent, attrs=attrs)
            both = ('alpha_interp_out', 'alpha_ordin_out') if absent else ()
            yield case('norm_mix_forward', sizes, absent=both, attrs=attrs)
        yield case('norm_layer_forward', sizes,  # every filter counts as dead
                   attrs=dict(training=1, momentum=0.9, floor=0.05, scale=n, silent=1e6))
        yield case('norm_layer_backward', sizes)
        yield case('mix_tracks_forward', sizes)
        yield case('mix_tracks_forward', sizes, absent=('p',))
        yield case('mix_tracks_backward', sizes)
        yield case('norm_mix_backward', sizes)
        if N == 1:
            continue  # one image tells nothing: the loss is 0 but for rounding
        for peak_scale, training, tau in ((1, 1, 1.0), (1, 0, 1.0), (0, 1, 0.5 / (n * m))):
            updated = () if training and peak_scale else ('peak_mean_out',)
            for foreign in ((), ('foreign',)):
                yield case('filter_loss_forward', sizes, absent=(*updated, *foreign),
                       attrs=dict(beta=4, tau=tau, alpha=n * m / (1 + n * m), kappa=0.5,
                                  peak_scale=peak_scale, momentum=0.9, floor=0.05,
                                  training=training))
        yield case('filter_loss_backward', sizes, attrs=dict(beta=4, tau=1))
    for N, D, H, W in ((1, 1, 1, 1), (2, 5, 3, 4), (3, 37, 9, 7), (2, 130, 14, 14)):
        for name in ('gram_forward', 'gram_backward'):
            yield case(name, dict(N=N, D=D, H=H, W=W))
    for D in (1, 2, 5, 37, 300):
        for name in ('overlap_forward', 'overlap_backward'):
            yield case(name, dict(D=D), attrs=dict(floor=0.0025, shrink=0.01))
    for shape in ((5, 3, 3, 3), (1, 36, 1, 1), (33, 7, 3, 5)):
        yield case('project_norm', dict(zip('OCRS', shape)))
    for _ in range(4):  # a scalar each: other inputs
        yield case('contribution_loss_forward', attrs=dict(eta=0.3))
        yield case('contribution_loss_backward', attrs=dict(eta=0.3))


def small_cases() -> list[Call]:
    """Edge shapes of every kernel: one image, odd sizes, tails of tiles, absent operands."""
    return [*_products(), *_pointwise(), *_pools(), *_spatial(), *_rows(), *_explainer()]
