"""Runs programs in float64 on the CPU with the references: what every result is held against."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Mapping

import numpy as np

from . import (reference_convolution, reference_elementwise, reference_explainer, reference_ops,
               reference_spatial)
from .program import Call, Program, Value


REFERENCES = (reference_ops, reference_convolution, reference_elementwise, reference_explainer,
              reference_spatial)


def reference_of(call: Call, inputs: list[np.ndarray | None]) -> dict[str, np.ndarray]:
    """The outputs of one call by name, those that are absent left out."""
    name = call.kernel.name
    function = next(getattr(module, name) for module in REFERENCES if hasattr(module, name))
    exact = [x.astype(np.float64) if x is not None and x.dtype.kind == 'f' else x for x in inputs]
    outputs = dict(zip(call.kernel.outputs, call.outputs))
    shapes = {key: value.type.shape for key, value in outputs.items() if value}
    found = function(SimpleNamespace(**dict(zip(call.kernel.inputs, exact))),
                     SimpleNamespace(**call.kernel.rounded(call.attrs)), shapes)
    return {key: np.asarray(found[key]) for key in shapes}


class ReferenceMachine:
    """The values of a program on the CPU, with the methods of backend.Machine."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._held: dict[Value, np.ndarray] = {}

    def write(self, value: Value, array: np.ndarray) -> None:
        self._held[value.root] = np.asarray(array).reshape(value.root.type.shape)

    def read(self, value: Value) -> np.ndarray:
        return self._held[value.root].reshape(value.type.shape)

    def run(self) -> None:
        for call in self.program.calls:
            inputs = [self.read(value) if value else None for value in call.inputs]
            found: Mapping[str, np.ndarray] = reference_of(call, inputs)
            for name, value in zip(call.kernel.outputs, call.outputs):
                if value:
                    self.write(value, found[name])
