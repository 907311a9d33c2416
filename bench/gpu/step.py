"""The explainer's training step as a program: what lib/explainer/loss.ts compiles to with diversity 0.

test/cuda/gpu_check.test.ts compares the kernels with those of the package's own plan.
"""
from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field

import numpy as np

from .kernels import TensorType
from .program import Program, Value
from .setting import SETTINGS, TINY, Arrays, Setting

SCALAR = TensorType('rows', ())


@dataclass
class Step:
    """The program, and its values by name: losses, activations, gradients."""

    setting: Setting
    program: Program = field(default_factory=Program)
    outputs: dict[str, Value] = field(default_factory=dict)

    def start(self, weights: Arrays) -> Arrays:
        """Values of all leaves but the inputs in a new run: weights, running means, moments."""
        found: Arrays = {}
        for name, value in self.program.leaves.items():
            stem = name.removesuffix('.norm')
            if name in weights:
                found[name] = weights[name]
            elif stem != name:
                filters = weights[f'{stem}.weight'].astype(np.float64)
                found[name] = np.sqrt((filters ** 2).sum(axis=(1, 2, 3)))
            elif name == 'one' or name == 'lambda':
                found[name] = np.array(1 if name == 'one' else self.setting.lambda_filter)
            elif name.endswith(('.alpha', '.peak')):
                found[name] = np.full(value.type.shape, -1)
            elif '/' in name:  # an optimizer's moments
                found[name] = np.zeros(value.type.shape)
        return found

    def inputs(self, features: np.ndarray, targets: list[np.ndarray], step: int) -> Arrays:
        """Values of the inputs of one step."""
        named = {f'target_{l}': target for l, target in enumerate(targets, 1)}
        return {'features': features, 'hyper': self.setting.hyper(step), **named}


class _Builder:
    """Appends forward pass, losses, backward pass and optimizer, in this order."""

    def __init__(self, setting: Setting, traced: bool) -> None:
        self.s, self.step, self.fused = setting, Step(setting), not traced
        self.p, self.out = self.step.program, self.step.outputs
        self.parameters: dict[str, Value] = {}
        self.gradients: dict[str, Value] = {}
        self.mean_gradient: Value | None = None
        chw: tuple[int, int, int] | None = (setting.D, setting.q, setting.q)
        for name, shape in setting.shapes().items():
            linear = name.startswith('fc_dec') and len(shape) == 2
            layout = 'linear_weight' if linear else 'conv_weight' if len(shape) == 4 else 'rows'
            flat = chw if linear and shape[1] == setting.D * setting.q ** 2 and chw else None
            self.parameters[name] = self.p.leaf(name, TensorType(layout, shape, chw=flat))
            chw = None if linear else chw
        self.one = self.p.leaf('one', SCALAR)

    def state(self, name: str) -> Value:
        return self.p.leaf(name, TensorType('rows', (self.s.D,)))

    # Forward.

    def conv_attrs(self, rounded: bool = False, masked: bool = False) -> dict[str, float]:
        """rounded: a call that stores maps as tf32 made those that the convolution reads; masked: a
        mask reads what it makes."""
        pad = (self.s.kernel - 1) // 2
        return dict(stride_h=1, stride_w=1, pad_top=pad, pad_left=pad, dilation_h=1, dilation_w=1, relu=1,
                    activation=0, alpha=0, beta=0, rounded=int(rounded), round=0, peaks=int(masked))

    @property
    def pool_attrs(self) -> dict[str, float]:
        k = self.s.pool
        return dict(kernel_h=k, kernel_w=k, stride_h=k, stride_w=k, pad_top=0, pad_left=0, dilation_h=1, dilation_w=1,
                    pad_bottom=0, pad_right=0, count_include_pad=0)

    def convolution(self, name: str, x: Value) -> Value:
        w, b = self.parameters[f'{name}.weight'], self.parameters[f'{name}.bias']
        n = self.s.n
        attrs = self.conv_attrs(rounded=x is not self.c, masked=name.startswith('conv_interp'))
        return self.p.op('conv2d_forward', x, w, b, None, attrs=attrs, P=n, Q=n)

    def mask(self, a: Value, read_by_conv: bool) -> tuple[Value, Value]:
        attrs = dict(beta=self.s.beta, round=int(read_by_conv))
        y, peak = self.p.call('mask_layer_forward', a, attrs=attrs)
        return y, peak

    def mask_pool(self, a: Value) -> tuple[Value, Value | None, Value]:
        """Pooled maps, places, peaks; the masked maps are kept where they are wanted."""
        if self.fused and self.s.pool > 1:
            q = self.s.q
            y, index, peak = self.p.call('mask_pool_forward', a, P=q, Q=q,
                                         attrs=self.pool_attrs | dict(beta=self.s.beta))
            return y, index, peak
        self.m2, peak = self.mask(a, read_by_conv=False)
        return *self.pool(self.m2), peak

    def pool(self, x: Value) -> tuple[Value, Value | None]:
        if self.s.pool == 1:
            return x, None
        y, index = self.p.call('maxpool2d_forward', x, attrs=self.pool_attrs, P=self.s.q,
                               Q=self.s.q)
        return y, index

    def norm_mix(self, interp: Value, ordin: Value) -> Value:
        p, attrs = self.p, dict(training=1, momentum=self.s.momentum, floor=self.s.floor,
                                scale=self.s.q, silent=self.s.silent)
        w_p = self.parameters['mix.w_p']
        alphas = self.state('norm_interp.alpha'), self.state('norm_ordin.alpha')
        if self.fused:
            self.tracks = interp, ordin
            y, self.out['p'], *factors, _, _ = p.call('norm_mix_forward', interp, ordin, *alphas,
                                                      w_p, attrs=attrs)
            self.factors = tuple(factors)
            return y
        norms = [p.call('norm_layer_forward', x, alpha, attrs=attrs)
                 for x, alpha in zip((interp, ordin), alphas)]
        self.tracks, self.factors = zip(*(norm[:2] for norm in norms))
        y, self.out['p'] = p.call('mix_tracks_forward', *self.tracks, w_p)
        return y

    def forward(self) -> None:
        s, p = self.s, self.p
        self.c = p.leaf('features', TensorType('maps', (s.B, s.C, s.n, s.n)))
        self.a1 = self.convolution('conv_interp_1', self.c)
        self.m1, self.mu1 = self.mask(self.a1, read_by_conv=True)
        self.a2 = self.convolution('conv_interp_2', self.m1)
        interp, self.index_interp, self.mu2 = self.mask_pool(self.a2)
        self.a_ordin = self.convolution('conv_ordin', self.c)
        ordin, self.index_ordin = self.pool(self.a_ordin)
        self.x_enc = self.norm_mix(interp, ordin)
        flat = TensorType('rows', (s.B, s.D * s.q ** 2), chw=(s.D, s.q, s.q))
        self.h = [p.view(self.x_enc, flat)]  # the input of each layer, then the last output
        for l in range(1, len(s.targets) + 1):
            w, b = self.parameters[f'fc_dec_{l}.weight'], self.parameters[f'fc_dec_{l}.bias']
            self.h.append(p.op('linear_forward', self.h[-1], w, b, attrs=dict(relu=1)))
        self.out.update(a1=self.a1, x_enc=self.x_enc, mu1=self.mu1, mu2=self.mu2)
        if not self.fused:
            self.out['m2'] = self.m2
        self.out.update({f'h_{l}': h for l, h in enumerate(self.h) if l})

    # Losses, and where their gradients start.

    def losses(self) -> None:
        s, p = self.s, self.p
        self.targets, self.rec_attrs = [], []
        for l, size in enumerate(s.targets, 1):
            self.targets.append(p.leaf(f'target_{l}', TensorType('rows', (s.B, size))))
            weight = s.lambda_rec[min(l, len(s.lambda_rec)) - 1]
            self.rec_attrs.append(dict(weight=weight / s.target_power[l - 1]))
            self.out[f'rec_{l}'] = p.op('mean_square_forward', self.h[l], self.targets[-1],
                                        attrs=self.rec_attrs[-1])
        self.out['contribution'] = p.op('contribution_loss_forward', self.parameters['mix.w_p'],
                                        attrs=dict(eta=s.eta))
        attrs = dict(beta=s.beta, tau=s.tau, alpha=s.prior, peak_scale=int(s.peak_scale),
                     kappa=s.kappa, momentum=s.momentum, floor=s.floor, training=1)
        self.scores = []
        for l, a in enumerate((self.a1, self.a2), 1):
            loss, dscore, factor, *_ = p.call(
                'filter_loss_forward', a, self.state(f'filter_loss_{l}.peak'), None, attrs=attrs,
                absent=() if s.peak_scale else ('peak_mean_out',), T=s.n ** 2 + 1)
            self.scores.append((dscore, factor))
            self.out[f'filter_{l}'] = p.op('mean_forward', loss)

    def filter_gradient(self, l: int, seed: Value) -> Value:
        dscore, factor = self.scores[l]
        if self.mean_gradient is None:  # one for both layers
            self.mean_gradient = self.p.op('mean_backward', seed, F=self.s.D)
        return self.p.op('filter_loss_backward', self.mean_gradient, dscore, factor, n=self.s.n,
                         m=self.s.n, attrs=dict(beta=self.s.beta, tau=self.s.tau))

    def add_filter_gradient(self, l: int, rec: Value, arriving: Value, y: Value) -> Value:
        """arriving + lambda * gradient of layer l's filter loss, through the ReLU that ends in y;
        `rec`: the gradient of the rest alone."""
        s, p = self.s, self.p
        if s.lambda_filter is not None:
            seed = p.leaf('lambda', SCALAR)
            return self.through_relu('add_forward', self.filter_gradient(l, seed), arriving, y=y,
                                     read_by_conv=l == 1)
        direct = self.filter_gradient(l, self.one)
        weight = p.op('balance_gradient', rec, direct, attrs=dict(rho=s.rho))
        self.out[f'lambda_{l + 1}'] = weight
        attrs = dict(round=int(self.fused and l == 1))
        return self.through_relu('add_scaled', arriving, direct, weight, y=y, attrs=attrs,
                                 read_by_conv=l == 1)

    def through_relu(self, name: str, *inputs: Value, y: Value, read_by_conv: bool = False,
                     attrs: dict[str, float] | None = None, **sizes: int) -> Value:
        """The call `name`, cut where the ReLU that ends in y is closed."""
        if self.fused:
            return self.p.op(name, *inputs, y, attrs=attrs, **sizes)
        found = self.p.op(name, *inputs, None, attrs=attrs, **sizes)
        return self.relu_backward(found, y, read_by_conv)

    def relu_backward(self, g: Value, y: Value, read_by_conv: bool = False) -> Value:
        return self.p.op('relu_backward', g, y, attrs=dict(round=int(read_by_conv)))

    # Backward.

    def decoder_backward(self) -> Value:
        last = len(self.s.targets)
        g = self.one
        for l in range(last, 0, -1):
            own = self.p.op('mean_square_backward', self.one, self.h[l], self.targets[l - 1],
                            attrs=self.rec_attrs[l - 1])
            if l == last:
                g = self.relu_backward(own, self.h[l])
            else:
                g = self.through_relu('add_forward', own, g, y=self.h[l])
            name, x = f'fc_dec_{l}.weight', self.h[l - 1]
            self.gradients[f'fc_dec_{l}.bias'] = self.p.op('linear_backward_bias', g)
            if self.fused:
                operands, attrs = self.update_of(name)
                g = self.p.call(f'linear_{self.s.optimizer}_step', g, x, *operands, attrs=attrs)[-1]
            else:
                self.gradients[name] = self.p.op('linear_backward_weight', g, x)
                g = self.p.op('linear_backward_data', g, self.parameters[name])
        return self.p.view(g, self.x_enc.type)

    def mix_backward(self, g: Value) -> tuple[Value, Value, Value]:
        """Gradients of the pooled tracks and of the share."""
        p, w_p = self.p, self.parameters['mix.w_p']
        if self.fused:
            interp, ordin, dw_p = p.call('norm_mix_backward', g, *self.tracks, *self.factors, w_p)
            return interp, ordin, dw_p
        *found, dw_p = p.call('mix_tracks_backward', g, *self.tracks, w_p)
        interp, ordin = (p.op('norm_layer_backward', d, factor)
                         for d, factor in zip(found, self.factors))
        return interp, ordin, dw_p

    def interp_backward(self, g: Value) -> Value:
        s = self.s
        if self.fused and self.index_interp:
            return self.p.op('mask_pool_backward', g, self.index_interp, self.mu2, None, n=s.n,
                             m=s.n, attrs=self.pool_attrs | dict(beta=s.beta))
        if self.index_interp:
            g = self.p.op('maxpool2d_backward', g, self.index_interp, None, attrs=self.pool_attrs,
                          H=s.n, W=s.n)
        return self.p.op('mask_layer_backward', g, self.mu2, None, attrs=dict(beta=s.beta))

    def ordin_backward(self, g: Value) -> Value:
        if self.index_ordin is None:
            return self.relu_backward(g, self.a_ordin)
        return self.through_relu('maxpool2d_backward', g, self.index_ordin, y=self.a_ordin,
                                 attrs=self.pool_attrs, H=self.s.n, W=self.s.n)

    def convolution_backward(self, name: str, g: Value, x: Value) -> None:
        k = self.s.kernel
        self.gradients[f'{name}.weight'] = self.p.op('conv2d_backward_weight', x, g,
                                                     attrs=self.conv_attrs(), R=k, S=k)
        self.gradients[f'{name}.bias'] = self.p.op('conv2d_backward_bias', g)

    def through_second(self, g: Value) -> Value:
        """From the second interpretable layer's convolution back to the first one's maps."""
        w, n = self.parameters['conv_interp_2.weight'], self.s.n
        attrs = self.conv_attrs(rounded=not self.fused or self.s.lambda_filter is None)
        g = self.p.op('conv2d_backward_data', g, w, attrs=attrs, H=n, W=n)
        return self.p.op('mask_layer_backward', g, self.mu1, None, attrs=dict(beta=self.s.beta))

    def backward(self) -> None:
        p, w_p = self.p, self.parameters['mix.w_p']
        g = self.decoder_backward()
        dx_interp, dx_ordin, dw_p = self.mix_backward(g)
        own = p.op('contribution_loss_backward', self.one, w_p, attrs=dict(eta=self.s.eta))
        self.gradients['mix.w_p'] = p.op('add_forward', own, dw_p, None)
        self.convolution_backward('conv_ordin', self.ordin_backward(dx_ordin), self.c)
        rec_2 = self.interp_backward(dx_interp)
        at_2 = self.add_filter_gradient(1, rec_2, rec_2, self.a2)
        self.convolution_backward('conv_interp_2', at_2, self.m1)
        all_1 = rec_1 = self.through_second(at_2)
        if self.s.lambda_filter is None:  # the reconstruction alone, which the balance asks for
            rec_1 = self.through_second(self.relu_backward(rec_2, self.a2, read_by_conv=True))
        at_1 = self.add_filter_gradient(0, rec_1, all_1, self.a1)
        self.convolution_backward('conv_interp_1', at_1, self.c)
        self.out.update({f'grad {name}': g for name, g in self.gradients.items()})

    # Update.

    def update_of(self, name: str) -> tuple[list[Value], dict[str, float]]:
        """What the step of a parameter reads, its gradient left out: w, moments, hyper; attributes."""
        s, w = self.s, self.parameters[name]
        moments = ('m', 'v') if s.optimizer == 'adam' else ('v',)
        states = [self.p.leaf(f'{s.optimizer}.{m}/{name}', w.type) for m in moments]
        attrs = dict(lr_scale=s.lr_scale(name), weight_decay=s.weight_decay)
        attrs |= (dict(beta1=s.beta1, beta2=s.beta2, eps=s.eps) if s.optimizer == 'adam' else
                  dict(momentum=s.sgd_momentum))
        return [w, *states, self.p.leaf('hyper', TensorType('rows', (3,)))], attrs

    def update(self) -> None:
        s, p = self.s, self.p
        for name, gradient in self.gradients.items():
            (w, *rest), attrs = self.update_of(name)
            p.call(f'{s.optimizer}_step', w, gradient, *rest, attrs=attrs)
        if s.peak_scale:
            for layer in ('conv_interp_1', 'conv_interp_2'):
                p.call('project_norm', self.parameters[f'{layer}.weight'],
                       self.state(f'{layer}.norm'))


def training_step(setting: Setting, traced: bool = False) -> Step:
    """The whole step of one setting, its calls fused as lib/engine/fuse.ts does. `traced`: every activation
    and gradient in memory, no call fused."""
    builder = _Builder(setting, traced)
    builder.forward()
    builder.losses()
    builder.backward()
    builder.update()
    return builder.step


def _listing(step: Step) -> list[dict[str, object]]:
    """Kernel, shapes (null where absent) and attributes of each call."""
    return [{'kernel': call.kernel.name, 'attrs': call.kernel.rounded(call.attrs),
             'shapes': [list(value.type.shape) if value else None for value in call.operands]}
            for call in step.program.calls]


if __name__ == '__main__':  # cd bench && python3 -m gpu.step 'small VGG'
    print(json.dumps(_listing(training_step({s.name: s for s in (*SETTINGS, TINY)}[sys.argv[1]]))))
