"""PyTorch's side of `npm run bench -- train`: serves timed training steps, one line in, one line out.

    python3 bench/peers/torch_train.py --setting demo --threads 2 [--tensors FILE]

Without --tensors (weights, features, targets as safetensors) the peak memory of a few steps is printed. Else stdin takes
  start VARIANT        a new network of that variant
  step COUNT           steps; milliseconds and CPU milliseconds of one, losses of the last
  layer VARIANT COUNT  the second convolution alone, forward and both gradients; the same times
  compare FILE         gradients of the last step against those in the file: |a - b| / |b| by name
and each answer is one line of JSON.
"""
from __future__ import annotations

import argparse
import json
import struct
import sys
import time
from pathlib import Path
from typing import Callable, TypeVar

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from gpu.setting import SETTINGS, TINY, Arrays, Setting  # noqa: E402
from peers.torch_step import TorchStep  # noqa: E402

MEMORY_STEPS = 3
WARM_UP_STEPS = 100


def read_safetensors(path: str) -> Arrays:
    raw = np.memmap(path, np.uint8, 'r')
    size = struct.unpack('<Q', raw[:8].tobytes())[0]
    header = json.loads(raw[8:8 + size].tobytes())
    found = {}
    for name, entry in header.items():
        if name != '__metadata__':
            begin, end = (8 + size + at for at in entry['data_offsets'])
            found[name] = raw[begin:end].view(np.float32).reshape(entry['shape'])
    return found


def memory_bytes(field: str) -> int:
    """VmHWM, the peak, or VmRSS of this process."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines()
                if line.startswith(field))
    return int(line.split()[1]) * 1024


def blas() -> str:
    """The library behind matrix products, as the loader resolved it."""
    mapped = {Path(line.split()[-1]).name for line in Path('/proc/self/maps').read_text().splitlines()
              if 'blas' in line and '.so' in line}
    return ', '.join(sorted(mapped)) or 'built in'


Result = TypeVar('Result')


def timed(count: int, body: Callable[[], Result]) -> tuple[dict, Result]:
    """Milliseconds and CPU milliseconds of one of `count` runs; what the last one gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        found = body()
    cpu_ms, ms = (1e3 * (end - begin) / count
                  for end, begin in ((time.process_time(), cpu), (time.perf_counter(), wall)))
    return {'ms': ms, 'cpuMs': cpu_ms}, found


class Server:
    """The peer of one setting, in the variant started last."""

    def __init__(self, setting: Setting, tensors: Arrays) -> None:
        self.setting = setting
        self.weights = {name: tensors[name] for name in setting.shapes()}
        wrong = [name for name, shape in setting.shapes().items() if tensors[name].shape != shape]
        if wrong:
            raise ValueError(f'{wrong[0]} has shape {tensors[wrong[0]].shape}')
        self.features = tensors['features']
        self.targets = [tensors[f'target_{l}'] for l in range(1, len(setting.targets) + 1)]
        self.peers: dict[str, TorchStep] = {}
        self.peer: TorchStep | None = None
        self.layers: dict[str, list[torch.Tensor]] = {}

    def start(self, variant: str) -> dict:
        if variant not in self.peers:
            self.peers[variant] = TorchStep(self.setting, self.weights, variant=variant)
            self.peers[variant].load(self.features, self.targets)
        self.peer = self.peers[variant]
        return {'torch': torch.__version__, 'blas': blas(), 'threads': torch.get_num_threads()}

    def step(self, count: str) -> dict:
        def body() -> dict:
            assert self.peer
            self.peer.step()
            return self.peer.read()
        times, losses = timed(int(count), body)
        return {**times, 'losses': losses}

    def layer(self, argument: str) -> dict:
        variant, count = argument.split(' ')
        if variant not in self.layers:
            s = self.setting
            form = torch.channels_last if variant == 'channels_last' else torch.contiguous_format
            shapes = (s.B, s.C, s.n, s.n), (s.D, s.C, 3, 3), (s.B, s.D, s.n, s.n)
            self.layers[variant] = [torch.randn(shape).contiguous(memory_format=form)
                                    for shape in shapes]
        x, w, g = self.layers[variant]

        def body() -> None:
            torch.nn.functional.conv2d(x, w, None, 1, 1)
            torch.ops.aten.convolution_backward(g, x, w, None, [1, 1], [1, 1], [1, 1], False,
                                                [0, 0], 1, [True, True, False])
        return timed(int(count), body)[0]

    def compare(self, path: str) -> dict:
        assert self.peer
        found = {}
        for name, theirs in read_safetensors(path).items():
            ours = self.peer.w[name].grad
            assert ours is not None
            wanted = torch.tensor(theirs)
            norm = max(float(wanted.norm()), 1e-30)
            found[name] = float((ours.contiguous().view(wanted.shape) - wanted).norm()) / norm
        return found


def train(setting: Setting, batch: tuple[np.ndarray, list[np.ndarray]], steps: int) -> TorchStep:
    peer = TorchStep(setting, {name: np.zeros(shape, np.float32)
                               for name, shape in setting.shapes().items()})
    peer.load(*batch)
    for _ in range(steps):
        peer.step()
        peer.read()
    return peer


def batch_of(setting: Setting) -> tuple[np.ndarray, list[np.ndarray]]:
    return (np.ones((setting.B, setting.C, setting.n, setting.n), np.float32),
            [np.ones((setting.B, size), np.float32) for size in setting.targets])


def peak_memory(setting: Setting) -> dict:
    """Bytes that a network in training adds, at its peak, to a process that holds the batch and has
    trained a small network: the rule of bench/train/memory.ts."""
    train(TINY, batch_of(TINY), WARM_UP_STEPS)
    batch = batch_of(setting)
    Path('/proc/self/clear_refs').write_text('5')  # VmHWM is the peak since now
    before = memory_bytes('VmRSS')
    peer = train(setting, batch, MEMORY_STEPS)
    peak = memory_bytes('VmHWM')
    del peer
    return {'peakBytes': peak - before, 'processBytes': peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = {setting.name: setting for setting in (*SETTINGS, TINY)}
    parser.add_argument('--setting', choices=settings, required=True)
    parser.add_argument('--threads', type=int, required=True)
    parser.add_argument('--tensors')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    setting = settings[args.setting]
    if not args.tensors:
        print(json.dumps(peak_memory(setting)))
        return
    server = Server(setting, read_safetensors(args.tensors))
    for line in sys.stdin:
        name, argument = line.strip().split(' ', 1)
        commands = {'start': server.start, 'step': server.step, 'layer': server.layer,
                    'compare': server.compare}
        print(json.dumps(commands[name](argument)), flush=True)


if __name__ == '__main__':
    main()
