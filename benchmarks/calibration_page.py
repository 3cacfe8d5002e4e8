"""The document that `calibration.py` fills: one section a part, written again after every row."""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from thermograd.analysis.calibration.calibrate import binomial_interval
from thermograd.store.files import write_file

__all__ = ["Page", "judged", "rate"]

_HERE = Path(__file__).parent
_NOTES = _HERE / "calibration_notes.md"
_HEAD = """# Calibration of the statistics

How often the tests of `analysis/` are wrong where nothing is coupled, and how often they find what is there.
Rates have exact binomial 95 % intervals; m: bins of 1 s; R: runs. Written by `make calibrate`."""
_STATISTICS = ("analysis",)


def rate(hits: int, runs: int) -> str:
    """Return a rate with its interval."""
    low, high = binomial_interval(hits, runs)
    return f"{hits / runs:.3f} ({low:.3f}-{high:.3f})"


def judged(good: bool) -> str:
    """Return whether a goal is met, for a cell."""
    return "yes" if good else "**no**"


class Page:
    """A markdown file whose sections are replaced one by one.

    Parameters
    ----------
    path
        The file; sections that are not replaced stay as they are in it.
    titles
        All titles, in their order.
    """

    def __init__(self, path: Path, titles: Sequence[str]) -> None:
        self._path = path
        self._titles = list(titles)

    def write(self, title: str, note: str, facts: str, table: str) -> None:
        """Replace a section, whole or not at all."""
        sections = self._sections()
        sections[title] = "\n\n".join(part for part in (note, table, f"*{facts}*") if part)
        known = [f"## {name}\n\n{sections[name]}" for name in self._titles if name in sections]
        write_file(self._path, ("\n\n".join([_HEAD, *known]) + "\n").encode())

    def _sections(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        blocks = self._path.read_text(encoding="utf-8").split("\n## ")[1:]
        return {title: text.strip() for title, _, text in (block.partition("\n") for block in blocks)}


def notes() -> dict[str, str]:
    """Return what is to be said on every part, from calibration_notes.md."""
    blocks = _NOTES.read_text(encoding="utf-8").split("\n## ")[1:]
    return {name.strip(): text.strip() for name, _, text in (block.partition("\n") for block in blocks)}


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a markdown table, numbers to the right."""
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join(['---', *['--:'] * (len(header) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def facts(seed: int) -> str:
    """Return when, where and with what a section was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("thermograd", "numpy", "scipy"))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, seed {seed}; Python {platform.python_version()}, {packages}, "
        f"statistics {_revision()}; {os.cpu_count()} shared cores, {platform.machine()}."
    )


def _revision() -> str:
    """Return the last commit that changed what is measured here, and whether it was changed since."""
    files = list(_STATISTICS)
    try:
        commit = _git("log", "-1", "--format=%h", "--", *files)
        changed = _git("status", "--porcelain", "--", *files)
    except (OSError, subprocess.CalledProcessError):
        return "of an unknown commit"
    return f"of commit {commit}{', changed since' if changed else ''}"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_HERE.parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
