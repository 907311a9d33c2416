"""What a check found: sections with a verdict, written as JSON and Markdown."""
from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable, Sequence

from .apart import Died

Row = dict[str, object]


@dataclass
class Section:
    """One part of the check. `passed` None: skipped, `summary` says why."""

    name: str
    passed: bool | None
    summary: str
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0

    @property
    def verdict(self) -> str:
        return {None: 'skipped', True: 'passed', False: 'FAILED'}[self.passed]


@dataclass
class Report:
    """The whole check of one device."""

    facts: dict[str, object]
    sections: list[Section] = field(default_factory=list)
    bars: list[Row] = field(default_factory=list)  # speeds asked for: no part of the verdict

    def run(self, name: str, body: Callable[[], Section]) -> Section:
        """Runs one section; what it throws fails it and leaves the others alone."""
        print(f'-- {name}', flush=True)
        start = time.perf_counter()
        try:
            section = body()
        except Died as error:
            section = Section(name, False, str(error))
        except Exception as error:  # a broken section must not hide the others' results
            traceback.print_exc()
            section = Section(name, False, f'{type(error).__name__}: {error}')
        section.seconds = round(time.perf_counter() - start, 1)
        print(f'   {name} {section.verdict}: {section.summary} ({section.seconds} s)', flush=True)
        self.sections.append(section)
        return section

    @property
    def passed(self) -> bool:
        return bool(self.sections) and all(s.passed is not False for s in self.sections)

    def write(self, folder: Path, stem: str) -> None:
        """`<stem>.json` with everything, `<stem>.md` with the tables."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {**self.facts, 'passed': self.passed, 'bars': self.bars,
                   'sections': [asdict(section) for section in self.sections]}
        text = json.dumps(_finite(content), indent=1)
        (folder / f'{stem}.json').write_text(text + '\n')
        (folder / f'{stem}.md').write_text(self.markdown())

    def verdicts(self) -> list[Row]:
        """One row for each section."""
        return [{'part': s.name, 'result': s.verdict, 'what': s.summary, 's': s.seconds}
                for s in self.sections]

    def markdown(self) -> str:
        lines = [f'# {self.facts.get("device", "no device")}', '']
        lines += [f'- {key}: {value}' for key, value in self.facts.items() if key != 'device']
        lines += ['', *table(self.verdicts())]
        if self.bars:
            lines += ['', '## Bars, set for an H100', '', *table(self.bars)]
        for section in self.sections:
            if section.rows:
                lines += ['', f'## {section.name}', '', *table(section.rows)]
        return '\n'.join(lines) + '\n'


def _finite(value: object) -> object:
    """JSON has no NaN."""
    if isinstance(value, float) and not abs(value) < float('inf'):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def show(value: object) -> str:
    """A cell: four significant digits, nothing for what is not there."""
    if value is None or value != value:
        return '-'
    return f'{value:.4g}' if isinstance(value, float) else str(value).replace('|', '\\|')


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table, columns padded so that it reads as text too."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *[[show(row.get(key)) for key in columns] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(line, widths)) + ' |'
             for line in cells]
    return [lines[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *lines[1:]]
