"""Builds the CUDA library with nvcc as CMakeLists.txt does, finds spills."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .kernels import ROOT

# Those of CMakeLists.txt: "80;90a-real", static runtime.
TARGETS = ['-gencode=arch=compute_80,code=[compute_80,sm_80]',
           '-gencode=arch=compute_90a,code=sm_90a']
FLAGS = ['-std=c++17', '-O3', '-Xcompiler=-fPIC', '-Xptxas=-v', '-cudart=static',
         '--threads=2']
LINK = ['-Xcompiler=-static-libstdc++', '-Xlinker=--exclude-libs,ALL', '-Xlinker=--gc-sections',
        '-Xlinker=--no-undefined']
# By npm run build:cuda, or where the offline bundle has it, for machines without nvcc.
BUILT_BEFORE = ROOT / 'build' / 'cuda' / 'libpartlens_cuda.so'
_FUNCTION = re.compile(r"Function properties for (\S+)|(\d+) bytes spill stores, (\d+) bytes spill")


def find_tool(name: str) -> str | None:
    """A tool of CUDA, on the path or where CUDA is installed."""
    for found in (shutil.which(name), f'/usr/local/cuda/bin/{name}'):
        if found and os.access(found, os.X_OK):
            return found
    return None


def spilled(log: str) -> dict[str, int]:
    """Mangled kernel name -> bytes of spill stores and loads, from ptxas -v."""
    found: dict[str, int] = {}
    name = ''
    for function, stores, loads in _FUNCTION.findall(log):
        if function:
            name = function
        elif int(stores) + int(loads):
            found[name] = max(found.get(name, 0), int(stores) + int(loads))
    return found


def build(nvcc: str, folder: Path) -> tuple[Path, dict[str, int]]:
    """The library and its spills. Raises RuntimeError with the compiler's own words."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [*sorted(ROOT.glob('cuda/*.cu')), *sorted(ROOT.glob('cuda/ops/*.cu'))]

    def compile_one(source: Path) -> str:
        target = folder / f'{source.stem}.o'
        return run_tool([nvcc, *TARGETS, *FLAGS, f'-I{ROOT / "native"}', '-c', str(source), '-o',
                         str(target)])

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        logs = list(pool.map(compile_one, sources))
    (folder / 'build.log').write_text(''.join(logs))
    library = folder / 'libpartlens_cuda.so'
    run_tool([nvcc, '-shared', *TARGETS, '-cudart=static', *LINK, '-o', str(library),
              *[str(folder / f'{source.stem}.o') for source in sources]])
    return library, spilled(''.join(logs))


def run_tool(command: list[str]) -> str:
    """What it prints. Raises RuntimeError with that where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f'{" ".join(command[-4:])}: {(done.stdout + done.stderr)[-2000:]}')
    return done.stdout + done.stderr
