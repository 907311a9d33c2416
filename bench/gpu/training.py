"""Whole steps: golden fixtures, and training runs held against a float64 run of the same step."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Protocol

import numpy as np

from .backend import Device, Machine
from .program import Value
from .reference import ReferenceMachine
from .setting import Arrays, Batches, Setting, initial_weights
from .step import Step, training_step

GOLDEN_TOLERANCE = 1e-4  # fp32 against float64
# Losses against float64, relative. Training is chaotic: initial weights that differ by 1e-7 change
# losses of the small VGG by 5e-4 within 10 steps and by 5e-3 rms within 120, and the weights of the
# balance by more; those are not held. Long runs are held against one in float64 whose weights are
# shaken by what tf32 rounds.
FIRST_STEPS = 10
FIRST = {'fp32': 3e-3, 'tf32': 1e-2, 'bf16': 5e-2}
WHOLE = {'fp32': 1e-2, 'tf32': 2e-2, 'bf16': 1e-1}  # root mean square over the run
SHAKEN = 2 ** -11
OF_SHAKEN = 4  # so many times the shaken run's difference is allowed where that is more
BATCHES = 8  # that take turns


class Runs(Protocol):
    """backend.Machine or reference.ReferenceMachine."""

    def write(self, value: Value, array: np.ndarray) -> None: ...
    def read(self, value: Value) -> np.ndarray: ...
    def run(self) -> None: ...


def write_all(machine: Runs, step: Step, values: Arrays) -> None:
    for name, array in values.items():
        machine.write(step.program.leaves[name], array)


def run_recorded(machine: Machine) -> None:
    """As native/session.cpp: the first run calls the kernels, the second records, all replay."""
    if machine.runs == 0:
        machine.run()
    else:
        if machine.runs == 1:
            machine.record()
        machine.replay()
    machine.runs += 1


@dataclass(frozen=True)
class Difference:
    """One compared tensor: max |found - wanted| / max |wanted|."""

    step: int
    name: str
    error: float


def _setting_of(config: dict) -> Setting:
    adam = config['optimizer'] == 'adam'
    return Setting(
        'golden', config['B'], config['C'], config['n'], config['D'], tuple(config['targets']),
        config['optimizer'], config['pool'], config['k'], config['beta'], config['momentum'],
        config['floor'], eta=config['eta'], lambda_rec=tuple(config['lambda_rec']),
        target_power=tuple(config['target_power']), peak_scale=False, tau=config['tau'],
        alpha=config['alpha'], lambda_filter=config['lambda_filter'], lr=config['lr'],
        lr_scale_p=1, lr_scale_decoder=1, beta1=config['beta1'], beta2=config['beta2'],
        eps=config['eps'], sgd_momentum=config['sgd_momentum'],
        weight_decay=0 if adam else config['weight_decay'])


def golden_differences(device: Device, path: Path) -> Iterator[Difference]:
    """Runs every step of a golden file; compares all that it states."""
    golden = json.loads(path.read_text())
    setting = _setting_of(golden['config'])
    step = training_step(setting, traced=True)
    shapes = setting.shapes()
    with Machine(device, step.program) as machine:
        start = {name: np.reshape(golden['initial'][name], shape)
                 for name, shape in shapes.items()}
        write_all(machine, step, step.start(start))
        for index, wanted in enumerate(golden['steps']):
            targets = [np.array(target) for target in wanted['targets']]
            write_all(machine, step, step.inputs(np.array(wanted['features']), targets, index))
            run_recorded(machine)
            for name, values in _stated(wanted, setting):
                leaf = step.program.leaves.get(name)
                found = machine.read(leaf or step.outputs[name]).reshape(-1)
                yield Difference(index, name, _largest(found, np.array(values).reshape(-1)))


def _stated(wanted: dict, setting: Setting) -> Iterator[tuple[str, object]]:
    """Names of the step's values with what the file says of them."""
    for name in ('contribution', 'p', 'a1', 'm2', 'x_enc', 'mu1', 'mu2'):
        yield name, wanted[name]
    for l, values in enumerate(wanted['filter'], 1):
        yield f'filter_{l}', values / setting.lambda_filter
    for stem in ('rec', 'h'):
        for l, values in enumerate(wanted[stem], 1):
            yield f'{stem}_{l}', values
    yield from wanted['alpha'].items()
    for name in setting.shapes():
        yield f'grad {name}', wanted['grad'][name]
        yield name, wanted['after'][name]


def _largest(found: np.ndarray, wanted: np.ndarray) -> float:
    off = np.abs(found - wanted).max()
    return float(off / max(np.abs(wanted).max(), 1e-30)) if off != 0 else 0.0


Batch = tuple[np.ndarray, list[np.ndarray]]
Losses = list[dict[str, float]]


def losses_of(machine: Runs, step: Step) -> dict[str, float]:
    """The scalars of the last step by name: rec, contribution, filter, lambda, p."""
    return {name: float(machine.read(value)) for name, value in step.outputs.items()
            if value.type.shape == () and not name.startswith('grad')}


def train(machine: Runs, step: Step, weights: Arrays, batches: list[Batch], steps: int) -> Losses:
    """Losses of each step of a new run; on a device recorded and replayed."""
    write_all(machine, step, step.start(weights))
    found = []
    for index in range(steps):
        write_all(machine, step, step.inputs(*batches[index % len(batches)], index))
        if isinstance(machine, Machine):
            run_recorded(machine)
        else:
            machine.run()
        found.append(losses_of(machine, step))
    return found


def train_torch(setting: Setting, weights: Arrays, batches: list[Batch], steps: int) -> Losses:
    """The same run by PyTorch in float64 on the GPU: an independent program of the same method."""
    import torch
    from peers.torch_step import TorchStep
    peer = TorchStep(setting, weights, device='cuda', dtype=torch.float64)
    found = []
    for index in range(steps):
        peer.load(*batches[index % len(batches)])
        peer.step()
        found.append(peer.read())
    return found


@dataclass(frozen=True)
class Run:
    """A training run against its reference."""

    setting: str
    precision: str
    steps: int
    first: float  # largest difference of a loss in the first steps
    whole: float  # root mean square over the run
    shaken: float  # the same of the shaken run
    last: float  # sum of the losses of the last step
    wrong: str


def differences(found: Losses, wanted: Losses) -> tuple[float, float]:
    """Relative: the largest of the first steps, and the root mean square over the run."""
    names = [name for name in wanted[0] if not name.startswith('lambda')]
    off = np.array([[abs(f[name] - w[name]) / max(abs(w[name]), 1e-6) for name in names]
                    for f, w in zip(found, wanted)])
    return float(off[:FIRST_STEPS].max()), float(np.sqrt((off ** 2).mean()))


def compare_runs(setting: Setting, precision: str, found: Losses, wanted: Losses,
                 shaken: float) -> Run:
    first, whole = differences(found, wanted)
    allowed = max(WHOLE[precision], OF_SHAKEN * shaken)
    wrong = '' if first <= FIRST[precision] and whole <= allowed else 'losses differ'
    last = sum(value for name, value in found[-1].items() if name.startswith(('rec', 'contr')))
    return Run(setting.name, precision, len(found), first, whole, shaken, last, wrong)


def training_runs(devices: dict[str, Device], setting: Setting, steps: int,
                  rng: np.random.Generator, by_torch: bool) -> Iterator[Run]:
    """The setting's run at each precision given, against float64 by PyTorch on the GPU or by NumPy;
    then the first steps again.
    """
    weights, source = initial_weights(setting, rng), Batches(setting, rng)
    batches = [source.draw() for _ in range(min(BATCHES, steps))]
    if by_torch:
        wanted = train_torch(setting, weights, batches, steps)
        other = {name: w * (1 + SHAKEN * rng.standard_normal(w.shape))
                 for name, w in weights.items()}
        _, shaken = differences(train_torch(setting, other, batches, steps), wanted)
    else:
        shaken = 0  # the demo setting needs no more than WHOLE
        step = training_step(setting)
        wanted = train(ReferenceMachine(step.program), step, weights, batches, steps)
    step = training_step(setting)
    for precision, device in devices.items():
        with Machine(device, step.program) as machine:
            found = train(machine, step, weights, batches, steps)
        yield compare_runs(setting, precision, found, wanted, shaken)
        if _bits(device, step, weights, batches) != _bits(device, step, weights, batches):
            yield Run(setting.name, precision, FIRST_STEPS, 0, 0, 0, 0, 'two runs differ in bits')


def _bits(device: Device, step: Step, weights: Arrays, batches: list[Batch]) -> list[bytes]:
    """Every weight and state after a few steps."""
    with Machine(device, step.program) as machine:
        train(machine, step, weights, batches, FIRST_STEPS)
        return [machine.read(value).tobytes() for value in step.program.leaves.values()]
