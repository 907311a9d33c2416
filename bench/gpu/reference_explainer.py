"""Float64 references of the explainer's own kernels and of the optimizers; see reference_ops.py."""
from __future__ import annotations

from types import SimpleNamespace as Names

import numpy as np

from .reference_ops import Arrays, Shapes, gated, maxpool2d_backward, maxpool2d_forward


def unit_templates(n: int, beta: float, m: int | None = None) -> np.ndarray:
    """U[mu, cell] = max(1 - beta |cell - mu|_1 / sqrt(n m), -1), cells row-major; m: else n."""
    m = n if m is None else m
    i, j = np.divmod(np.arange(n * m), m)
    distance = np.abs(i[:, None] - i) + np.abs(j[:, None] - j)
    return np.maximum(1 - beta * distance / np.sqrt(n * m), -1)


def mask_layer_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, D, n, m = t.x.shape
    peak = t.x.reshape(N, D, n * m).argmax(axis=2)
    mask = np.maximum(unit_templates(n, a.beta, m), 0)[peak]
    return {'y': t.x * mask.reshape(t.x.shape), 'peak': peak.astype(np.int32)}


def mask_layer_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    _, _, n, m = t.g.shape
    mask = np.maximum(unit_templates(n, a.beta, m), 0)[t.peak]
    return {'dx': gated(t.g * mask.reshape(t.g.shape), t)}


def mask_pool_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    masked = mask_layer_forward(t, a, shape)
    return maxpool2d_forward(Names(x=masked['y']), a, shape) | {'peak': masked['peak']}


def mask_pool_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    g = maxpool2d_backward(Names(g=t.g, index=t.index), a, shape)['dx']
    return mask_layer_backward(Names(g=g, peak=t.peak, gate=t.gate), a, shape)


def _running(old: np.ndarray, batch: np.ndarray, a: Names) -> np.ndarray:
    if not a.training:
        return old
    return np.where(old < 0, batch, a.momentum * old + (1 - a.momentum) * batch)


def _floored_share(gain: float, strength: np.ndarray, floor: float) -> np.ndarray:
    """gain / max(strength, floor * mean strength); 0 where that is 0."""
    below = np.maximum(strength, floor * strength.mean())
    return np.where(below > 0, gain / np.where(below > 0, below, 1), 0)


def norm_layer_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    strength = np.maximum(t.x, 0).sum(axis=(2, 3)).mean(axis=0)
    alpha = _running(t.alpha, strength, a)
    alive = alpha.mean() >= a.silent
    factor = _floored_share(a.scale, alpha, a.floor) * alive
    return {'y': t.x * factor[:, None, None], 'factor': factor, 'alpha_out': alpha}


def norm_layer_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': t.g * t.factor[:, None, None]}


def _sigmoid(w: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-w))


def mix_tracks_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    p = _sigmoid(t.w_p)
    return {'y': p * t.x_interp + (1 - p) * t.x_ordin, 'p': p}


def mix_tracks_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    p = _sigmoid(t.w_p)
    dw_p = p * (1 - p) * (t.g * (t.x_interp - t.x_ordin)).sum()
    return {'dx_interp': p * t.g, 'dx_ordin': (1 - p) * t.g, 'dw_p': dw_p}


def norm_mix_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    found: Arrays = {}
    tracks = {}
    for track in ('interp', 'ordin'):
        given = Names(x=getattr(t, f'x_{track}'), alpha=getattr(t, f'alpha_{track}'))
        norm = norm_layer_forward(given, a, shape)
        tracks[f'x_{track}'] = norm['y']
        found |= {f'factor_{track}': norm['factor'], f'alpha_{track}_out': norm['alpha_out']}
    return found | mix_tracks_forward(Names(w_p=t.w_p, **tracks), a, shape)


def norm_mix_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    f_interp, f_ordin = t.factor_interp[:, None, None], t.factor_ordin[:, None, None]
    given = Names(g=t.g, x_interp=t.x_interp * f_interp, x_ordin=t.x_ordin * f_ordin, w_p=t.w_p)
    found = mix_tracks_backward(given, a, shape)
    return found | {'dx_interp': found['dx_interp'] * f_interp,
                    'dx_ordin': found['dx_ordin'] * f_ordin}


def mean_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': t.x.mean()}


def mean_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': np.full(shape['dx'], t.g / shape['dx'][0])}


def mean_square_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'loss': a.weight * ((t.x - t.target) ** 2).mean()}


def mean_square_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dx': t.g * a.weight * 2 / t.x.size * (t.x - t.target)}


def contribution_loss_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'loss': a.eta * np.logaddexp(0, -t.w_p)}


def contribution_loss_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'dw_p': -t.g * a.eta * (1 - _sigmoid(t.w_p))}


def _all_templates(n: int, m: int, beta: float, tau: float) -> np.ndarray:
    """T[template, cell]: T_mu = tau U_mu in row-major order of mu, then T_- = -tau."""
    return tau * np.vstack([unit_templates(n, beta, m), -np.ones(n * m)])


def _log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    top = x.max(axis=axis, keepdims=True)
    return top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))


def filter_loss_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, D, n, m = t.x.shape
    factor, peak_mean = np.ones(D), t.peak_mean
    if a.peak_scale:
        peak_mean = _running(t.peak_mean, t.x.max(axis=(2, 3)).mean(axis=0), a)
        factor = _floored_share(a.kappa, peak_mean, a.floor)
    z = (t.x * factor[:, None, None]).reshape(N * D, n * m)
    s = (z @ _all_templates(n, m, a.beta, a.tau).T).reshape(N, D, n * m + 1)
    p_T = np.append(np.full(n * m, a.alpha / (n * m)), 1 - a.alpha)
    log_p_x_T = s - _log_sum_exp(s, axis=0)
    surprise = log_p_x_T - _log_sum_exp(log_p_x_T + np.log(p_T), axis=2)
    p_x_T = np.exp(log_p_x_T)
    kl = (p_x_T * surprise).sum(axis=0)
    dscore = -p_T * p_x_T * (surprise - kl)
    loss = -(kl @ p_T)
    if t.foreign is not None:  # the cross-entropy of "no part"
        log_joint = s + np.log(p_T)
        log_posterior = log_joint - _log_sum_exp(log_joint, axis=2)
        weight = t.foreign / N
        loss -= (weight * log_posterior[..., -1]).sum(axis=0)
        dscore += weight[..., None] * (np.exp(log_posterior) - (np.arange(n * m + 1) == n * m))
    return {'loss': loss, 'dscore': dscore[..., None], 'factor': factor, 'peak_mean_out': peak_mean}


def filter_loss_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    N, D, n, m = shape['dx']
    dz = t.dscore.reshape(N * D, n * m + 1) @ _all_templates(n, m, a.beta, a.tau)
    return {'dx': dz.reshape(shape['dx']) * (t.g * t.factor)[:, None, None]}


def _strengths(base: np.ndarray, power: float) -> np.ndarray:
    return np.maximum(base, 1e-6) ** power


def _competition(t: Names, a: Names) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """factor, z = factor x, and each filter's share of its place."""
    factor = np.ones((1, 1)) if t.factor is None else t.factor[:, None, None]
    z = t.x * factor
    e = _strengths(a.scale * z, a.power)
    return factor, z, e / (e.sum(axis=1, keepdims=True) + a.tau ** a.power)


def compete_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    _, z, share = _competition(t, a)
    return {'y': z * share}


def compete_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    factor, z, share = _competition(t, a)
    q = (t.g * z * share).sum(axis=1, keepdims=True)
    lively = a.scale * z > 1e-6
    rise = np.where(lively, a.power * (t.g - q / np.where(lively, z, 1)), 0)
    return {'dx': factor * share * (t.g + rise)}


def _peak_values(t: Names) -> np.ndarray:
    N, D, n, m = t.x.shape
    return np.take_along_axis(t.x.reshape(N, D, n * m), t.peak[..., None], 2)[..., 0]


def _cone_bases(t: Names, a: Names, factor: np.ndarray) -> np.ndarray:
    n, m = t.x.shape[2:]
    cones = np.maximum(unit_templates(n, a.beta, m), 0)[t.peak].reshape(t.x.shape)
    return (_peak_values(t) * factor)[..., None, None] * cones


def _switched(t: Names) -> np.ndarray:
    on = np.ones(t.peak.shape) if t.on is None else t.on
    return on[..., None, None]


def part_gates_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    alpha = _running(t.alpha, _peak_values(t).mean(axis=0), a)
    factor = _floored_share(1, alpha, a.floor)
    e = _strengths(_cone_bases(t, a, factor), a.power)
    inverse = 1 / (e.sum(axis=1, keepdims=True) + a.tau ** a.power)
    return {'y': (_switched(t) * e).sum(axis=1, keepdims=True) * inverse, 'inverse': inverse,
            'factor': factor, 'alpha_out': alpha}


def part_gates_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    base = _cone_bases(t, a, t.factor)
    e = np.where(base > 1e-6, _strengths(base, a.power), 0)
    rise = a.power * (t.g * (_switched(t) - t.y) * t.inverse * e).sum(axis=(2, 3))
    v = _peak_values(t)
    N, D, n, m = t.x.shape
    dx = np.zeros((N, D, n * m))
    at_peak = np.where(v > 0, rise / np.where(v > 0, v, 1), 0)
    np.put_along_axis(dx, t.peak[..., None], at_peak[..., None], 2)
    return {'dx': dx.reshape(t.x.shape)}


def gram_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': np.einsum('nfhw,nghw->fg', t.x, t.x, optimize=True)[:, :, None, None]}


def gram_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    both = (t.g + t.g.transpose(1, 0, 2, 3))[:, :, 0, 0]
    return {'dx': np.einsum('fg,nghw->nfhw', both, t.x, optimize=True)}


def _likeness(t: Names, a: Names) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """G, s_fg = G_fg^2 / (e_f e_g) off the diagonal, e_f, and which filters are below the floor."""
    gram = t.gram[:, :, 0, 0]
    least = a.floor * np.diag(gram).mean()
    energy = np.maximum(np.diag(gram), least)
    s = np.minimum(gram ** 2 / np.outer(energy, energy), 1)
    np.fill_diagonal(s, 0)
    return gram, s, energy, np.diag(gram) <= least


def _pairs(D: int) -> int:
    return max(D * (D - 1), 1)


def overlap_forward(t: Names, a: Names, shape: Shapes) -> Arrays:
    gram, s, *_ = _likeness(t, a)
    return {'loss': -0.5 * np.log(1 - (1 - a.shrink) * s).sum() / _pairs(len(gram))}


def overlap_backward(t: Names, a: Names, shape: Shapes) -> Arrays:
    gram, s, energy, below = _likeness(t, a)
    D = len(gram)
    rise = t.g * (1 - a.shrink) / (1 - (1 - a.shrink) * s) / _pairs(D)
    of_energy = -(rise * s).sum(axis=1) / energy
    dgram = rise * gram / np.outer(energy, energy)
    shared = of_energy[below].sum() * a.floor / D
    np.fill_diagonal(dgram, np.where(below, 0, of_energy) + shared)
    return {'dgram': dgram[:, :, None, None]}


def balance_gradient(t: Names, a: Names, shape: Shapes) -> Arrays:
    rec, own = np.sqrt((t.g_rec ** 2).sum()), np.sqrt((t.g_filter ** 2).sum())
    return {'lambda': a.rho * rec / own if own > 0 else np.zeros(())}


def clip_norm_total(t: Names, a: Names, shape: Shapes) -> Arrays:
    before = 0 if t.before is None else t.before
    return {'norm': np.sqrt(before ** 2 + (t.x ** 2).sum())}


def clip_norm_scale(t: Names, a: Names, shape: Shapes) -> Arrays:
    return {'y': t.grad * min(1, a.most / t.norm) if t.norm > a.most else t.grad}


def adam_step(t: Names, a: Names, shape: Shapes) -> Arrays:
    grad = t.grad + a.weight_decay * t.w
    m = a.beta1 * t.m + (1 - a.beta1) * grad
    v = a.beta2 * t.v + (1 - a.beta2) * grad ** 2
    rate, first, second = t.hyper
    step = rate * a.lr_scale * (m * first) / (np.sqrt(v * second) + a.eps)
    return {'w_out': t.w - step, 'm_out': m, 'v_out': v}


def sgd_step(t: Names, a: Names, shape: Shapes) -> Arrays:
    v = a.momentum * t.v + t.grad + a.weight_decay * t.w
    return {'w_out': t.w - t.hyper[0] * a.lr_scale * v, 'v_out': v}


def _with_gradient(t: Names) -> Names:
    return Names(**vars(t), grad=t.g.T @ t.x)


def linear_adam_step(t: Names, a: Names, shape: Shapes) -> Arrays:
    return adam_step(_with_gradient(t), a, shape) | {'dx': t.g @ t.w}


def linear_sgd_step(t: Names, a: Names, shape: Shapes) -> Arrays:
    return sgd_step(_with_gradient(t), a, shape) | {'dx': t.g @ t.w}


def project_norm(t: Names, a: Names, shape: Shapes) -> Arrays:
    norm = np.sqrt((t.w ** 2).sum(axis=(1, 2, 3)))
    gain = np.where(norm > 0, t.norm / np.where(norm > 0, norm, 1), 1)
    return {'w_out': t.w * gain[:, None, None, None]}
