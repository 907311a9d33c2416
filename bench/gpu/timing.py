"""Times of single kernels and of programs, by replaying recordings; what the card reaches.

A recording of many calls is replayed and waited for; the host's clock is good to some microseconds,
so that recordings last milliseconds. Operands rotate where they would stay in the cache.
"""
from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Callable, Mapping

import numpy as np

from .arithmetic import operand_bytes, operations
from .backend import Device, Machine
from .inputs import inputs_of
from .program import Call, Program, Value
from .report import Row

CACHE_BYTES = 160 << 20  # more than twice an H200's 60 MB
MOST_SETS = 32
LEAST_RECORDED = 16  # calls in one recording: replaying it costs the host less than the device
UNCOUNTED = 4
SAMPLES = 7


def milliseconds(wait: Callable[[], None], body: Callable[[], object], times: int = 1) -> float:
    """Mean time of `times` runs in a row, waited for at the end."""
    wait()
    start = time.perf_counter()
    for _ in range(times):
        body()
    wait()
    return (time.perf_counter() - start) * 1e3 / times


def alternate(wait: Callable[[], None], bodies: Mapping[str, Callable[[], object]], samples: int,
              sample_ms: float) -> dict[str, float]:
    """Median milliseconds of each body, sampled in turn so that drift meets all alike."""
    times = {}
    for name, body in bodies.items():
        milliseconds(wait, body)  # warm up
        once = milliseconds(wait, body, 2)
        times[name] = max(1, round(sample_ms / max(once, 1e-3)))
    found: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(samples):
        for name, body in bodies.items():
            found[name].append(milliseconds(wait, body, times[name]))
    return {name: statistics.median(values) for name, values in found.items()}


def copy_of(call: Call) -> Call:
    """The same call on values of its own."""
    known: dict[Value, Value] = {}

    def copied(value: Value | None) -> Value | None:
        if value is None:
            return None
        if value not in known:
            known[value] = Value(value.type, value.name)
            for name, of in zip(call.kernel.outputs, call.outputs):
                if of is value and name.endswith('_out'):
                    at = call.kernel.inputs.index(name[:-len('_out')])
                    known[value].storage = copied(call.inputs[at])
        return known[value]

    return Call(call.kernel, call.attrs, tuple(map(copied, call.inputs)),
                tuple(map(copied, call.outputs)))


@dataclass
class Inputs:
    """Inputs for timing: a stretch of random numbers, repeated; large tensors come at once."""

    rng: np.random.Generator
    stretch: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.stretch = self.rng.standard_normal((1 << 20) + 7, np.float32)

    def of(self, call: Call) -> dict[str, np.ndarray]:
        return inputs_of(call, self.rng, plain=lambda _, shape, *__: np.resize(self.stretch, shape))


def time_call(device: Device, call: Call, inputs: Inputs, sample_ms: float) -> float:
    """Milliseconds of one call: the median of samples of `sample_ms`, replays in a row.

    The first samples are not counted: the clock of an idle GPU rises while they run.
    """
    sets = max(1, min(MOST_SETS, math.ceil(CACHE_BYTES / max(operand_bytes(call), 1))))
    program = Program(calls=[copy_of(call) for _ in range(sets if sample_ms else 1)])
    values = inputs.of(call)
    with Machine(device, program) as machine:
        for each in program.calls:
            for name, value in zip(each.kernel.inputs, each.inputs):
                if value:
                    machine.write(value, values[name])
        machine.run()  # reserves scratch memory
        times = math.ceil(LEAST_RECORDED / len(program.calls)) if sample_ms else 1
        machine.record(times)
        milliseconds(device.synchronize, machine.replay)
        once = milliseconds(device.synchronize, machine.replay)
        replays = max(1, math.ceil(sample_ms / max(once, 1e-3)))
        found = [milliseconds(device.synchronize, machine.replay, replays)
                 for _ in range(UNCOUNTED + SAMPLES)]
    return statistics.median(found[UNCOUNTED:]) / (times * len(program.calls))


@dataclass(frozen=True)
class Ceilings:
    """What this card reaches today: NaN where PyTorch is not there to measure it."""

    copy: float = float('nan')  # GB/s, bytes read plus bytes written
    tf32: float = float('nan')  # TFLOP/s of an 8192 x 8192 x 8192 product
    bf16: float = float('nan')

    def product(self, precision: str) -> float:
        return self.bf16 if precision == 'bf16' else self.tf32


def measure_ceilings() -> Ceilings:
    """By PyTorch on random data."""
    import torch
    torch.set_float32_matmul_precision('high')  # tf32
    source = torch.randn(1 << 28, device='cuda')  # 1 GiB
    target = torch.empty_like(source)
    size = 8192
    a = torch.randn(size, size, device='cuda')
    half = a.bfloat16()
    bodies: dict[str, Callable[[], object]] = {
        'copy': lambda: target.copy_(source), 'tf32': lambda: a @ a, 'bf16': lambda: half @ half}
    found = alternate(torch.cuda.synchronize, bodies, SAMPLES, 20)
    work = 2 * size ** 3
    return Ceilings(2 * 4 * source.numel() / found['copy'] / 1e6, work / found['tf32'] / 1e9,
                    work / found['bf16'] / 1e9)


def row_of(call: Call, precision: str, ms: float, ceilings: Ceilings) -> Row:
    """One line of the kernel table."""
    work = operations(call)
    every = [v.type.shape for v in call.operands if v]
    matrices = [shape for shape in every if len(shape) > 1]
    shapes = ' '.join('x'.join(map(str, shape)) or '()' for shape in matrices[:3] or every[:2])
    return {'kernel': call.kernel.name, 'precision': precision, 'shapes': shapes, 'ms': ms,
            'TFLOP/s': work / ms / 1e9 if work else float('nan'),
            'MB': operand_bytes(call) / 1e6, 'GB/s': operand_bytes(call) / ms / 1e6,
            'of product': operations(call) / ms / 1e9 / ceilings.product(precision) or float('nan'),
            'of copy': operand_bytes(call) / ms / 1e6 / ceilings.copy}
