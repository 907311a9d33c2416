"""The whole training step, ours against PyTorch in one process, alternating."""
from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Callable

import numpy as np

from .backend import Device, Machine
from .report import Row
from .setting import Arrays, Batches, Setting, initial_weights
from .step import training_step
from .timing import alternate
from .training import Batch, losses_of, write_all

WARM_UP = 3  # steps of a peer before it is recorded; then one more, whose losses must agree
# Relative difference of the losses of that step: both sides round their products.
AGREE = {'tf32': 5e-3, 'bf16': 5e-2}
PEERS = {'eager': 'tf32', 'tuned': 'tf32', 'tuned_bf16': 'bf16'}  # precision of each variant
SAMPLES = 9
SAMPLE_MS = 60


def ready_machine(device: Device, setting: Setting, weights: Arrays, batch: Batch,
                  stack: ExitStack) -> tuple[Machine, dict[str, float]]:
    """Ours after the same number of steps on one batch, recorded; and its losses."""
    step = training_step(setting)
    machine = stack.enter_context(Machine(device, step.program))
    write_all(machine, step, step.start(weights))
    for index in range(WARM_UP + 1):
        write_all(machine, step, step.inputs(*batch, index))
        if index == 0:
            machine.run()
            machine.record()
        else:
            machine.replay()
    return machine, losses_of(machine, step)


def disagreement(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """Largest relative difference of a loss; NaN if one is not finite."""
    off = [abs(ours[name] - value) / max(abs(value), 1e-6) for name, value in theirs.items()
           if not name.startswith('lambda')]
    return max(off) if all(map(math.isfinite, off)) else math.nan


def time_setting(devices: dict[str, Device], setting: Setting, rng: np.random.Generator, *,
                 peer_device: str, sample_ms: float = SAMPLE_MS) -> tuple[Row, list[str]]:
    """One row of medians and ratios, and what went wrong. peer_device empty: ours alone."""
    weights, batch = initial_weights(setting, rng), Batches(setting, rng).draw()
    wrong: list[str] = []
    row: Row = {'setting': setting.name, 'B': setting.B, 'optimizer': setting.optimizer}
    with ExitStack() as stack:
        machines, losses = {}, {}
        for precision in ('tf32', 'bf16'):
            machines[precision], losses[precision] = ready_machine(
                devices[precision], setting, weights, batch, stack)
        bodies: dict[str, Callable[[], None]] = {f'ours {precision}': machine.replay
                                                 for precision, machine in machines.items()}
        wait_peers: Callable[[], None] = lambda: None
        if peer_device:
            peers, wait_peers = _peers(setting, weights, batch, losses, peer_device, row, wrong)
            bodies.update(peers)
        found = alternate(_all(devices, wait_peers), bodies, SAMPLES if sample_ms else 1, sample_ms)
    row.update({f'{name} ms': ms for name, ms in found.items()})
    for name, precision in PEERS.items():
        if f'torch {name}' in found:
            ours = found[f'ours {precision}']
            row[f'{name} / ours {precision}'] = found[f'torch {name}'] / ours
    return row, wrong


def _all(devices: dict[str, Device], wait_peers: Callable[[], None]) -> Callable[[], None]:
    def wait() -> None:
        for device in devices.values():
            device.synchronize()
        wait_peers()
    return wait


def _peers(setting: Setting, weights: Arrays, batch: Batch, losses: dict[str, dict[str, float]],
           device: str, row: Row, wrong: list[str]):
    """Each variant that runs here, warmed up and compared with ours; and how to wait for them."""
    import torch
    from peers.torch_step import TorchStep
    torch.set_float32_matmul_precision('high')  # tf32, as convolutions are by default
    torch.backends.cudnn.benchmark = True
    found: dict[str, Callable[[], None]] = {}
    for name, precision in PEERS.items():
        if device == 'cpu' and name != 'eager':
            continue
        try:
            peer = TorchStep(setting, weights, device=device, variant=name)
            peer.load(*batch)
            peer.capture(WARM_UP)
            peer.step()
            off = disagreement(losses[precision], peer.read())
        except Exception as error:  # a peer that cannot run here leaves the others to be measured
            row[f'torch {name}'] = f'{type(error).__name__}: {str(error).splitlines()[0][:80]}'
            continue
        row[f'off {name}'] = off
        if not off <= AGREE[precision]:
            wrong.append(f'{setting.name}: losses differ from torch {name} by {off:.1e}')
        found[f'torch {name}'] = peer.step
    return found, (torch.cuda.synchronize if device == 'cuda' else lambda: None)
