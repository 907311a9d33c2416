"""The parts of the check: each method of Check named in PARTS returns a Section."""
from __future__ import annotations

import argparse
import datetime
import re
import subprocess
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np

from .apart import Died, each_apart, in_own_process
from .arithmetic import distinct
from .backend import PRECISIONS, BackendError, Device, Library
from .bars import LARGE_BATCH
from .build import BUILT_BEFORE, build, find_tool
from .cases import case, hopper_tiles, small_cases
from .kernels import KERNELS, PRODUCTS, ROOT
from .parity import CALL_SECONDS, Result, check_calls
from .program import Call
from .report import Row, Section
from .sanitizer import TOOLS, Sanitizer, small_shapes
from .setting import DEMO, SETTINGS, SMALL_VGG, TINY, VGG16, Setting
from .step import training_step
from .steps import time_setting
from .timing import Ceilings, Inputs, measure_ceilings, row_of, time_call
from .torch_state import torch_state
from .training import GOLDEN_TOLERANCE, golden_differences, training_runs

PARTS = ('build', 'parity', 'golden', 'training', 'sanitizer', 'kernels', 'steps')
LARGE = 40_000_000  # elements of a call beyond which it is not held against float64
LARGE_PRODUCT = 150_000_000  # the same for products
SAMPLE_MS = 6.0
PART_SECONDS = 300  # after which a part, or one setting's steps, counts as hung


def output_of(*command: str) -> str:
    """What a command prints, or nothing where it cannot run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True,
                              cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


class Check:
    """What the parts share. Those that use the device run in processes of their own."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rng = np.random.default_rng(args.seed)
        self.path: Path | None = None  # of a library that opens
        self.torch = ''  # the device on which PyTorch works
        self.sanitizers: list[Sanitizer] = []
        driver = output_of('nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader')
        self.facts: dict[str, object] = {
            'device': 'no device', 'isa': '', 'driver': driver.split('\n')[0] or 'none',
            'commit': args.commit or output_of('git', 'rev-parse', '--short', 'HEAD') or 'unknown',
            'date': datetime.date.today().isoformat(), 'seed': args.seed,
        }

    @property
    def emulated(self) -> bool:
        return self.args.emulate is not None

    @property
    def stem(self) -> str:
        """The device's name as a file name."""
        return re.sub(r'[^a-z0-9]+', '-', str(self.facts['device']).lower()).strip('-')

    @property
    def settings(self) -> tuple[Setting, ...]:
        return (TINY,) if self.emulated else SETTINGS

    @property
    def peer_device(self) -> str:
        """Where PyTorch is to run: beside ours, or nowhere."""
        wanted = 'cpu' if self.emulated else 'cuda'
        return wanted if self.torch in ('cuda', wanted) else ''

    @cached_property
    def devices(self) -> dict[str, Device]:
        """One for each precision, tf32 first: it runs what knows no precision."""
        library = Library(str(self.path))
        order = sorted(PRECISIONS, key=lambda precision: precision != 'tf32')
        return {precision: Device(library, precision) for precision in order}

    def wanted(self, call: Call) -> bool:
        """Whether --kernels asks for it."""
        return not self.args.kernels or call.kernel.name.startswith(self.args.kernels)

    def step_calls(self) -> list[tuple[Setting, Call, int]]:
        """Every different call of each setting's step, and how often it comes there."""
        return [(setting, call, count) for setting in self.settings
                for call, count in distinct(training_step(setting).program.calls)]

    def build(self) -> Section:
        """The library: given, or built; then opened."""
        folder = ROOT / 'build' / 'gpu-check'
        spills: dict[str, int] = {}
        nvcc, given = find_tool('nvcc'), self.args.emulate or self.args.library
        if not given and not nvcc and BUILT_BEFORE.exists():
            given = BUILT_BEFORE
        if given:
            path = given.resolve()
        elif nvcc:
            path, spills = build(nvcc, folder)
            self.facts['nvcc'] = output_of(nvcc, '--version').split('\n')[-1]
        else:
            return Section('build', False, 'nvcc was not found: give --library or --emulate')
        seen = _look(path)
        if isinstance(seen, str):
            return Section('build', False, seen)
        self.facts.update(seen)
        self.path = path
        if {'training', 'kernels', 'steps'} & set(self.args.only):
            self.torch, self.facts['torch'] = in_own_process(CALL_SECONDS)(torch_state)()
        if 'sanitizer' in self.args.only and not self.emulated:
            self._start_sanitizers(folder)
        rows: list[Row] = [{'kernel': name, 'spilled bytes': n} for name, n in spills.items()]
        built = f'{len(spills)} kernels spill' if spills else 'no spills'
        return Section('build', not any('conv' in name or 'gemm' in name for name in spills),
                       f'{path.name} on {self.facts["device"]}: '
                       f'{"built before" if given else built}', rows)

    def _start_sanitizers(self, folder: Path) -> None:
        """They need no processor core of their own and run beside the parts that do not time."""
        sanitizer = find_tool('compute-sanitizer')
        runner = small_shapes(folder) if sanitizer else None
        if sanitizer and runner and self.path:
            self.sanitizers = [Sanitizer.start(sanitizer, runner, folder, self.path, tool)
                               for tool in TOOLS]

    def close(self) -> None:
        """Ends what still runs."""
        for sanitizer in self.sanitizers:
            sanitizer.stop()

    def parity(self) -> Section:
        """Every kernel on edge shapes; on a GPU also on sizes that fill one, those of the steps."""
        calls, large = small_cases(), [*hopper_tiles()]  # the latter are at least put together
        if not self.emulated:
            calls += large
            calls += [call for _, call, _ in self.step_calls() if _affordable(call)]
        missing = set(KERNELS) - {call.kernel.name for call in calls}
        if missing:
            return Section('parity', False, f'no case for {", ".join(sorted(missing))}')
        results = check_calls(lambda: self.devices.values(), [*filter(self.wanted, calls)],
                              self.args.seed)
        return Section('parity', bool(results) and not any(r.wrong for r in results),
                       _count(results), _parity_rows(results))

    @in_own_process(PART_SECONDS)
    def golden(self) -> Section:
        """Three steps of each golden file in float32: losses, activations, gradients, weights."""
        files = sorted(self.args.golden.glob('*.json'))
        if not files:
            return Section('golden', None, f'no fixtures in {self.args.golden.name}')
        rows: list[Row] = []
        for path in files:
            found = list(golden_differences(self.devices['fp32'], path))
            worst = max(found, key=lambda d: float('inf') if d.error != d.error else d.error)
            rows.append({'file': path.name, 'tensors': len(found), 'worst': worst.name,
                         'step': worst.step, 'error': worst.error,
                         'wrong': sum(not d.error <= GOLDEN_TOLERANCE for d in found)})
        return Section('golden', not any(row['wrong'] for row in rows),
                       f'{sum(int(str(row["tensors"])) for row in rows)} tensors, largest error '
                       f'{max(float(str(row["error"])) for row in rows):.1e}', rows)

    @in_own_process(PART_SECONDS)
    def training(self) -> Section:
        """A run of many steps against float64, and the same bits twice."""
        exact = {precision: self.devices[precision] for precision in ('fp32', 'tf32')}
        by_torch = self.peer_device == 'cuda'
        if self.emulated:  # few maps: one near tie of two peaks would show
            plan, steps, rng = (TINY,), 5, np.random.default_rng(7)
        else:
            plan, steps, rng = (DEMO, SMALL_VGG) if by_torch else (DEMO,), 200, self.rng
        runs = [run for setting in plan
                for run in training_runs(exact, setting, self.args.steps or steps, rng, by_torch)]
        return Section('training', not any(run.wrong for run in runs),
                       f'{runs[0].steps} steps, losses against float64: '
                       f'{max(run.whole for run in runs):.1e} rms', [asdict(run) for run in runs])

    def sanitizer(self) -> Section:
        """compute-sanitizer on small shapes of every kernel."""
        if self.emulated:
            return Section('sanitizer', None, 'emulated: the tests run other sanitizers')
        if not self.sanitizers:
            return Section('sanitizer', None,
                           'compute-sanitizer was not found, or no g++ to build what it runs')
        found = [sanitizer.result() for sanitizer in self.sanitizers]
        return Section('sanitizer', all(clean for clean, _, _ in found),
                       '; '.join(said for _, said, _ in found),
                       [{'report': line} for _, _, report in found for line in report])

    def kernels(self) -> Section:
        """A table of every different call of the steps; products at bf16 too."""
        measured = self.peer_device == 'cuda'
        ceilings = in_own_process(PART_SECONDS)(measure_ceilings)() if measured else Ceilings()
        calls = [(s.name, call, count) for s, call, count in self.step_calls()]
        large = [(LARGE_BATCH, call, 1) for call in _large_batch()]
        calls += [] if self.emulated else large
        timed = [(call, precision, {'setting': name, 'calls': count})
                 for name, call, count in calls if self.wanted(call)
                 for precision in ('tf32', 'bf16')
                 if precision == 'tf32' or call.kernel.name in PRODUCTS]
        inputs = Inputs(self.rng)
        sample_ms = 0 if self.emulated else SAMPLE_MS
        rows, wrong = [], []
        for (call, precision, row), ms in each_apart(
                timed, lambda item: time_call(self.devices[item[1]], item[0], inputs, sample_ms),
                CALL_SECONDS):
            if isinstance(ms, Died):
                wrong.append(f'{call.kernel.name} at {precision}: {ms}')
            else:
                rows.append({**row, **row_of(call, precision, ms, ceilings)})
        said = (f'copy {ceilings.copy:.0f} GB/s, matmul tf32 {ceilings.tf32:.0f}, '
                f'bf16 {ceilings.bf16:.0f} TFLOP/s' if measured
                else 'no ceilings without PyTorch on a GPU')
        return Section('kernels', not wrong, '; '.join([*wrong, f'{len(rows)} calls', said]), rows)

    def steps(self) -> Section:
        """The whole step, ours against PyTorch."""
        rng = np.random.default_rng(7) if self.emulated else self.rng
        sampling = {'sample_ms': 0} if self.emulated else {}
        rows, wrong = [], []
        for setting, found in each_apart(
                self.settings, lambda setting: time_setting(
                    self.devices, setting, rng, peer_device=self.peer_device, **sampling),
                PART_SECONDS):
            if isinstance(found, Died):
                wrong.append(f'{setting.name}: {found}')
            else:
                rows.append(found[0])
                wrong += found[1]
        said = 'against PyTorch' if self.peer_device else 'ours alone: no PyTorch on a GPU'
        return Section('steps', not wrong, '; '.join(wrong) or f'{len(rows)} settings, {said}',
                       rows)


@in_own_process(CALL_SECONDS)
def _look(path: Path) -> dict[str, object] | str:
    """What the library says of its device, or why it cannot be used."""
    try:
        library = Library(str(path))
    except (OSError, BackendError) as error:
        return str(error)
    return {'device': library.device_name, 'isa': library.isa}


def _affordable(call: Call) -> bool:
    elements = sum(value.type.count for value in call.operands if value)
    return elements <= (LARGE_PRODUCT if call.kernel.name in PRODUCTS else LARGE)


def _large_batch() -> list[Call]:
    """The convolution that KERNELS.md sets a bar for: 512 channels, 128 images."""
    s = VGG16
    sizes = dict(N=128, C=s.C, H=s.n, W=s.n, O=s.D, R=3, S=3, P=s.n, Q=s.n)
    attrs = dict(stride_h=1, stride_w=1, pad_top=1, pad_left=1, dilation_h=1, dilation_w=1, relu=1,
                 activation=0, alpha=0, beta=0, rounded=1, round=0, peaks=0)
    return [case(f'conv2d_{which}', sizes, attrs=attrs)
            for which in ('forward', 'backward_data', 'backward_weight')]


def _count(results: list[Result]) -> str:
    failed = [r for r in results if r.wrong]
    names = ', '.join(dict.fromkeys(r.kernel for r in failed))
    kernels = len({r.kernel for r in results})
    return f'{len(results)} checks of {kernels} kernels' + (f', wrong: {names}' if failed else '')


def _parity_rows(results: list[Result]) -> list[Row]:
    """The largest error of each kernel at each precision, the first fault beside it."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for r in results:
        groups.setdefault((r.kernel, r.precision), []).append(r)
    rows: list[Row] = []
    for (kernel, precision), group in groups.items():
        wrong = next((f'{"; ".join(r.wrong)} at {r.case}' for r in group if r.wrong), '')
        rows.append({'kernel': kernel, 'precision': precision, 'cases': len(group),
                     'largest error': float(np.max([r.error for r in group])),  # NaN stays
                     'wrong': wrong})
    return sorted(rows, key=lambda row: not row['wrong'])
