"""Times the CPU kernels of native/ops/ against PyTorch, alternating in one process.

Compiles native/ for one instruction set into a temporary library and calls its kernel table
directly. Layout conversion is not timed: maps and weights stay in the backend's own layout for a
whole program, as they stay in PyTorch's.

    python3 bench/peers/torch_kernels.py [--threads 2] [--isa avx512]
        [--accuracy fast] [--only conv] [--json FILE]

Prints milliseconds (medians), GFLOP/s of ours, the median of the pairwise ratios torch / ours and
the relative difference of the results. One thread: CPU time; more: wall clock.
"""
import argparse
import ctypes
import glob
import json
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import torch

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
FLAGS = {
    'avx512': ['-mavx512f', '-mavx512vl', '-mavx512dq', '-mavx512bw', '-mavx2', '-mfma',
               '-mprefer-vector-width=512', '-DPL_VL=16'],
    'avx2': ['-mavx2', '-mfma', '-DPL_VL=8'],
    'sse2': ['-DPL_VL=4'],
}
ENTRY = '''
#include "cpu_dispatch.h"
namespace partlens {
void cpu_set_last_error(const char*) {}
const char* cpu_last_error() { return ""; }
namespace PL_ISA { extern const PlBackend backend; }
}
extern "C" const PlBackend* pl_backend() { return &partlens::PL_ISA::backend; }
'''
ROWS, MAPS, CONV_WEIGHT, LINEAR_WEIGHT = range(4)
CONTRACT_VERSION = 3
ACCURACIES = ('fast', 'high', 'direct')
UNUSED = ('allocate_host', 'release_host', 'upload_later', 'download_later', 'draw_ticket', 'wait',
          'record_begin', 'record_end', 'replay', 'discard')  # of overlap and recording


class Tensor(ctypes.Structure):
    _fields_ = [('data', ctypes.c_void_p), ('dtype', ctypes.c_int32), ('layout', ctypes.c_int32),
                ('rank', ctypes.c_int32), ('dims', ctypes.c_int32 * 4),
                ('chw', ctypes.c_int32 * 3)]


KERNEL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Tensor), ctypes.c_void_p)


class Entry(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('inputs', ctypes.c_char_p),
                ('outputs', ctypes.c_char_p), ('attrs', ctypes.c_char_p),
                ('input_count', ctypes.c_int32), ('output_count', ctypes.c_int32),
                ('run', KERNEL)]


def function(result, *arguments):
    return ctypes.CFUNCTYPE(result, *arguments)


P = ctypes.c_void_p
TENSOR = ctypes.POINTER(Tensor)


class Options(ctypes.Structure):
    _fields_ = [('index', ctypes.c_int32), ('threads', ctypes.c_int32),
                ('precision', ctypes.c_int32), ('accuracy', ctypes.c_int32)]


class Backend(ctypes.Structure):
    _fields_ = [('version', ctypes.c_int32), ('name', ctypes.c_char_p), ('isa', ctypes.c_char_p),
                ('device_name', ctypes.c_char_p), ('device_bytes', ctypes.c_int64),
                ('open', function(ctypes.c_int, ctypes.POINTER(Options), ctypes.POINTER(P))),
                ('close', P), ('last_error', P),
                ('bytes_of', function(ctypes.c_int64, TENSOR)),
                ('allocate', function(ctypes.c_int, P, ctypes.c_int64, ctypes.POINTER(P))),
                ('release', P), ('scratch_bytes', P),
                ('upload', function(ctypes.c_int, P, TENSOR, P)),
                ('download', function(ctypes.c_int, P, TENSOR, P)),
                ('synchronize', P),
                *((name, P) for name in UNUSED), ('kernels', ctypes.POINTER(Entry)),
                ('kernel_count', ctypes.c_int32), ('attrs', P), ('attrs_count', ctypes.c_int32)]


def build(native, isa, folder):
    entry = os.path.join(folder, 'entry.cpp')
    with open(entry, 'w') as file:
        file.write(ENTRY)
    sources = [entry, os.path.join(native, 'cpu_backend.cpp')]
    sources += glob.glob(os.path.join(native, 'ops', '*.cpp'))
    sources += glob.glob(os.path.join(native, 'simd', '*.cpp'))
    flags = ['-O3', '-std=c++17', '-fPIC', '-fno-math-errno', '-fno-trapping-math',
             '-ffp-contract=fast', '-Wno-psabi', f'-DPL_ISA={isa}', f'-I{native}', *FLAGS[isa]]

    def compile_one(source):
        target = os.path.join(folder, os.path.basename(source) + '.o')
        subprocess.run(['g++', *flags, '-c', source, '-o', target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    library = os.path.join(folder, 'kernels.so')
    subprocess.run(['g++', '-shared', '-o', library, *objects, '-pthread'], check=True)
    return ctypes.CDLL(library)


class Ours:
    """The kernel table: `tensor` places values in device memory, `run` calls a kernel."""

    def __init__(self, library, threads, accuracy):
        library.pl_backend.restype = ctypes.POINTER(Backend)
        self.backend = library.pl_backend().contents
        if self.backend.version != CONTRACT_VERSION:
            raise RuntimeError(f'contract version {self.backend.version}, not {CONTRACT_VERSION}')
        self.device = P()
        options = Options(0, threads, 0, ACCURACIES.index(accuracy))
        self.check(self.backend.open(ctypes.byref(options), ctypes.byref(self.device)))
        count = self.backend.kernel_count
        self.kernels = {self.backend.kernels[i].name.decode(): self.backend.kernels[i].run
                        for i in range(count)}

    @staticmethod
    def check(status):
        if status != 0:
            raise RuntimeError(f'the backend returned status {status}')

    def tensor(self, layout, values):
        t = Tensor(layout=layout, rank=values.dim())
        for i in range(4):
            t.dims[i] = values.shape[i] if i < values.dim() else 1
        memory = P()
        self.check(self.backend.allocate(self.device, self.backend.bytes_of(t),
                                         ctypes.byref(memory)))
        t.data = memory
        self.check(self.backend.upload(self.device, t, values.contiguous().data_ptr()))
        return t

    def read(self, t):
        values = torch.empty([t.dims[i] for i in range(t.rank)])
        self.check(self.backend.download(self.device, t, values.data_ptr()))
        return values

    def run(self, name, tensors, attrs):
        packed = (Tensor * len(tensors))(*tensors)
        fields = (ctypes.c_int32 * 8)(*attrs)
        kernel = self.kernels[name]
        return lambda: self.check(kernel(self.device, packed, fields))


def conv_case(ours, n, c, size, o, kernel, stride, pad):
    x = torch.relu(torch.randn(n, c, size, size))
    w = torch.randn(o, c, kernel, kernel) * (2 / (c * kernel * kernel)) ** 0.5
    y = torch.nn.functional.conv2d(x, w, None, stride, pad)
    g = torch.randn_like(y)
    tx, tg = ours.tensor(MAPS, x), ours.tensor(MAPS, g)
    tw = ours.tensor(CONV_WEIGHT, w)
    ty, tdx = ours.tensor(MAPS, y), ours.tensor(MAPS, torch.zeros_like(x))
    tdw = ours.tensor(CONV_WEIGHT, torch.zeros_like(w))
    attrs = [stride, stride, pad, pad, 0]

    def backward(mask):
        return torch.ops.aten.convolution_backward(
            g, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, mask)

    passes = {
        'forward': (lambda: torch.nn.functional.conv2d(x, w, None, stride, pad),
                    ours.run('conv2d_forward', [tx, tw, Tensor(), ty], attrs), ty),
        'backward_data': (lambda: backward([True, False, False])[0],
                          ours.run('conv2d_backward_data', [tg, tw, tdx], attrs), tdx),
        'backward_weight': (lambda: backward([False, True, False])[1],
                            ours.run('conv2d_backward_weight', [tx, tg, tdw], attrs), tdw),
    }
    name = f'conv {c}->{o} {size}x{size} k{kernel} s{stride} N={n}'
    return name, 2 * g.numel() * c * kernel * kernel, passes


def linear_case(ours, n, f, o):
    x, w, g = torch.randn(n, f), torch.randn(o, f) / f ** 0.5, torch.randn(n, o)
    tx, tg, tw = ours.tensor(ROWS, x), ours.tensor(ROWS, g), ours.tensor(LINEAR_WEIGHT, w)
    ty, tdx = ours.tensor(ROWS, g), ours.tensor(ROWS, x)
    tdw = ours.tensor(LINEAR_WEIGHT, w)
    passes = {
        'forward': (lambda: torch.nn.functional.linear(x, w),
                    ours.run('linear_forward', [tx, tw, Tensor(), ty], [0]), ty),
        'backward_data': (lambda: g @ w, ours.run('linear_backward_data', [tg, tw, tdx], [0]),
                          tdx),
        'backward_weight': (lambda: g.t() @ x,
                            ours.run('linear_backward_weight', [tg, tx, tdw], [0]), tdw),
    }
    return f'linear {f}->{o} N={n}', 2 * n * f * o, passes


def seconds(call, clock):
    start = clock()
    call()
    return clock() - start


def compare(ours, clock, repeats, name, flops, passes):
    rows, torch_sum, ours_sum = [], [0.0] * repeats, [0.0] * repeats
    for which, (peer, own, output) in passes.items():
        expected = peer()
        own()
        difference = float((ours.read(output) - expected).norm() / expected.norm())
        times = [(seconds(peer, clock), seconds(own, clock)) for _ in range(repeats)]
        torch_sum = [a + t[0] for a, t in zip(torch_sum, times)]
        ours_sum = [a + t[1] for a, t in zip(ours_sum, times)]
        rows.append(row(name, which, flops, [t[0] for t in times], [t[1] for t in times],
                        difference))
    rows.append(row(name, 'sum', len(passes) * flops, torch_sum, ours_sum, None))
    return rows


def row(name, which, flops, peer, own, difference):
    entry = {'case': name, 'pass': which, 'torch_ms': statistics.median(peer) * 1e3,
             'ours_ms': statistics.median(own) * 1e3,
             'ours_gflops': flops / statistics.median(own) / 1e9,
             'ratio': statistics.median(a / b for a, b in zip(peer, own)),
             'difference': difference}
    print(f"{name:34s} {which:16s} torch {entry['torch_ms']:8.2f} ms  ours "
          f"{entry['ours_ms']:8.2f} ms {entry['ours_gflops']:6.0f} GFLOP/s  x"
          f"{entry['ratio']:.2f}" + (f'  difference {difference:.1e}' if difference is not None else ''),
          flush=True)
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--isa', choices=FLAGS, default='avx512')
    parser.add_argument('--accuracy', choices=ACCURACIES, default='fast')
    parser.add_argument('--native', default=os.path.join(ROOT, 'native'))
    parser.add_argument('--library', help='a library built by an earlier run with --keep')
    parser.add_argument('--keep', help='folder to build in')
    parser.add_argument('--only', default='')
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--json')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        library = (ctypes.CDLL(options.library) if options.library else
                   build(options.native, options.isa, options.keep or temporary))
        ours = Ours(library, options.threads, options.accuracy)
    cases = [(conv_case, (32, 256, 14, 256, 3, 1, 1)), (linear_case, (64, 12544, 1024)),
             (conv_case, (32, 512, 14, 512, 3, 1, 1)), (conv_case, (8, 64, 56, 64, 3, 1, 1)),
             (conv_case, (1, 64, 224, 64, 3, 1, 1)), (conv_case, (2, 3, 224, 64, 3, 1, 1)),
             (conv_case, (8, 3, 224, 64, 11, 4, 2)), (conv_case, (8, 64, 27, 192, 5, 1, 2)),
             (conv_case, (32, 256, 14, 512, 1, 1, 0)), (conv_case, (16, 128, 28, 128, 3, 2, 1)),
             (conv_case, (32, 96, 14, 96, 3, 1, 1)), (conv_case, (32, 512, 7, 512, 3, 1, 1)),
             (linear_case, (32, 25088, 4096)), (linear_case, (1, 4096, 4096)),
             (linear_case, (32, 4096, 10))]
    # The CPU time of one thread is stable on a busy machine, the wall clock is not.
    clock = time.perf_counter if options.threads > 1 else time.process_time
    results = []
    for make, arguments in cases:
        if options.only not in f'{make.__name__} {arguments}':
            continue
        results += compare(ours, clock, options.repeats, *make(ours, *arguments))
    if options.json:
        with open(options.json, 'w') as file:
            json.dump({'torch': torch.__version__, 'threads': options.threads,
                       'isa': options.isa, 'rows': results}, file, indent=2)


if __name__ == '__main__':
    main()
