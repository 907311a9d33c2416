#!/usr/bin/env python3
"""Trains a small performer on photographs and exports it: NAME.onnx, NAME.json, NAME_split.csv.

    python3 bench/performers/train.py --kind residual --data ../shared/data/animal-part \\
        --split ../shared/models/vgg_animals_split.csv --out models/residual_animals
    python3 bench/performers/train.py --kind mobilenet ... --out models/mobile_animals

Needs PyTorch, ONNX, Pillow and NumPy (Debian: python3-torch python3-onnx python3-pil). One thread;
half an hour by default. PyTorch on the CPU is several times faster on such small tensors if freed
memory stays in the process:

    export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 MALLOC_ARENA_MAX=1

The classes are the named rows of categories.csv that have a wnid: `background` is none, since its
windows come from the photographs of the ten animals. The order of batches, the augmentation and the
initial weights follow from --seed, but the schedule follows the clock (60 % of the time on small
pictures, 40 % on those of --size), so weights differ between machines. The clock is the processor
time of this process, so that others on the machine do not cost accuracy, and training ends after
2.5 times as many minutes in any case.

Debian's PyTorch 1.13 has only the older of PyTorch's two ONNX exporters (TorchScript), so that is
what writes the file. Beside it lies NAME.npz, photographs kept out and their logits by PyTorch:
compare.ts reads the folder.
"""
from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from networks import KINDS

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 32
SMALL = 64  # side of the pictures in the first phase, pixels
SMALL_SHARE = 0.6  # of the time
RATE, WARM_UP, DECAY = 2e-3, 0.03, 0.05
SMOOTHING = 0.1
PATIENCE = 2.5  # minutes on the clock a minute of processor time, at most


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kind', choices=list(KINDS), required=True)
    parser.add_argument('--data', type=Path, required=True, help='has categories.csv and images/')
    parser.add_argument('--out', type=Path, required=True, help='path of the model without .onnx')
    parser.add_argument('--split', type=Path,
                        help='CSV (image, category, set, split) to follow; only rows of set '
                             '`shared` count. Default: a fifth by a hash of the file name')
    parser.add_argument('--size', type=int, default=112, help='pixels')
    parser.add_argument('--minutes', type=float, default=30, help='of processor time')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--opset', type=int, default=17)
    return parser.parse_args()


def read_split(data: Path, given: Path | None) -> tuple[list[str], list[dict[str, str]]]:
    """The classes, and one row (image, category, set, split) a photograph."""
    with open(data / 'categories.csv', newline='') as file:
        classes = [row['name'] for row in csv.DictReader(file) if row['wnid']]
    names = [f'images/{category}/{path.name}' for category in classes
             for path in sorted((data / 'images' / category).iterdir())]
    if given:
        with open(given, newline='') as file:
            sides = {row['image']: row['split'] for row in csv.DictReader(file)
                     if row['set'] == 'shared'}
    else:
        sides = {name: 'val' if hashlib.sha256(name.encode()).digest()[0] < 51 else 'train'
                 for name in names}
    return classes, [{'image': name, 'category': name.split('/')[1], 'set': 'shared',
                      'split': sides[name]} for name in names]


def read_images(data: Path, rows: list[dict[str, str]], side: int) -> torch.Tensor:
    """Bytes (N, 3, side, side)."""
    images = np.empty((len(rows), side, side, 3), np.uint8)
    for i, row in enumerate(rows):
        picture = Image.open(data / row['image']).convert('RGB')
        images[i] = picture.resize((side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Bytes of another side, by averaging."""
    parts = [F.interpolate(part.float(), size=side, mode='area').round().byte()
             for part in images.split(256)]
    return torch.cat(parts)


def halved(images: torch.Tensor) -> torch.Tensor:
    """The mean of each 2 x 2 block as a whole number, as the sidecar's `supersample: 2` has it."""
    return torch.floor(F.avg_pool2d(images.float(), 2) + 0.5)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Numbers of 0 to 255 -> the network's input."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images / 255 - mean) / std


def augmented(images: torch.Tensor, side: int, random: torch.Generator) -> torch.Tensor:
    """Random crops (30 to 100 % of the area), flips, brightness, contrast, saturation, by image."""
    N = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(N, generator=random) * (high - low) + low

    area, ratio = uniform(0.3, 1).sqrt(), (uniform(-1, 1) * math.log(4 / 3) / 2).exp()
    width, height = (area * ratio).clamp(max=1), (area / ratio).clamp(max=1)
    flip = torch.sign(uniform(-1, 1) + 1e-9)
    place = torch.zeros(N, 2, 3)
    place[:, 0, 0], place[:, 1, 1] = width * flip, height
    place[:, 0, 2], place[:, 1, 2] = (1 - width) * uniform(-1, 1), (1 - height) * uniform(-1, 1)
    grid = F.affine_grid(place, [N, 3, side, side], align_corners=False)
    x = F.grid_sample(images.float(), grid, padding_mode='reflection', align_corners=False)
    factor = [uniform(0.65, 1.35).view(N, 1, 1, 1) for _ in range(3)]
    x = x * factor[0]
    x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, factor[1])
    return torch.lerp(x.mean(1, keepdim=True), x, factor[2]).clamp(0, 255)


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    net.eval()
    with torch.no_grad():
        guesses = [net(normalised(halved(part))).argmax(1) for part in images.split(64)]
    net.train()
    return (torch.cat(guesses) == labels).float().mean().item()


def groups(net: nn.Module) -> list[dict[str, object]]:
    """Weight decay for matrices and filters alone."""
    weights = list(net.parameters())
    return [{'params': [w for w in weights if w.ndim > 1], 'weight_decay': DECAY},
            {'params': [w for w in weights if w.ndim <= 1], 'weight_decay': 0.0}]


def train(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, size: int, minutes: float,
          random: torch.Generator) -> int:
    """Trains until the time is over; the number of epochs begun."""
    optimizer = torch.optim.AdamW(groups(net), lr=RATE)
    bases = {side: resized(images, side * 5 // 4) for side in (SMALL, size)}
    clocks, epoch, done = (time.process_time(), time.monotonic()), 0, 0.0
    while done < 1:
        total, order = 0.0, torch.randperm(len(labels), generator=random)
        for rows in order.split(BATCH):
            used = time.process_time() - clocks[0], (time.monotonic() - clocks[1]) / PATIENCE
            done = max(used) / 60 / minutes
            if done >= 1 or len(rows) < BATCH:
                break
            side = SMALL if done < SMALL_SHARE else size
            for group in optimizer.param_groups:
                group['lr'] = RATE * min(done / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * done))
            x = normalised(augmented(bases[side][rows], side, random))
            x = x.contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(net(x), labels[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item() / (len(labels) // BATCH)
        epoch += 1
        share = f'{100 * done:.0f} % of the time'
        print(f'epoch {epoch} at {side}: loss {total:.3f}, {share}', flush=True)
    return epoch


def export(net: nn.Module, path: Path, size: int, opset: int) -> None:
    axes = {'image': {0: 'N'}, 'logits': {0: 'N'}}
    torch.onnx.export(net, torch.zeros(1, 3, size, size), path, opset_version=opset,
                      input_names=['image'], output_names=['logits'], dynamic_axes=axes)


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, ['image', 'category', 'set', 'split'], lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    options = parse()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(options.seed)
    classes, rows = read_split(options.data, options.split)
    images = read_images(options.data, rows, 2 * options.size)
    labels = torch.tensor([classes.index(row['category']) for row in rows])
    held_out = torch.tensor([row['split'] == 'val' for row in rows])
    net = KINDS[options.kind](len(classes)).to(memory_format=torch.channels_last)
    print(f'{options.kind}: {sum(w.numel() for w in net.parameters())} weights; '
          f'{int((~held_out).sum())} photographs, {int(held_out.sum())} kept out', flush=True)
    start = time.process_time()
    epochs = train(net, images[~held_out], labels[~held_out], options.size, options.minutes,
                   random)
    minutes = (time.process_time() - start) / 60
    shares = {side: accuracy(net, images[mask], labels[mask])
              for side, mask in (('train', ~held_out), ('val', held_out))}
    print(f'{epochs} epochs in {minutes:.1f} minutes; accuracy: train {shares["train"]:.4f}, '
          f'validation {shares["val"]:.4f}')

    out = {end: options.out.with_name(options.out.name + end)
           for end in ('.onnx', '.json', '.npz', '_split.csv')}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    net = net.to(memory_format=torch.contiguous_format).eval()
    export(net, out['.onnx'], options.size, options.opset)
    sidecar = {'size': options.size, 'supersample': 2, 'mean': MEAN, 'std': STD, 'channels': 'RGB',
               'scale': 1 / 255, 'classes': classes}
    out['.json'].write_text(json.dumps(sidecar, indent=1) + '\n')
    write_csv(out['_split.csv'], rows)
    x = normalised(halved(images[held_out][:8]))
    with torch.no_grad():
        np.savez(out['.npz'], x=x.numpy(), y=net(x).numpy())
    print(f'wrote {", ".join(map(str, out.values()))}')


if __name__ == '__main__':
    main()
