"""Every kernel against its float64 reference: values, padding, guards, and the same bits twice."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Callable, Iterable, Iterator, Sequence

import numpy as np

from .apart import Died, each_apart
from .backend import BackendError, Device, DeviceLost, Machine
from .inputs import Inputs, inputs_of
from .kernels import PRODUCTS
from .program import Call, Program
from .reference import reference_of

# Relative error allowed, ||out - reference|| / ||reference||. Of tf32 and bf16, with 10 and 7 bits
# behind the point: twice the largest error of rounding one operand, which is that of one product.
# Errors of many products have no common sign: they come to 0.3 times that.
TOLERANCE = {'fp32': 1e-5, 'tf32': 2 * 2 ** -11, 'bf16': 2 * 2 ** -8}
CALL_SECONDS = 90  # after which a call, at all precisions and with its reference, counts as hung
MOST_ENDS = 2
# Exponents of large scores, in float32: an error of 1e-6 of a score of 100 is 1e-4 of its weight.
FILTER_LOSS_TOLERANCE = 2e-4
# Linear in each input but for what ends them: the error is that of the terms.
SUMS = (PRODUCTS | {'conv2d_backward_bias', 'linear_backward_bias'}) - {
    'linear_adam_step', 'linear_sgd_step'}
END = 'relu', 'activation', 'expand_relu', 'expand_activation'
FEW = 64  # numbers that may all be small by chance
# A single element may be this many times worse, relative to its own size and the tensor's.
ELEMENT = 10


@dataclass(frozen=True)
class Result:
    """One call at one precision. `wrong`: empty where it passed."""

    kernel: str
    case: str
    precision: str
    error: float
    wrong: tuple[str, ...]


def describe(call: Call) -> str:
    """Shapes of the operands and attributes, for people."""
    shapes = ' '.join('-' if value is None else 'x'.join(map(str, value.type.shape)) or '()'
                      for value in call.operands)
    attrs = ' '.join(f'{name}={value:.4g}' for name, value in call.attrs.items())
    return f'{shapes} {attrs}'.strip()


def tolerance_of(call: Call, precision: str) -> float:
    if call.kernel.name == 'filter_loss_forward':
        return FILTER_LOSS_TOLERANCE
    if call.kernel.name not in PRODUCTS:
        return TOLERANCE['tf32' if precision == 'tf32' and call.attrs.get('round') else 'fp32']
    return TOLERANCE[precision]


def magnitudes(call: Call, inputs: list[np.ndarray | None]) -> dict[str, float]:
    """Norms that the outputs of a product would have if its terms never cancelled, by name.

    sqrt(sum of squared terms): where an output has few numbers, these may all happen to be small
    though the terms are not, and the error is relative to the terms.
    """
    outputs = dict(zip(call.kernel.outputs, call.outputs))
    if call.kernel.name not in SUMS or all(v and v.type.count > FEW for v in outputs.values()):
        return {}
    attrs = {name: 0 if name in END else value for name, value in call.attrs.items()}
    squares = [None if x is None else x.astype(np.float64) ** 2 for x in inputs]
    found = reference_of(Call(call.kernel, attrs, call.inputs, call.outputs), squares)
    return {name: float(np.sqrt(total.sum())) for name, total in found.items()}


def compare(found: np.ndarray, wanted: np.ndarray, tolerance: float,
            magnitude: float = 0) -> tuple[float, str]:
    """The relative error and what is wrong about it, if anything is. NaN never passes."""
    if found.dtype.kind == 'i':
        differ = int((found != wanted).sum())
        return differ / max(found.size, 1), f'{differ} of {found.size} differ' if differ else ''
    if not np.isfinite(found).all():
        return float('nan'), f'{int((~np.isfinite(found)).sum())} of {found.size} are not finite'
    off = np.abs(found.astype(np.float64) - wanted)
    norm = max(float(np.sqrt((wanted ** 2).sum())), magnitude)
    error = float(np.sqrt((off ** 2).sum())) / norm if norm else float(off.max(initial=0))
    if not error <= tolerance:
        return error, f'relative error {error:.2e} above {tolerance:.0e}'
    scale = norm / np.sqrt(max(wanted.size, 1)) + np.abs(wanted) + (norm == 0)
    worst = float((off / scale).max(initial=0))
    if not worst <= ELEMENT * tolerance:
        return error, f'an element is off by {worst:.2e} of its size'
    return error, ''


def _run_once(machine: Machine, call: Call, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """All memory before and after one run on poisoned memory."""
    machine.poison()
    for name, value in zip(call.kernel.inputs, call.inputs):
        if value:
            machine.write(value, inputs[name])
    before = machine.raw()
    machine.run()
    return before, machine.raw()


def _memory_faults(machine: Machine, call: Call, before: np.ndarray,
                   after: np.ndarray) -> Iterator[str]:
    """Writes beside the outputs, and padding of outputs that is not zero."""
    outside = np.ones(machine.words, bool)
    for name, value in zip(call.kernel.outputs, call.outputs):
        if value:
            place = machine.words_of(value)
            outside[place] = False
            inside = np.count_nonzero(after[place] & 0x7fffffff)  # -0 is zero
            logical = np.count_nonzero(machine.read(value).view(np.int32) & 0x7fffffff)
            if inside != logical:
                yield f'{name}: {inside - logical} words of padding are not zero'
    strayed = np.count_nonzero((before != after) & outside)
    if strayed:
        yield f'{strayed} words outside of the outputs were written'


def check_call(device: Device, call: Call, inputs: Inputs, wanted: dict[str, np.ndarray],
               magnitude: dict[str, float]) -> Result:
    """Runs one call twice and holds it against `wanted`."""
    program = Program(calls=[call])
    errors = [0.0]
    wrong: list[str] = []
    try:
        with Machine(device, program) as machine:
            before, after = _run_once(machine, call, inputs)
            wrong += _memory_faults(machine, call, before, after)
            for name, value in zip(call.kernel.outputs, call.outputs):
                if value:
                    error, fault = compare(machine.read(value), wanted[name],
                                           tolerance_of(call, device.precision),
                                           magnitude.get(name, 0))
                    errors.append(error)
                    wrong += [f'{name}: {fault}'] if fault else []
            if not np.array_equal(_run_once(machine, call, inputs)[1], after):
                wrong.append('two runs differ')
    except DeviceLost:
        raise
    except BackendError as error:
        wrong.append(str(error))
    worst = float('nan') if any(e != e for e in errors) else max(errors)
    return Result(call.kernel.name, describe(call), device.precision, worst, tuple(wrong))


def check_at_precisions(devices: Iterable[Device], call: Call,
                        rng: np.random.Generator) -> list[Result]:
    """What knows of precision at every one, everything else once, on the first device."""
    first, *others = devices
    inputs = inputs_of(call, rng)
    given = [inputs.get(name) for name in call.kernel.inputs]
    wanted, magnitude = reference_of(call, given), magnitudes(call, given)
    knows = call.kernel.name in PRODUCTS or call.attrs.get('round')
    return [check_call(device, call, inputs, wanted, magnitude)
            for device in ((first, *others) if knows else (first,))]


def check_calls(devices: Callable[[], Iterable[Device]], calls: Sequence[Call],
                seed: int) -> list[Result]:
    """All calls in processes of their own: one that loses the device, crashes or hangs fails alone.

    Each draws its inputs from `seed` and its place in the list. A kernel that has ended MOST_ENDS
    processes is not called again.
    """
    found: list[Result] = []
    ends: Counter[str] = Counter()

    def check(item: tuple[int, Call]) -> list[Result]:
        return check_at_precisions(devices(), item[1], np.random.default_rng([seed, item[0]]))

    for (_, call), results in each_apart(enumerate(calls), check, CALL_SECONDS,
                                         lambda item: ends[item[1].kernel.name] >= MOST_ENDS):
        name = call.kernel.name
        if isinstance(results, Died):
            ends[name] += 1
            found.append(Result(name, describe(call), '', float('nan'), (str(results),)))
        else:
            found += results
    return found
