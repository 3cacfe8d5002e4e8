"""The tables of a calibration: as text for a terminal, and as one HTML file that loads nothing."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from thermograd.analysis.calibration.calibrate import Calibration, Measured, binomial_interval
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.display.table import Table
from thermograd.analysis.report.files import writing
from thermograd.analysis.report.page.document import templates
from thermograd.store.errors import ThermogradError
from thermograd.store.files import write_file
from thermograd.store.telling.quantities import counted


def require_writable(path: Path) -> None:
    """Refuse a path to which no report could be written, before a minute is spent on it."""
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ThermogradError(f"cannot write {path}: {folder} is no folder that may be written to")


def write_calibration(path: Path, result: Calibration) -> None:
    """Write the report, whole or not at all."""
    with writing(path):
        write_file(path, calibration_page(result).encode())


def calibration_text(result: Calibration) -> str:
    """Return both tables as text."""
    lines = [_summary(result), ""]
    if result.nulls:
        lines += ["Nothing is coupled: how often is it found?", _nulls(result.nulls).text(), ""]
    if result.coupled:
        lines += ["Something is coupled: how often is it found?", _coupled(result.coupled).text(), ""]
    return "\n".join(lines).rstrip()


def calibration_page(result: Calibration) -> str:
    """Return the report as one HTML document without scripts."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("thermograd", "numpy", "scipy"))
    return templates().get_template("calibration.html").render(
        summary=_summary(result),
        nulls=_nulls(result.nulls),
        coupled=_coupled(result.coupled),
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        python=platform.python_version(),
        packages=packages,
        seed=result.seed,
    )  # fmt: skip


def _summary(result: Calibration) -> str:
    cut = "" if result.finished else " Cut short: the table holds what was finished."
    return (
        f"{counted(result.runs_wanted, 'run')} of every process, {counted(result.bins, 'bin')} of "
        f"{result.period_s:g} s each, lags up to {counted(result.max_lag, 'bin')}, seed {result.seed}.{cut}"
    )


def _nulls(measured: Sequence[Measured]) -> Table:
    rows = [
        (*_named(row), _rate(row.naive, row.runs), _rate(row.naive_strong, row.runs), *_ours(row))
        for row in measured
    ]
    columns = {"process": "t", "what": "t", "naive p<=.05": "n", "naive |r|>.7": "n"}
    return Table(columns | {"ours p<=.05": "n", "95 %": "n", "coupled": "n"}, rows, "False positives")


def _coupled(measured: Sequence[Measured]) -> Table:
    rows = [(*_named(row), *_ours(row), _lag_found(row)) for row in measured]
    columns = {"process": "t", "what": "t", "ours p<=.05": "n", "95 %": "n", "coupled": "n"}
    return Table(columns | {"lag within 1 bin": "n"}, rows, "Power")


def _lag_found(row: Measured) -> str:
    return "–" if row.true_lag is None else _rate(row.lag_found, row.runs)


def _named(row: Measured) -> tuple[str, str]:
    """Return a row's name and, in a few words, what it is."""
    about = ZOO[row.name].about if row.name in ZOO else ""
    return row.name, about.split(":")[0]


def _ours(row: Measured) -> tuple[str, str, str]:
    low, high = binomial_interval(row.found, row.runs)
    return _rate(row.found, row.runs), f"{low:.3f}–{high:.3f}", _rate(row.coupled, row.runs)


def _rate(hits: int, runs: int) -> str:
    return f"{hits / runs:.3f}"
