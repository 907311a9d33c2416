"""Settings of the explainer's training step, and weights and batches to start from."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Setting:
    """Sizes and options of one step in the letters of docs/method.md; defaults of lib/explainer."""

    name: str
    B: int  # images
    C: int  # channels of the performer's maps
    n: int  # their side
    D: int  # filters of each explainer layer
    targets: tuple[int, ...]
    optimizer: str = 'adam'
    pool: int = 2
    kernel: int = 3
    beta: float = 4
    momentum: float = 0.9  # of running means
    floor: float = 0.05
    silent: float = 1e-3
    eta: float = 0.3
    lambda_rec: tuple[float, ...] = (1, 1)
    target_power: tuple[float, ...] = (1, 1)
    peak_scale: bool = True  # else raw maps, and no projection
    kappa: float = 0.5
    tau: float = 1
    alpha: float | None = None
    rho: float = 3
    lambda_filter: float | None = None  # None: balanced by rho
    lr: float = 1e-3
    lr_scale_p: float = 30
    lr_scale_decoder: float = 0.3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    sgd_momentum: float = 0.9
    weight_decay: float = 0

    @property
    def q(self) -> int:
        """Side after the pooling."""
        return self.n // self.pool

    @property
    def prior(self) -> float:
        """Prior of "a part is there"."""
        return self.n ** 2 / (1 + self.n ** 2) if self.alpha is None else self.alpha

    def lr_scale(self, name: str) -> float:
        """Factor on the learning rate of a parameter."""
        if name == 'mix.w_p':
            return self.lr_scale_p
        return self.lr_scale_decoder if name.startswith('fc_dec') else 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameters in the order of the graph."""
        found: dict[str, tuple[int, ...]] = {}
        for name, channels in (('conv_interp_1', self.C), ('conv_interp_2', self.D),
                               ('conv_ordin', self.C)):
            found[f'{name}.weight'] = (self.D, channels, self.kernel, self.kernel)
            found[f'{name}.bias'] = (self.D,)
        found['mix.w_p'] = ()
        width = self.D * self.q ** 2
        for l, size in enumerate(self.targets, 1):
            found[f'fc_dec_{l}.weight'] = (size, width)
            found[f'fc_dec_{l}.bias'] = (size,)
            width = size
        return found

    def hyper(self, step: int, lr: float | None = None) -> np.ndarray:
        """Learning rate and Adam's bias corrections; steps count from 0."""
        rate = self.lr if lr is None else lr
        return np.array([rate, 1 / (1 - self.beta1 ** (step + 1)),
                         1 / (1 - self.beta2 ** (step + 1))], np.float32)


VGG16 = Setting('VGG-16', 32, 512, 14, 512, (4096, 4096), 'sgd')
SMALL_VGG = Setting('small VGG', 64, 256, 14, 256, (1024, 1024))
DEMO = Setting('demo', 64, 64, 14, 64, (256, 256))
TINY = Setting('tiny', 4, 5, 6, 7, (9, 8))  # for the emulator
SETTINGS = (VGG16, SMALL_VGG, DEMO)


def initial_weights(setting: Setting, rng: np.random.Generator) -> Arrays:
    """He-normal weights, zero biases and w_p, as lib/explainer/initial.ts."""
    found = {}
    for name, shape in setting.shapes().items():
        deviation = np.sqrt(2 / np.prod(shape[1:])) if name.endswith('.weight') else 0
        found[name] = (deviation * rng.standard_normal(shape, np.float32)).astype(np.float32)
    return found


@dataclass
class Batches:
    """Maps with a few bright spots, and targets that depend on them: something to be learned."""

    setting: Setting
    rng: np.random.Generator
    mixing: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        s = self.setting
        for size in s.targets:
            weights = self.rng.standard_normal((s.C * 4, size), np.float32)
            self.mixing.append(weights / np.sqrt(s.C * 4))

    def draw(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Features (B, C, n, n) >= 0 with mean about 1, and one (B, size) for each target."""
        s = self.setting
        noise = self.rng.standard_normal((s.B, s.C, s.n, s.n), np.float32)
        place = self.rng.integers(0, s.n, (2, s.B, s.C, 1, 1))
        i, j = np.arange(s.n)[:, None], np.arange(s.n)
        spot = np.exp(-((i - place[0]) ** 2 + (j - place[1]) ** 2) / 4)
        features = np.maximum(noise + 6 * spot - 0.5, 0).astype(np.float32)
        half = s.n // 2
        quarters = features[:, :, :2 * half, :2 * half].reshape(s.B, s.C, 2, half, 2, half)
        pooled = quarters.mean(axis=(3, 5)).reshape(s.B, -1)
        centred = 2 * (pooled - pooled.mean())
        return features, [np.maximum(centred @ w + 0.3, 0).astype(np.float32) for w in self.mixing]
