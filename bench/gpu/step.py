"""The explainer's training step as a program: what lib/explainer/loss.ts compiles to.

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
        self.s, self.step, self.traced = setting, Step(setting), traced
        self.p, self.out = self.step.program, self.step.outputs
        self.parameters: dict[str, Value] = {}
        self.gradients: dict[str, Value] = {}
        self.weight_operands: dict[str, tuple[Value, Value]] = {}  # g, x of the decoder
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

    @property
    def conv_attrs(self) -> dict[str, float]:
        pad = (self.s.kernel - 1) // 2
        return dict(stride_h=1, stride_w=1, pad_top=pad, pad_left=pad, relu=1)

    @property
    def pool_attrs(self) -> dict[str, float]:
        k = self.s.pool
        return dict(kernel_h=k, kernel_w=k, stride_h=k, stride_w=k, pad_top=0, pad_left=0,
                    pad_bottom=0, pad_right=0, count_include_pad=0)

    def convolution(self, name: str, x: Value) -> Value:
        w, b = self.parameters[f'{name}.weight'], self.parameters[f'{name}.bias']
        n = self.s.n
        return self.p.op('conv2d_forward', x, w, b, attrs=self.conv_attrs, P=n, Q=n)

    def mask(self, a: Value) -> tuple[Value, Value]:
        y, peak = self.p.call('mask_layer_forward', a, attrs=dict(beta=self.s.beta))
        return y, peak

    def pool(self, x: Value) -> tuple[Value, Value | None]:
        if self.s.pool == 1:
            return x, None
        y, index = self.p.call('maxpool2d_forward', x, attrs=self.pool_attrs, P=self.s.q,
                               Q=self.s.q)
        return y, index

    def norm(self, name: str, x: Value) -> tuple[Value, Value]:
        attrs = dict(training=1, momentum=self.s.momentum, floor=self.s.floor, scale=self.s.q,
                     silent=self.s.silent)
        y, factor, _ = self.p.call('norm_layer_forward', x, self.state(f'{name}.alpha'),
                                   attrs=attrs)
        return y, factor

    def forward(self) -> None:
        s, p = self.s, self.p
        self.c = p.leaf('features', TensorType('maps', (s.B, s.C, s.n, s.n)))
        self.a1 = self.convolution('conv_interp_1', self.c)
        self.m1, self.mu1 = self.mask(self.a1)
        self.a2 = self.convolution('conv_interp_2', self.m1)
        self.m2, self.mu2 = self.mask(self.a2)
        pooled, self.index_interp = self.pool(self.m2)
        self.x_interp, self.factor_interp = self.norm('norm_interp', pooled)
        self.a_ordin = self.convolution('conv_ordin', self.c)
        pooled, self.index_ordin = self.pool(self.a_ordin)
        self.x_ordin, self.factor_ordin = self.norm('norm_ordin', pooled)
        self.x_enc, self.out['p'] = p.call('mix_tracks_forward', self.x_interp, self.x_ordin,
                                           self.parameters['mix.w_p'])
        flat = TensorType('rows', (s.B, s.D * s.q ** 2), chw=(s.D, s.q, s.q))
        self.h = [p.view(self.x_enc, flat)]  # the input of each layer, then the last output
        for l in range(1, len(s.targets) + 1):
            w, b = self.parameters[f'fc_dec_{l}.weight'], self.parameters[f'fc_dec_{l}.bias']
            self.h.append(p.op('linear_forward', self.h[-1], w, b, attrs=dict(relu=1)))
        self.out.update(a1=self.a1, m2=self.m2, x_enc=self.x_enc, mu1=self.mu1, mu2=self.mu2)
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
                'filter_loss_forward', a, self.state(f'filter_loss_{l}.peak'), attrs=attrs,
                absent=() if s.peak_scale else ('peak_mean_out',), T=s.n ** 2 + 1)
            self.scores.append((dscore, factor))
            self.out[f'filter_{l}'] = p.op('mean_forward', loss)

    def filter_gradient(self, l: int, seed: Value) -> Value:
        dscore, factor = self.scores[l]
        if self.mean_gradient is None:  # one for both layers
            self.mean_gradient = self.p.op('mean_backward', seed, F=self.s.D)
        return self.p.op('filter_loss_backward', self.mean_gradient, dscore, factor, n=self.s.n,
                         attrs=dict(beta=self.s.beta, tau=self.s.tau))

    def add_filter_gradient(self, l: int, rec: Value, arriving: Value) -> Value:
        """arriving + lambda * gradient of layer l's filter loss; `rec`: that of the rest alone."""
        s, p = self.s, self.p
        if s.lambda_filter is not None:
            seed = p.leaf('lambda', SCALAR)
            return p.op('add_forward', self.filter_gradient(l, seed), arriving)
        direct = self.filter_gradient(l, self.one)
        weight = p.op('balance_gradient', rec, direct, attrs=dict(rho=s.rho))
        self.out[f'lambda_{l + 1}'] = weight
        return p.op('add_scaled', arriving, direct, weight)

    # Backward.

    def decoder_backward(self) -> Value:
        last = len(self.s.targets)
        g = self.one
        for l in range(last, 0, -1):
            own = self.p.op('mean_square_backward', self.one, self.h[l], self.targets[l - 1],
                            attrs=self.rec_attrs[l - 1])
            g = own if l == last else self.p.op('add_forward', own, g)
            g = self.p.op('relu_backward', g, self.h[l])
            w = self.parameters[f'fc_dec_{l}.weight']
            self.weight_operands[f'fc_dec_{l}.weight'] = (g, self.h[l - 1])
            self.gradients[f'fc_dec_{l}.bias'] = self.p.op('linear_backward_bias', g)
            g = self.p.op('linear_backward_data', g, w)
        return self.p.view(g, self.x_enc.type)

    def track_backward(self, g: Value, factor: Value, index: Value | None) -> Value:
        g = self.p.op('norm_layer_backward', g, factor)
        if index is None:
            return g
        return self.p.op('maxpool2d_backward', g, index, attrs=self.pool_attrs, H=self.s.n,
                         W=self.s.n)

    def convolution_backward(self, name: str, g: Value, x: Value) -> None:
        k = self.s.kernel
        self.gradients[f'{name}.weight'] = self.p.op('conv2d_backward_weight', x, g,
                                                     attrs=self.conv_attrs, R=k, S=k)
        self.gradients[f'{name}.bias'] = self.p.op('conv2d_backward_bias', g)

    def through_second(self, g: Value) -> Value:
        """From the second interpretable layer's convolution back to the first one's maps."""
        w, n = self.parameters['conv_interp_2.weight'], self.s.n
        g = self.p.op('conv2d_backward_data', g, w, attrs=self.conv_attrs, H=n, W=n)
        return self.p.op('mask_layer_backward', g, self.mu1, attrs=dict(beta=self.s.beta))

    def backward(self) -> None:
        p, w_p = self.p, self.parameters['mix.w_p']
        g = self.decoder_backward()
        dx_interp, dx_ordin, dw_p = p.call('mix_tracks_backward', g, self.x_interp, self.x_ordin,
                                           w_p)
        own = p.op('contribution_loss_backward', self.one, w_p, attrs=dict(eta=self.s.eta))
        self.gradients['mix.w_p'] = p.op('add_forward', own, dw_p)
        g = self.track_backward(dx_ordin, self.factor_ordin, self.index_ordin)
        self.convolution_backward('conv_ordin', p.op('relu_backward', g, self.a_ordin), self.c)
        g = self.track_backward(dx_interp, self.factor_interp, self.index_interp)
        rec_2 = p.op('mask_layer_backward', g, self.mu2, attrs=dict(beta=self.s.beta))
        all_2 = self.add_filter_gradient(1, rec_2, rec_2)
        at_2 = p.op('relu_backward', all_2, self.a2)
        self.convolution_backward('conv_interp_2', at_2, self.m1)
        all_1 = rec_1 = self.through_second(at_2)
        if self.s.lambda_filter is None:  # the reconstruction alone, which the balance asks for
            rec_1 = self.through_second(p.op('relu_backward', rec_2, self.a2))
        all_1 = self.add_filter_gradient(0, rec_1, all_1)
        self.convolution_backward('conv_interp_1', p.op('relu_backward', all_1, self.a1), self.c)
        if self.traced:
            for name, (g, x) in self.weight_operands.items():
                self.gradients[name] = p.op('linear_backward_weight', g, x)
        self.out.update({f'grad {name}': g for name, g in self.gradients.items()})

    # Update.

    def update(self) -> None:
        s, p = self.s, self.p
        hyper = p.leaf('hyper', TensorType('rows', (3,)))
        moments = ('m', 'v') if s.optimizer == 'adam' else ('v',)
        for name, w in self.parameters.items():
            states = [p.leaf(f'{s.optimizer}.{m}/{name}', w.type) for m in moments]
            attrs = dict(lr_scale=s.lr_scale(name), weight_decay=s.weight_decay)
            attrs |= (dict(beta1=s.beta1, beta2=s.beta2, eps=s.eps) if s.optimizer == 'adam' else
                      dict(momentum=s.sgd_momentum))
            if name in self.weight_operands and not self.traced:
                g, x = self.weight_operands[name]
                p.call(f'linear_{s.optimizer}_step', g, x, w, *states, hyper, attrs=attrs)
            else:
                p.call(f'{s.optimizer}_step', w, self.gradients[name], *states, hyper,
                       attrs=attrs)
        if s.peak_scale:
            for layer in ('conv_interp_1', 'conv_interp_2'):
                p.call('project_norm', self.parameters[f'{layer}.weight'],
                       self.state(f'{layer}.norm'))


def training_step(setting: Setting, traced: bool = False) -> Step:
    """The whole step of one setting. `traced`: with the decoder's weight gradients in memory, which
    the optimizer's step computes on its way otherwise."""
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
