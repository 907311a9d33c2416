"""Two small CNNs for photographs of 112 pixels: a stage of 14 x 14, one of 7 x 7 behind it."""
from __future__ import annotations

import torch
from torch import nn


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias and batch normalisation; side / stride, rounded up."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """relu(x + f(x)) of two 3 x 3 convolutions; the skip is a 1 x 1 one where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = conv(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else conv(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))


class Gate(nn.Module):
    """Squeeze and excitation: each map times hardsigmoid of two 1 x 1 convolutions of all means."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = channels // 4
        self.down, self.up = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * nn.functional.hardsigmoid(self.up(torch.relu(self.down(mean))))


class Inverted(nn.Module):
    """1 x 1 to `wide` channels, 3 x 3 depthwise, gate or none, 1 x 1 back; skip where possible."""

    def __init__(self, inputs: int, wide: int, outputs: int, stride: int, gate: bool, act: type):
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, wide, 1), act(),
            conv(wide, wide, 3, stride, groups=wide), act(),
            Gate(wide) if gate else nn.Identity(),
            conv(wide, outputs, 1))
        self.skip = inputs == outputs and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.skip else self.body(x)


def head(channels: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def residual(classes: int) -> nn.Sequential:
    """56 x 56 stem, then basic blocks: one of 28 x 28, three of 14 x 14, two of 7 x 7."""
    return nn.Sequential(
        conv(3, 24, 3, 2), nn.ReLU(),
        Basic(24, 48, 2),
        Basic(48, 96, 2), Basic(96, 96, 1), Basic(96, 96, 1),
        Basic(96, 192, 2), Basic(192, 192, 1),
        *head(192, classes))


def mobilenet(classes: int) -> nn.Sequential:
    """56 x 56 stem, then inverted residual blocks as in MobileNetV3, gates from 14 x 14 on."""
    relu, swish = nn.ReLU6, nn.Hardswish
    return nn.Sequential(
        conv(3, 16, 3, 2), relu(),
        Inverted(16, 48, 24, 2, False, relu),
        Inverted(24, 72, 24, 1, False, relu),
        Inverted(24, 96, 64, 2, True, relu),
        Inverted(64, 192, 64, 1, True, relu),
        Inverted(64, 192, 64, 1, True, relu),
        Inverted(64, 256, 128, 2, True, relu),
        Inverted(128, 448, 128, 1, True, swish),
        Inverted(128, 448, 128, 1, True, swish),
        conv(128, 512, 1), swish(),
        *head(512, classes))


KINDS = {'residual': residual, 'mobilenet': mobilenet}
