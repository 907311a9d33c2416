"""Lists of kernel calls over values: what lib/engine/plan.ts compiles to, written by hand."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Mapping

from .kernels import KERNELS, Kernel, TensorType


@dataclass(eq=False)
class Value:
    """One tensor. `storage`: the value whose memory it lives in (views, optimizer steps)."""

    type: TensorType
    name: str = ''
    storage: Value | None = None

    @property
    def root(self) -> Value:
        return self.storage.root if self.storage else self


@dataclass(frozen=True)
class Call:
    """One kernel call; None marks what is absent."""

    kernel: Kernel
    attrs: Mapping[str, float]
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]

    def __post_init__(self) -> None:
        self.kernel.pack(self.attrs)  # raises where an attribute is missing or unknown

    @property
    def operands(self) -> tuple[Value | None, ...]:
        return self.inputs + self.outputs


@dataclass
class Program:
    """Calls in order. Leaves are written from outside; every value keeps a place of its own."""

    leaves: dict[str, Value] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def leaf(self, name: str, type_: TensorType) -> Value:
        """An input, parameter or state, found again by its name."""
        return self.leaves.setdefault(name, Value(type_, name))

    @staticmethod
    def view(value: Value, type_: TensorType) -> Value:
        """The same memory under another type: maps as flattened rows, and back."""
        return Value(type_, value.name, value)

    def call(self, name: str, *inputs: Value | None, attrs: Mapping[str, float] | None = None,
             absent: Iterable[str] = (), **sizes: int) -> tuple[Value, ...]:
        """Appends a call; returns its outputs, those that are absent left out.

        sizes: letters of the signature that no input tells.
        """
        kernel = KERNELS[name]
        types = kernel.bind([value.type if value else None for value in inputs], sizes)
        outputs: list[Value | None] = []
        for output, type_ in zip(kernel.outputs, types):
            updated = output[:-len('_out')] if output.endswith('_out') else ''
            storage = inputs[kernel.inputs.index(updated)] if updated in kernel.inputs else None
            outputs.append(None if output in absent else Value(type_, output, storage))
        self.calls.append(Call(kernel, dict(attrs or {}), inputs, tuple(outputs)))
        return tuple(output for output in outputs if output)

    def op(self, name: str, *inputs: Value | None, attrs: Mapping[str, float] | None = None,
           absent: Iterable[str] = (), **sizes: int) -> Value:
        """`call` for the first output alone."""
        return self.call(name, *inputs, attrs=attrs, absent=absent, **sizes)[0]

    def roots(self) -> list[Value]:
        """Every value that has memory of its own, in order of use."""
        found: dict[Value, None] = {}
        for value in self.leaves.values():
            found[value.root] = None
        for call in self.calls:
            found.update({value.root: None for value in call.operands if value})
        return list(found)
