"""The CUDA library through its C API (native/backend.h), and programs in its memory."""
from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int32, c_int64, c_void_p
from typing import Any

import numpy as np

from .kernels import KERNELS, TensorType
from .program import Call, Program, Value

CONTRACT_VERSION = 3
DEVICE_LOST = 3  # PlStatus
PRECISIONS = ('fp32', 'tf32', 'bf16')
LAYOUTS = ('rows', 'maps', 'conv_weight', 'linear_weight')
DTYPES = {'f32': np.dtype(np.float32), 'i32': np.dtype(np.int32)}
ALIGNMENT = 64
GUARD_BYTES = 256  # between values: a kernel that writes past its output is found there
POISON = 0x7fc0dead  # a NaN; as an index it is out of every range


class TensorView(Structure):
    _fields_ = [('data', c_void_p), ('dtype', c_int32), ('layout', c_int32), ('rank', c_int32),
                ('dims', c_int32 * 4), ('chw', c_int32 * 3)]


class Options(Structure):
    _fields_ = [('index', c_int32), ('threads', c_int32), ('precision', c_int32),
                ('accuracy', c_int32)]


_TENSOR = POINTER(TensorView)
_RUN = CFUNCTYPE(c_int32, c_void_p, _TENSOR, c_void_p)


class KernelEntry(Structure):
    _fields_ = [('name', c_char_p), ('inputs', c_char_p), ('outputs', c_char_p),
                ('attrs', c_char_p), ('input_count', c_int32), ('output_count', c_int32),
                ('run', _RUN)]


class Table(Structure):
    _fields_ = [
        ('version', c_int32), ('name', c_char_p), ('isa', c_char_p), ('device_name', c_char_p),
        ('device_bytes', c_int64),
        ('open', CFUNCTYPE(c_int32, POINTER(Options), POINTER(c_void_p))),
        ('close', CFUNCTYPE(None, c_void_p)),
        ('last_error', CFUNCTYPE(c_char_p)),
        ('bytes_of', CFUNCTYPE(c_int64, _TENSOR)),
        ('allocate', CFUNCTYPE(c_int32, c_void_p, c_int64, POINTER(c_void_p))),
        ('release', CFUNCTYPE(None, c_void_p, c_void_p)),
        ('scratch_bytes', CFUNCTYPE(c_int64, c_void_p)),
        ('upload', CFUNCTYPE(c_int32, c_void_p, _TENSOR, c_void_p)),
        ('download', CFUNCTYPE(c_int32, c_void_p, _TENSOR, c_void_p)),
        ('synchronize', CFUNCTYPE(c_int32, c_void_p)),
        ('allocate_host', c_void_p), ('release_host', c_void_p), ('upload_later', c_void_p),
        ('download_later', c_void_p), ('draw_ticket', c_void_p), ('wait', c_void_p),
        ('record_begin', CFUNCTYPE(c_int32, c_void_p)),
        ('record_end', CFUNCTYPE(c_int32, c_void_p, POINTER(c_void_p))),
        ('replay', CFUNCTYPE(c_int32, c_void_p, c_void_p)),
        ('discard', CFUNCTYPE(None, c_void_p, c_void_p)),
        ('kernels', POINTER(KernelEntry)), ('kernel_count', c_int32),
        ('attrs', c_void_p), ('attrs_count', c_int32),
    ]


class BackendError(RuntimeError):
    """A call of the library failed; its own text."""


class DeviceLost(BackendError):
    """No call of this process will succeed any more."""


class Library:
    """The library and its table. Raises BackendError with the reason where it cannot be used."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)
        self._library.pl_cuda_backend.restype = POINTER(Table)
        reason = c_char_p()
        table = self._library.pl_cuda_backend(byref(reason))
        if not table:
            raise BackendError((reason.value or b'no reason given').decode())
        self.table: Table = table.contents
        if self.table.version != CONTRACT_VERSION:
            raise BackendError(f'contract version {self.table.version}, not {CONTRACT_VERSION}')
        entries = [self.table.kernels[i] for i in range(self.table.kernel_count)]
        self.kernels = {entry.name.decode(): entry.run for entry in entries}
        if list(self.kernels) != list(KERNELS):
            raise BackendError('the library has other kernels than native/kernels.def')

    @property
    def isa(self) -> str:
        return self.table.isa.decode()

    @property
    def device_name(self) -> str:
        return self.table.device_name.decode()


class Device:
    """One opened device at one precision."""

    def __init__(self, library: Library, precision: str) -> None:
        self.library, self.precision = library, precision
        self.table = library.table
        self.handle = c_void_p()
        options = Options(0, 0, PRECISIONS.index(precision), 0)
        self.check(self.table.open(byref(options), byref(self.handle)), 'open')

    def check(self, status: int, what: str) -> None:
        if status != 0:
            kind = DeviceLost if status == DEVICE_LOST else BackendError
            raise kind(f'{self.precision} {what}: {self.table.last_error().decode()}')

    def synchronize(self) -> None:
        self.check(self.table.synchronize(self.handle), 'synchronize')

    def close(self) -> None:
        self.table.close(self.handle)


def view_of(type_: TensorType, data: int | None = None) -> TensorView:
    dims = (c_int32 * 4)(*(list(type_.shape) + [1] * (4 - len(type_.shape))))
    return TensorView(data, list(DTYPES).index(type_.dtype), LAYOUTS.index(type_.layout),
                      len(type_.shape), dims, (c_int32 * 3)(*(type_.chw or (0, 0, 0))))


class Machine:
    """A program's values in the memory of a device. Use as a context manager."""

    def __init__(self, device: Device, program: Program) -> None:
        self.device, self.table, self.program = device, device.table, program
        self.places: dict[Value, tuple[int, int]] = {}  # offset, bytes
        end = GUARD_BYTES
        for value in program.roots():
            size = self.table.bytes_of(byref(view_of(value.type)))
            self.places[value] = (end, size)
            end += (size + GUARD_BYTES + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        self.words = end // 4
        self.memory = c_void_p()
        device.check(self.table.allocate(device.handle, end, byref(self.memory)), 'allocate')
        self._calls = [self._prepare(call) for call in program.calls]
        self._recording = c_void_p()
        self.runs = 0  # of training.run_recorded

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._recording:
            self.table.discard(self.device.handle, self._recording)
        self.table.release(self.device.handle, self.memory)

    def view(self, value: Value | None) -> TensorView:
        if value is None:
            return view_of(TensorType('rows', ()))
        return view_of(value.type, (self.memory.value or 0) + self.places[value.root][0])

    def _prepare(self, call: Call) -> tuple[str, Any, ctypes.Array, ctypes.Array]:
        views = [self.view(value) for value in call.operands]
        packed = (TensorView * len(views))(*views)
        attrs = ctypes.create_string_buffer(call.kernel.pack(call.attrs))
        return call.kernel.name, self.device.library.kernels[call.kernel.name], packed, attrs

    def run(self) -> None:
        """Calls the kernels one by one."""
        for name, run, tensors, attrs in self._calls:
            self.device.check(run(self.device.handle, tensors, attrs), name)

    def record(self, times: int = 1) -> None:
        """Records the program, `times` in a row, for `replay`; it must have run before."""
        handle = self.device.handle
        self.device.check(self.table.record_begin(handle), 'record_begin')
        try:
            for _ in range(times):
                self.run()
        finally:
            self.device.check(self.table.record_end(handle, byref(self._recording)), 'record_end')

    def replay(self) -> None:
        self.device.check(self.table.replay(self.device.handle, self._recording), 'replay')

    def write(self, value: Value, array: np.ndarray) -> None:
        """Values in row-major order, converted to the layout of the device."""
        host = np.ascontiguousarray(array, DTYPES[value.type.dtype])
        if host.size != value.type.count:
            raise ValueError(f'{value.name}: {host.size} values for shape {value.type.shape}')
        view = self.view(value)
        self.device.check(self.table.upload(self.device.handle, byref(view), host.ctypes.data),
                          'upload')

    def read(self, value: Value) -> np.ndarray:
        host = np.empty(value.type.shape, DTYPES[value.type.dtype])
        view = self.view(value)
        self.device.check(self.table.download(self.device.handle, byref(view), host.ctypes.data),
                          'download')
        return host

    def _whole(self) -> TensorView:
        return view_of(TensorType('rows', (self.words,), 'i32'), self.memory.value)

    def poison(self) -> None:
        """NaN in every word, guards and padding included."""
        host = np.full(self.words, POISON, np.int32)
        self.device.check(self.table.upload(self.device.handle, byref(self._whole()),
                                            host.ctypes.data), 'poison')

    def raw(self) -> np.ndarray:
        """Every word of the memory as it lies there."""
        host = np.empty(self.words, np.int32)
        self.device.check(self.table.download(self.device.handle, byref(self._whole()),
                                              host.ctypes.data), 'raw')
        return host

    def words_of(self, value: Value) -> slice:
        offset, size = self.places[value.root]
        return slice(offset // 4, (offset + size) // 4)
