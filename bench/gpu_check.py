#!/usr/bin/env python3
"""Proves and measures the CUDA backend on the GPU of this machine: one command, under 8 minutes.

    python3 bench/gpu_check.py [--library LIB]     builds with nvcc unless a library is given; where
                                                   there is no nvcc, takes that of build/cuda
    python3 bench/gpu_check.py --emulate LIB       no GPU, a library of test/cuda/emulator: small
                                                   sizes, times mean nothing; proves this program
    npm run gpu-check                              the first form

Parts (--only takes a list of them): build, parity of every kernel against float64, the golden
fixtures, training runs, compute-sanitizer, a table of all kernels, whole training steps against
PyTorch. Needs python3 with numpy; what needs PyTorch or the sanitizer is skipped with a reason
where these are missing. Writes bench/results/<device>.json and .md, and the same to $OUT if it is
set. The exit code is 0 if nothing failed; a bar that is missed is a line of the report.
"""
from __future__ import annotations

import argparse
import importlib.util
import os
import secrets
import sys
from pathlib import Path

if sys.version_info < (3, 9) or not importlib.util.find_spec('numpy'):
    sys.exit(f'gpu_check needs Python 3.9 or newer with NumPy; this is {sys.executable}, '
             f'Python {sys.version.split()[0]}.')

from gpu.bars import bars  # noqa: E402
from gpu.report import Report, table  # noqa: E402
from gpu.sections import PARTS, Check  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 30  # rows of a table on the screen; the files have all


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--library', type=Path, help='a CUDA library that is built already')
    parser.add_argument('--emulate', type=Path, metavar='LIB', help='an emulated library')
    parser.add_argument('--only', default='', help=f'of {",".join(PARTS)}')
    parser.add_argument('--kernels', default='', help='parity, table: names or beginnings of them')
    parser.add_argument('--golden', type=Path, default=ROOT.parent / 'shared' / 'golden',
                        help='folder of golden fixtures')
    parser.add_argument('--steps', type=int, help='length of the training runs')
    parser.add_argument('--seed', type=int, default=secrets.randbelow(2 ** 31),
                        help='of all random inputs; drawn anew where not given')
    parser.add_argument('--results', type=Path, help='folder of the results')
    parser.add_argument('--commit', help='where git cannot tell')
    args = parser.parse_args(arguments)
    args.only = [part for part in args.only.split(',') if part] or list(PARTS)
    args.kernels = tuple(name for name in args.kernels.split(',') if name)
    unknown = [part for part in args.only if part not in PARTS]
    if unknown:
        parser.error(f'Expected parts of {", ".join(PARTS)} but received {", ".join(unknown)}.')
    return args


def folders(args: argparse.Namespace) -> list[Path]:
    """Where results go. An emulated run leaves the committed results alone."""
    named = [args.results] if args.results else []
    standard = [] if args.emulate or named else [ROOT / 'bench' / 'results']
    return named + standard + ([Path(os.environ['OUT'])] if os.environ.get('OUT') else [])


def summarise(report: Report) -> None:
    """A short table last: the slowest kernels, the steps, what failed, the bars, the verdicts."""
    for section in report.sections:
        rows = section.rows
        if section.name == 'kernels':
            rows = sorted(rows, key=lambda row: -float(str(row['ms'])))[:SHOWN]
        if rows and (section.name in ('kernels', 'steps') or section.passed is False):
            print('\n'.join(['', section.name, *table(rows[:SHOWN])]))
    if report.bars:
        print('\n'.join(['', 'bars, set for an H100', *table(report.bars)]))
    print('\n'.join(['', *table(report.verdicts())]))


def write(report: Report, places: list[Path], stem: str) -> None:
    """Writes the report; a place where that fails is named and left out from then on."""
    for folder in list(places):
        try:
            report.write(folder, stem)
        except OSError as error:
            print(f'The results are not in {folder}: {error}')
            places.remove(folder)


def run_parts(check: Check, report: Report) -> None:
    """One part after the other; what is found is written after each."""
    places = folders(check.args)
    for part in PARTS:
        if part in check.args.only or part == 'build':
            report.run(part, getattr(check, part))
            if not check.path:
                break
            if not check.emulated:
                report.bars = bars({section.name: section.rows for section in report.sections})
            write(report, places, check.stem)


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    check = Check(args)
    report = Report(check.facts)
    print(f'seed {args.seed}', flush=True)
    try:
        run_parts(check, report)
    finally:
        check.close()
    summarise(report)
    print('PASSED' if report.passed else 'FAILED')
    return 0 if report.passed else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
