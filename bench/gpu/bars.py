"""The speeds that the design asks for on an H100, each beside what was measured."""
from __future__ import annotations

from typing import Mapping, Sequence

from .report import Row

LARGE_BATCH = '512 channels, B=128'
LEAST_BYTES = 16_000_000  # smaller calls take some microseconds, whatever they read
STEPS = (('VGG-16', 'tuned', 1.2), ('VGG-16', 'eager', 2), ('small VGG', 'tuned', 1.2),
         ('small VGG', 'eager', 2))
CONVOLUTIONS = ('conv2d_forward', 'conv2d_backward_data', 'conv2d_backward_weight')
OF_PRODUCT = 0.6  # of the measured TF32 rate
OF_COPY = 0.75  # of the measured copy rate


def bars(found: Mapping[str, Sequence[Row]]) -> list[Row]:
    """One row for each bar, from the rows of the parts `kernels` and `steps` where they ran."""
    rows: list[Row] = []
    if 'steps' in found:
        rows += [_step_bar(found['steps'], *bar) for bar in STEPS]
    if 'kernels' in found:
        rows += [_convolution_bar(found['kernels'], kernel) for kernel in CONVOLUTIONS]
        rows.append(_memory_bar(found['kernels']))
    return rows


def _bar(name: str, asked: float, measured: object, note: str = '') -> Row:
    known = isinstance(measured, float) and measured == measured
    result = 'not measured' if not known else 'met' if float(str(measured)) >= asked else 'MISSED'
    return {'bar': name, 'asked': asked, 'measured': measured if known else None, 'result': result,
            'note': note}


def _step_bar(rows: Sequence[Row], setting: str, peer: str, asked: float) -> Row:
    row = next((row for row in rows if row['setting'] == setting), {})
    return _bar(f'{setting} step: torch {peer} / ours, tf32', asked,
                row.get(f'{peer} / ours tf32'), str(row.get(f'torch {peer}', '')))


def _convolution_bar(rows: Sequence[Row], kernel: str) -> Row:
    row = next((row for row in rows if row['setting'] == LARGE_BATCH
                and row['kernel'] == kernel and row['precision'] == 'tf32'), {})
    return _bar(f'{kernel}, {LARGE_BATCH}: of the tf32 product', OF_PRODUCT, row.get('of product'))


def _memory_bar(rows: Sequence[Row]) -> Row:
    """The slowest call that moves LEAST_BYTES and is nearer to the copy than to the product."""
    calls = []
    for row in rows:
        size, of_copy, of_product = (float(str(row[key])) for key in ('MB', 'of copy', 'of product'))
        large = size * 1e6 >= LEAST_BYTES
        if row['precision'] == 'tf32' and large and not of_product > of_copy:
            calls.append((of_copy, f'{row["kernel"]} ({row["setting"]})'))
    calls.sort()
    below = [f'{name} {share:.2f}' for share, name in calls if share < OF_COPY]
    note = f'{len(below)} of {len(calls)} below: {", ".join(below)}' if below else ''
    return _bar('memory-bound kernels, the slowest: of the copy', OF_COPY,
                calls[0][0] if calls else None, note)
