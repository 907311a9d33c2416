"""The explainer's training step in PyTorch: the peer that ours is timed against, and a reference.

    python3 bench/peers/torch_step.py [--setting demo] [--device cpu] [--variant eager]
                                      [--dtype float32] [--threads 2] [--steps 10]

Written as one would for speed: features without a gradient, the filter loss's gradient in closed
form (one matrix product each way), the backward pass cut at both interpretable layers, so that the
balance of their gradients costs one data gradient of the second convolution and nothing else twice.
Variants:
  eager          NCHW, as it stands
  channels_last  NHWC
  tuned          channels_last, torch.compile, one CUDA graph, fused optimizer
  tuned_bf16     the same under bf16 autocast, float32 weights; the filter loss stays in float32
"""
from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gpu.reference_explainer import unit_templates  # noqa: E402
from gpu.setting import SETTINGS, Arrays, Batches, Setting, initial_weights  # noqa: E402

VARIANTS = ('eager', 'channels_last', 'tuned', 'tuned_bf16')


class _Math:
    """The step's pieces as functions of tensors, each fit for torch.compile as it stands."""

    def __init__(self, setting: Setting, templates: Tensor) -> None:
        self.s = setting
        self.mask_of = templates.clamp(min=0)  # [mu, cell]
        n = setting.n
        none = torch.full((1, n * n), -1.0, dtype=templates.dtype, device=templates.device)
        self.templates = setting.tau * torch.cat([templates, none])  # [T, cell]
        self.p_T = torch.full((n * n + 1,), setting.prior / n ** 2, dtype=templates.dtype,
                              device=templates.device)
        self.p_T[-1] = 1 - setting.prior

    def peak(self, a: Tensor) -> Tensor:
        """mu: the cell of each map's largest value."""
        return a.detach().flatten(2).argmax(2)

    def masked(self, x: Tensor, peak: Tensor) -> Tensor:
        """x times max(U_mu, 0), a constant."""
        return x * self.mask_of[peak].view(x.shape).to(x.dtype)

    def convolve(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, w, b, padding=self.s.kernel // 2))

    def second(self, a1: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """a2, and the peaks of a1."""
        peak = self.peak(a1)
        return self.convolve(self.masked(a1, peak), w, b), peak

    def running(self, old: Tensor, batch: Tensor) -> Tensor:
        m = self.s.momentum
        return torch.where(old < 0, batch, m * old + (1 - m) * batch)

    def share(self, gain: float, strength: Tensor) -> Tensor:
        """gain / max(strength, floor * mean strength), 0 where all filters are dead."""
        below = torch.maximum(strength, self.s.floor * strength.mean())
        return torch.where(below > 0, gain / below, 0)

    def norm(self, x: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """y, and the new alpha, a constant of the backward pass."""
        if self.s.pool > 1:
            x = F.max_pool2d(x, self.s.pool)
        batch = F.relu(x.detach()).sum((2, 3), dtype=alpha.dtype).mean(0)
        alpha = self.running(alpha, batch)
        alive = alpha.mean() >= self.s.silent
        return x * (alive * self.share(self.s.q, alpha))[:, None, None], alpha

    def encode(self, a2: Tensor, c: Tensor, w: Tensor, b: Tensor, w_p: Tensor, interp: Tensor,
               ordin: Tensor) -> tuple[Tensor, ...]:
        """x_enc, contribution loss, p, and both new alphas."""
        x_interp, interp = self.norm(self.masked(a2, self.peak(a2)), interp)
        x_ordin, ordin = self.norm(self.convolve(c, w, b), ordin)
        p = torch.sigmoid(w_p)
        return (p * x_interp + (1 - p) * x_ordin, -self.s.eta * F.logsigmoid(w_p), p, interp,
                ordin)

    def decode(self, x: Tensor, weights: list[Tensor], targets: list[Tensor]) -> list[Tensor]:
        """Reconstruction loss of each target."""
        x, losses = x.flatten(1), []
        for l, target in enumerate(targets):
            x = F.relu(F.linear(x, weights[2 * l], weights[2 * l + 1]))
            weight = self.s.lambda_rec[min(l, len(self.s.lambda_rec) - 1)]
            difference = x.to(target.dtype) - target
            losses.append(weight / self.s.target_power[l] * (difference * difference).mean())
        return losses

    def filter_loss(self, a: Tensor, peak: Tensor, rec: Tensor,
                    arriving: Tensor) -> tuple[Tensor, ...]:
        """Mean loss, lambda, `arriving` + lambda * its gradient with respect to a, mean peak."""
        s, (N, D, n, _) = self.s, a.shape
        a = a.to(peak.dtype)
        peak = self.running(peak, a.amax((2, 3)).mean(0))
        factor = self.share(s.kappa, peak)
        scores = (a * factor[:, None, None]).reshape(N * D, n * n) @ self.templates.T
        log_p = F.log_softmax(scores.view(N, D, n * n + 1), 0)
        surprise = log_p - torch.logsumexp(log_p + self.p_T.log(), 2, keepdim=True)
        p = log_p.exp()
        kl = (p * surprise).sum(0)
        loss = -(kl @ self.p_T).mean()
        dscore = -self.p_T * p * (surprise - kl) / D
        direct = (dscore.view(N * D, n * n + 1) @ self.templates).view(N, D, n, n)
        direct = direct * factor[:, None, None]
        below = direct.norm()
        weight = torch.where(below > 0, s.rho * rec.to(peak.dtype).norm() / below, 0)
        return loss, weight, arriving + (weight * direct).to(arriving.dtype), peak

    def through_second(self, rec_2: Tensor, a2: Tensor, w: Tensor, peak: Tensor) -> Tensor:
        """The reconstruction's gradient from a2 back to a1, alone.

        a2 stands for the convolution's input, of which only shape and format are read: what
        torch.nn.grad makes up for it is not channels_last and costs two copies of g.
        """
        g, pad = rec_2 * (a2 > 0), [self.s.kernel // 2] * 2
        back, _, _ = torch.ops.aten.convolution_backward(
            g, a2, w.to(g.dtype), None, [1, 1], pad, [1, 1], False, [0, 0], 1, [True, False, False])
        return self.masked(back, peak)

    def shrink(self, w: Tensor, norm: Tensor) -> Tensor:
        """Factor that takes each filter of w back to its norm."""
        return (norm / torch.linalg.vector_norm(w, dim=(1, 2, 3)))[:, None, None, None]


class TorchStep:
    """One network in training. `step` runs one step on the batch that `load` has put in place."""

    def __init__(self, setting: Setting, weights: Arrays, *, device: str = 'cpu',
                 variant: str = 'eager', dtype: torch.dtype = torch.float32) -> None:
        if not setting.peak_scale or setting.lambda_filter is not None:
            raise ValueError('the peer has the default loss alone: scale peak, balanced')
        self.s, self.device, self.dtype = setting, torch.device(device), dtype
        self.tuned, self.bf16 = variant.startswith('tuned'), variant.endswith('bf16')
        self.format = torch.contiguous_format if variant == 'eager' else torch.channels_last
        self.w = {name: self._tensor(array).requires_grad_() for name, array in weights.items()}
        state = torch.full((setting.D,), -1.0, device=self.device, dtype=dtype)
        self.state = {name: state.clone() for name in ('interp', 'ordin', 'peak_1', 'peak_2')}
        self.norms = {name: self.w[name].detach().flatten(1).norm(dim=1)
                      for name in ('conv_interp_1.weight', 'conv_interp_2.weight')}
        self.math = _Math(setting, self._tensor(unit_templates(setting.n, setting.beta)))
        names = ('convolve', 'second', 'encode', 'decode', 'filter_loss', 'through_second',
                 'shrink')
        of = _compiled if self.tuned else lambda function: function
        self.pieces = SimpleNamespace(**{name: of(getattr(self.math, name)) for name in names})
        self.optimizer = self._optimizer()
        self.losses: dict[str, Tensor] = {}
        self.features, self.targets = torch.empty(0), [torch.empty(0)]
        self._graph: torch.cuda.CUDAGraph | None = None

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.tensor(np.asarray(array), dtype=self.dtype, device=self.device)  # a copy
        return tensor.contiguous(memory_format=self.format) if tensor.dim() == 4 else tensor

    def _optimizer(self) -> torch.optim.Optimizer:
        s = self.s
        scales = sorted({s.lr_scale(name) for name in self.w})
        groups = [{'params': [w for name, w in self.w.items() if s.lr_scale(name) == scale],
                   'lr': s.lr * scale} for scale in scales]
        fast = {'fused': True} if self.tuned and self.device.type == 'cuda' else {}
        if s.optimizer == 'sgd':
            return torch.optim.SGD(groups, lr=s.lr, momentum=s.sgd_momentum,
                                   weight_decay=s.weight_decay, **fast)
        capturable = {'capturable': True} if fast else {}
        return torch.optim.Adam(groups, lr=s.lr, betas=(s.beta1, s.beta2), eps=s.eps,
                                weight_decay=s.weight_decay, **fast, **capturable)

    def load(self, features: np.ndarray, targets: list[np.ndarray]) -> None:
        """Puts a batch where the step reads it."""
        new = [self._tensor(features), *map(self._tensor, targets)]
        if self.features.numel() == 0:
            self.features, self.targets = new[0], new[1:]
        else:
            for old, tensor in zip([self.features, *self.targets], new):
                old.copy_(tensor)

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self.w[f'{name}.weight'], self.w[f'{name}.bias']

    def _eager(self) -> None:
        """Forward, backward, balance, update: the losses go to self.losses."""
        math, state = self.pieces, self.state
        for w in self.w.values():
            w.grad = None
        w2, b2 = self._layer('conv_interp_2')
        with self._autocast():
            a1 = math.convolve(self.features, *self._layer('conv_interp_1'))
            at_1 = a1.detach().requires_grad_()
            a2, mu_1 = math.second(at_1, w2, b2)
            at_2 = a2.detach().requires_grad_()
            x, contribution, p, interp, ordin = math.encode(
                at_2, self.features, *self._layer('conv_ordin'), self.w['mix.w_p'],
                state['interp'], state['ordin'])
            at_x = x.detach().requires_grad_()
            decoder = [w for name, w in self.w.items() if name.startswith('fc_dec')]
            rec = math.decode(at_x, decoder, self.targets)
        sum(rec[1:], rec[0]).backward()
        torch.autograd.backward([x, contribution], [_gradient(at_x), torch.ones_like(contribution)])
        with torch.no_grad():
            rec_2 = _gradient(at_2)
            rec_1 = math.through_second(rec_2, at_2.detach(), w2.detach(), mu_1)
            filter_2, lambda_2, all_2, peak_2 = math.filter_loss(at_2.detach(), state['peak_2'],
                                                                 rec_2, rec_2)
        a2.backward(all_2)
        with torch.no_grad():
            filter_1, lambda_1, all_1, peak_1 = math.filter_loss(at_1.detach(), state['peak_1'],
                                                                 rec_1, _gradient(at_1))
        a1.backward(all_1)
        self.optimizer.step()
        with torch.no_grad():
            for name, norm in self.norms.items():
                self.w[name].mul_(math.shrink(self.w[name].detach(), norm))
            for name, new in (('interp', interp), ('ordin', ordin), ('peak_1', peak_1),
                              ('peak_2', peak_2)):
                state[name].copy_(new)
        named = {f'rec_{l}': loss for l, loss in enumerate(rec, 1)}
        named |= {'contribution': contribution, 'filter_1': filter_1, 'filter_2': filter_2,
                  'lambda_1': lambda_1, 'lambda_2': lambda_2, 'p': p}
        self.losses = {name: loss.detach() for name, loss in named.items()}

    def capture(self, warm_up: int = 3) -> None:
        """Warms up and, where the variant asks for it, records the step as one CUDA graph.

        These steps count: weights move.
        """
        if not self.tuned or self.device.type != 'cuda':
            for _ in range(warm_up):
                self._eager()
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warm_up):
                self._eager()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._eager()

    def step(self) -> None:
        if self._graph:
            self._graph.replay()
        else:
            self._eager()

    def read(self) -> dict[str, float]:
        """Losses of the last step by name."""
        return {name: float(loss) for name, loss in self.losses.items()}


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


def _compiled(function: Callable) -> Callable:
    """Whole, for its shapes alone. Every network compiles anew: Dynamo's limit is for accidents."""
    import torch._dynamo
    for limit in ('recompile_limit', 'cache_size_limit'):
        if hasattr(torch._dynamo.config, limit):
            setattr(torch._dynamo.config, limit, 64)
    return torch.compile(function, dynamic=False, fullgraph=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [setting.name for setting in SETTINGS]
    parser.add_argument('--setting', choices=names, default='demo')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--variant', choices=VARIANTS, default='eager')
    parser.add_argument('--dtype', choices=('float32', 'float64'), default='float32')
    parser.add_argument('--threads', type=int)
    parser.add_argument('--steps', type=int, default=10)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    setting = SETTINGS[names.index(args.setting)]
    rng = np.random.default_rng(1)
    peer = TorchStep(setting, initial_weights(setting, rng), device=args.device,
                     variant=args.variant, dtype=getattr(torch, args.dtype))
    peer.load(*Batches(setting, rng).draw())
    peer.capture()
    for step in range(args.steps):
        start = time.perf_counter()
        peer.step()
        losses = peer.read()  # waits for the device
        ms = (time.perf_counter() - start) * 1e3
        print(json.dumps({'step': step, 'ms': round(ms, 3), **losses}), flush=True)


if __name__ == '__main__':
    main()
