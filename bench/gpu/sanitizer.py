"""compute-sanitizer over small shapes of every kernel, beside the parts that do not time."""
from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .build import BUILT_BEFORE, run_tool
from .kernels import ROOT

TOOLS = ('memcheck', 'racecheck')
SECONDS = 240  # from its start
REPORT_LINES = 20


def small_shapes(folder: Path) -> Path | None:
    """The runner of test/native/small_shapes.cpp; where g++ does not work the bundle's, or None."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / 'small_shapes'
    try:
        run_tool(['g++', '-std=c++17', '-O1', '-pthread', f'-I{ROOT / "native"}',
                  str(ROOT / 'test/native/small_shapes.cpp'), '-o', str(target), '-ldl'])
    except (OSError, RuntimeError):
        target = BUILT_BEFORE.parent / 'small_shapes'
    return target if target.exists() else None


@dataclass
class Sanitizer:
    """One tool at work; its report goes to `log`."""

    tool: str
    log: Path
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)

    @staticmethod
    def start(sanitizer: str, runner: Path, folder: Path, library: Path, tool: str) -> Sanitizer:
        log = folder / f'{tool}.log'
        command = [sanitizer, '--tool', tool, '--error-exitcode', '9', str(runner), str(library)]
        with log.open('wb') as file:
            return Sanitizer(tool, log, subprocess.Popen(command, stdout=file,
                                                         stderr=subprocess.STDOUT))

    def result(self) -> tuple[bool, str, list[str]]:
        """Whether it finds nothing, its summary, and where it does the start of its report."""
        try:
            code = self.process.wait(max(0, self.started + SECONDS - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            code = None
        said = [line for line in self.log.read_text(errors='replace').splitlines() if line.strip()]
        last = said[-1] if said else ''
        summary = next((line for line in reversed(said) if 'SUMMARY' in line), last)
        end = '' if code is not None else f'no end after {SECONDS} s, at '
        report = [] if code == 0 else [line for line in said if not line.startswith('ok ')]
        return code == 0, f'{self.tool}: {end}{summary.strip("= ")}', report[:REPORT_LINES]

    def stop(self) -> None:
        """Ends it, if it has not ended."""
        self.process.kill()
        self.process.wait()
