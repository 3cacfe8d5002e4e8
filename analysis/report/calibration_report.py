"""The tables of a calibration: as text for a terminal, and as one HTML file that loads nothing."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from thermograd.analysis.calibration.calibrate import Calibration, Measured, binomial_interval
from thermograd.analysis.display.markup import Html, element, items, table
from thermograd.store.errors import ThermogradError
from thermograd.store.files import write_file
from thermograd.store.text import table_text

_ABOUT = {
    "ar.5": "independent noise with a short memory",
    "ar.9": "independent noise with a memory",
    "ar.98": "independent noise with a long memory",
    "trend": "a falling norm and a heating device",
    "kink": "a learning rate drop and a fan step, at different times",
    "rw": "independent random walks",
    "heavy": "rare huge spikes, heavy-tailed bursts",
    "hetero": "both calm down together",
    "burst": "both get restless in the same stretch",
    "period": "the same period, random phases (known as a driver)",
    "coll": "spikes, and an independent flag",
    "driver": "one load drives both (known as a driver)",
    "cont .1": "correlation .1",
    "cont .2": "correlation .2",
    "cont .3": "correlation .3",
    "cont_trend .3": "correlation .3 under opposite trends, sensor in whole degrees",
    "spike 2": "each spike heats by 2 sd",
    "driver+c .3": "correlation .3 on top of a common load",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ccc; text-align: left; }
td:nth-child(n+3), th:nth-child(n+3) { text-align: right; white-space: nowrap;
       font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #16181b; }
  th, td { border-color: #444; }
}
"""
_NULL_COLUMNS = ("process", "what", "naive p<=.05", "naive |r|>.7", "ours p<=.05", "95 %", "coupled")
_POWER_COLUMNS = ("process", "what", "ours p<=.05", "95 %", "coupled", "lag within 1 bin")


def require_writable(path: Path) -> None:
    """Refuse a path to which no report could be written, before a minute is spent on it.

    Raises
    ------
    ThermogradError
        If its folder does not exist or may not be written to.
    """
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ThermogradError(f"cannot write {path}: {folder} is no folder that may be written to")


def write_calibration(path: Path, result: Calibration) -> None:
    """Write the report, whole or not at all.

    Raises
    ------
    ThermogradError
        If the file cannot be written.
    """
    try:
        write_file(path, calibration_page(result).encode())
    except OSError as error:
        raise ThermogradError(f"cannot write {path}: {error.strerror or error}") from error


def calibration_text(result: Calibration) -> str:
    """Return both tables as text."""
    lines = [_summary(result), ""]
    if result.nulls:
        lines += ["Nothing is coupled: how often is it found?"]
        lines += [table_text(_NULL_COLUMNS, _null_rows(result), _NULL_COLUMNS[2:]), ""]
    if result.coupled:
        lines += ["Something is coupled: how often is it found?"]
        lines += [table_text(_POWER_COLUMNS, _power_rows(result), _POWER_COLUMNS[2:]), ""]
    return "\n".join(lines).rstrip()


def calibration_page(result: Calibration) -> str:
    """Return the report as one HTML document without scripts."""
    body = [
        element("h1", "False positives and power"),
        element("p", _summary(result)),
        element("h2", "Nothing is coupled: how often is it found?"),
        element(
            "p",
            "Every rate of ours should be about 5 % or less. The naive method is Pearson's correlation of "
            "the raw values: it takes shared trends, memory and drivers for coupling. “Coupled” is our "
            "verdict: p is at most .05, and stays so without the most influential second.",
        ),
        table(_NULL_COLUMNS, _null_rows(result), "ttnnnnn", "False positives"),
        element("h2", "Something is coupled: how often is it found?"),
        table(_POWER_COLUMNS, _power_rows(result), "ttnnnn", "Power"),
        element("h2", "How it was measured"),
        items(_method(result)),
    ]
    head = Html(
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\"><title>thermograd calibration</title><style>" + _STYLE + "</style>"
    )
    page = element("html", element("head", head), element("body", *body), lang="en")
    return f"<!doctype html>\n{page}\n"


def _summary(result: Calibration) -> str:
    cut = "" if result.finished else " Cut short: the table holds what was finished."
    return (
        f"{result.runs_wanted} runs of every process, {result.bins} bins of {result.period_s:g} s each, "
        f"lags up to {result.max_lag} bins, seed {result.seed}.{cut}"
    )


def _method(result: Calibration) -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("thermograd", "numpy", "scipy"))
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [
        f"{now}; Python {platform.python_version()}, {packages}.",
        "95 %: exact binomial interval of the rate (Clopper and Pearson).",
        f"The same seed ({result.seed}) gives the same numbers on the same versions.",
    ]


def _null_rows(result: Calibration) -> list[tuple[str, ...]]:
    return [
        (
            row.name,
            _ABOUT.get(row.name, ""),
            _rate(row.naive, row.runs),
            _rate(row.naive_strong, row.runs),
            *_ours(row),
        )
        for row in result.nulls
    ]


def _power_rows(result: Calibration) -> list[tuple[str, ...]]:
    return [
        (row.name, _ABOUT.get(row.name, ""), *_ours(row), _rate(row.lag_found, row.runs))
        for row in result.coupled
    ]


def _ours(row: Measured) -> tuple[str, str, str]:
    low, high = binomial_interval(row.found, row.runs)
    return _rate(row.found, row.runs), f"{low:.3f}–{high:.3f}", _rate(row.coupled, row.runs)


def _rate(hits: int, runs: int) -> str:
    return f"{hits / runs:.3f}"
