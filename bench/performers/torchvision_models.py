#!/usr/bin/env python3
"""Exports CNNs of torchvision with random weights, to prove that the reader takes their graphs.

    python3 bench/performers/torchvision_models.py OUT [NAME ...]

Needs PyTorch, torchvision, ONNX and NumPy (Debian: python3-torchvision python3-onnx); no weights
are fetched. Writes OUT/NAME.onnx (opset 17, dynamic batch), OUT/NAME.npz (x of (1, 3, side, side),
y the logits that PyTorch computes) and OUT/ops.txt (op types of every file in OUT). In evaluation
mode: GoogLeNet and Inception without their auxiliary outputs. 2.2 GB in all, 5 minutes. compare.ts
reads the folder.
"""
from __future__ import annotations

import argparse
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

NAMES = (
    'alexnet vgg11_bn vgg16 resnet18 resnet50 wide_resnet50_2 googlenet squeezenet1_0 '
    'squeezenet1_1 densenet121 inception_v3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large '
    'mnasnet0_5 resnext50_32x4d regnet_x_400mf regnet_y_400mf efficientnet_b0 efficientnet_v2_s '
    'shufflenet_v2_x1_0 convnext_tiny').split()
OPSET = 17
CALIBRATION = 8  # images that set the statistics


def build(name: str) -> nn.Module:
    options = {'init_weights': True} if name in ('googlenet', 'inception_v3') else {}
    net = getattr(torchvision.models, name)(weights=None, **options)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.1, 0.1)
        scale = getattr(module, 'layer_scale', None)
        if isinstance(scale, nn.Parameter):  # ConvNeXt starts it at 1e-6: no block would matter
            nn.init.uniform_(scale, 0.1, 0.4)
    return net


def pictures(count: int, side: int) -> torch.Tensor:
    """Noise of all scales, as photographs have: all images of white noise give one output."""
    sides = [2, 5, 12, 30, side]
    layers = [F.interpolate(torch.randn(count, 3, s, s), size=side, mode='bilinear') for s in sides]
    return torch.stack(layers).sum(0) / len(sides) ** 0.5


def calibrate(net: nn.Module, side: int) -> None:
    """Sets every normalisation off the identity.

    Running statistics come from the activations themselves, variances times 0.8 to 1.25 and means
    moved a little, so that nothing vanishes or explodes in a deep network; weight and bias are
    random.
    """
    norms = [m for m in net.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.6, 1.4)
        nn.init.uniform_(norm.bias, -0.3, 0.3)
    batch = [norm for norm in norms if isinstance(norm, nn.BatchNorm2d)]
    net.eval()
    for norm in batch:
        norm.train()  # dropout and stochastic depth stay off
        norm.momentum = 1.0
    with torch.no_grad():
        net(pictures(CALIBRATION, side))
        for norm in batch:
            mean, var = norm.running_mean, norm.running_var
            var.add_(1e-2).mul_(torch.empty_like(var).uniform_(0.8, 1.25))
            mean.add_(var.sqrt() * torch.empty_like(mean).uniform_(-0.2, 0.2))
    net.eval()


def export(name: str, out: Path) -> str:
    """Writes the files of one network; a line about its output."""
    torch.manual_seed(zlib.crc32(name.encode()))
    side = 299 if name == 'inception_v3' else 224
    net = build(name)
    calibrate(net, side)
    x = pictures(1, side)
    with torch.no_grad():
        y, other = net(x), net(pictures(1, side))
    file = out / f'{name}.onnx'
    axes = {'image': {0: 'N'}, 'logits': {0: 'N'}}
    torch.onnx.export(net, x, file, opset_version=OPSET, input_names=['image'],
                      output_names=['logits'], dynamic_axes=axes)
    np.savez(out / f'{name}.npz', x=x.numpy(), y=y.numpy())
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    return (f'{name}: {file.stat().st_size / 1e6:.0f} MB, {norms} BatchNorm, output {y.mean():.2f} '
            f'+- {y.std():.2f}, changes by {(other - y).std():.2f} with the image')


def op_types(out: Path) -> str:
    """One line a file: its op types with their numbers; then all of them."""
    lines, files = [], Counter()
    for path in sorted(out.glob('*.onnx')):
        graph = onnx.load(str(path), load_external_data=False).graph
        counts = Counter(node.op_type for node in graph.node)
        files.update(counts.keys())
        lines.append(f'{path.stem}: ' + ', '.join(f'{op} {n}' for op, n in counts.most_common()))
    total = ', '.join(f'{op} {n}' for op, n in files.most_common())
    return '\n'.join([*lines, '', f'files with each: {total}'])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path)
    parser.add_argument('names', nargs='*', metavar='NAME', help='default: all 22')
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        received = ', '.join(sorted(unknown))
        parser.error(f'Expected some of {", ".join(NAMES)} but received {received}.')
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or NAMES:
        print(export(name, options.out), flush=True)
    table = op_types(options.out)
    (options.out / 'ops.txt').write_text(table + '\n')
    print(table)


if __name__ == '__main__':
    main()
