"""The parts of the check: each returns a Section."""
from __future__ import annotations

import argparse
import datetime
import re
import subprocess
from functools import cached_property
from pathlib import Path

import numpy as np

from .backend import PRECISIONS, BackendError, Device, Library
from .build import build, find_nvcc
from .cases import hopper_tiles, small_cases
from .kernels import KERNELS, ROOT
from .parity import Result, check_calls
from .program import Call
from .report import Section

PARTS = ('build', 'parity')


def output_of(*command: str) -> str:
    """What a command prints, or nothing where it cannot run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True,
                              cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


class Check:
    """The state that the parts share: library, devices, random numbers."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rng = np.random.default_rng(args.seed)
        self.library: Library | None = None
        self.path: Path | None = None
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

    @cached_property
    def devices(self) -> dict[str, Device]:
        """One for each precision, tf32 first: it runs what knows no precision."""
        assert self.library
        order = sorted(PRECISIONS, key=lambda precision: precision != 'tf32')
        return {precision: Device(self.library, precision) for precision in order}

    def wanted(self, calls: list[Call]) -> list[Call]:
        """Those that --kernels asks for."""
        chosen = self.args.kernels
        return [call for call in calls if not chosen or call.kernel.name.startswith(chosen)]

    def build(self) -> Section:
        """The library: given, or built; then opened."""
        nvcc, spills = find_nvcc(), {}
        self.path = self.args.emulate or self.args.library
        if not self.path:
            if not nvcc:
                return Section('build', False, 'nvcc was not found: give --library or --emulate')
            self.path, spills = build(nvcc, ROOT / 'build' / 'gpu-check')
        try:
            self.library = Library(str(self.path.resolve()))
        except (OSError, BackendError) as error:
            return Section('build', False, str(error))
        self.facts.update(device=self.library.device_name, isa=self.library.isa)
        rows = [{'kernel': name, 'spilled bytes': size} for name, size in spills.items()]
        what = f'{len(spills)} kernels spill' if spills else 'no spills'
        built = what if not (self.args.emulate or self.args.library) else 'given'
        return Section('build', not any('conv' in name or 'gemm' in name for name in spills),
                       f'{self.path.name} on {self.library.device_name}: {built}', rows)

    def parity(self) -> Section:
        """Every kernel on edge shapes; on a GPU also on sizes that fill one."""
        calls = small_cases() + ([] if self.emulated else list(hopper_tiles()))
        if not self.args.kernels:
            missing = set(KERNELS) - {call.kernel.name for call in calls}
            if missing:
                return Section('parity', False, f'no case for {", ".join(sorted(missing))}')
        results = list(check_calls(self.devices.values(), self.wanted(calls), self.rng))
        return Section('parity', bool(results) and not any(r.wrong for r in results),
                       _count(results), _parity_rows(results))


def _count(results: list[Result]) -> str:
    failed = [r for r in results if r.wrong]
    names = ', '.join(dict.fromkeys(r.kernel for r in failed))
    kernels = len({r.kernel for r in results})
    return f'{len(results)} checks of {kernels} kernels' + (f', wrong: {names}' if failed else '')


def _parity_rows(results: list[Result]) -> list[dict[str, object]]:
    """What failed, then the largest error of each kernel at each precision."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for r in results:
        row = rows.setdefault((r.kernel, r.precision),
                              {'kernel': r.kernel, 'precision': r.precision, 'cases': 0,
                               'largest error': 0.0, 'wrong': ''})
        row['cases'] = int(str(row['cases'])) + 1
        row['largest error'] = float(np.maximum(row['largest error'], r.error))  # NaN stays
        if r.wrong and not row['wrong']:
            row['wrong'] = f'{"; ".join(r.wrong)} at {r.case}'
    return sorted(rows.values(), key=lambda row: not row['wrong'])
