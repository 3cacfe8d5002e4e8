"""Hints that nothing has a use for are refused: what a person says is never passed over in silence."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.hints.units import COLUMNS, TIME
from thermograd.ingest.importers.rows.ordered import OrderedRows
from thermograd.store.errors import ImportFormatError

Kind = Literal["step", "sample"]


class Format(Protocol):
    """What is asked of a format here."""

    @property
    def name(self) -> str:
        """It in words."""

    def takes(self, hint: str, kind: Kind | None = None) -> bool:
        """Whether it can use a hint."""


WORDS: dict[Kind, str] = {"step": "step log", "sample": "device log"}
_FOR = {  # the option of each hint, and what it is for
    "device": ("--device", "a device log whose rows name no device"),
    "fields": ("--columns", "a log without a header"),
    "time": ("--time", "a table (CSV, Parquet, JSON Lines)"),
    "pattern": ("--pattern", "a text log of steps"),
    "steps_per_epoch": ("--steps-per-epoch", "a log of epochs"),
    "run": ("--run", "a store that holds several runs"),
}
_NAMED = 8
_CLOCKS = (("started_at", "--started-at"), ("step_time_s", "--step-time"), ("sample_time_s", "--sample-time"))


def require_use(hints: Hints, chosen: Mapping[Kind, tuple[Format, str]]) -> None:
    """Refuse hints that none of the formats can use; `chosen` is a format and its files' names by kind."""
    formats = [format for format, _ in dict.fromkeys(chosen.values())]
    names = ", ".join(f"{name} is {format.name}" for format, name in dict.fromkeys(chosen.values()))
    for hint, (option, purpose) in _FOR.items():
        if getattr(hints, hint) and not _taken(hint, formats):
            raise ImportFormatError(f"{option} is for {purpose}, but {names}")
    _require_clockless(hints, chosen)
    for option, hint in (("--column", "columns"), ("--unit", "units")):
        for name, text in getattr(hints, hint):
            _require_column(f"{option} {name}={text}", hint, name, chosen)


def _taken(hint: str, formats: Iterable[Format]) -> bool:
    return any(format.takes(hint) for format in formats)


def _require_column(option: str, hint: str, name: str, chosen: Mapping[Kind, tuple[Format, str]]) -> None:
    kinds: list[Kind] = [kind for kind in ("step", "sample") if name in COLUMNS[kind] or name == TIME]
    logs = " or ".join(f"a {WORDS[kind]}" for kind in kinds)
    if not any(kind in chosen for kind in kinds):
        raise ImportFormatError(f"{option} is for {logs}, but there is none; allowed is to give one")
    if not any(kind in chosen and chosen[kind][0].takes(hint, kind) for kind in kinds):
        found = ", ".join(f"{n} is {f.name}" for f, n in (chosen[kind] for kind in kinds if kind in chosen))
        raise ImportFormatError(f"{option} has no use: {found}, whose columns and units are known")


def _require_clockless(hints: Hints, chosen: Mapping[Kind, tuple[Format, str]]) -> None:
    for hint, option in _CLOCKS:
        if getattr(hints, hint) is None or _taken(hint, [format for format, _ in chosen.values()]):
            continue
        # Of the log that there is, for when it began; of that which the option is about for its period.
        steps = "step" in chosen or (hint == "step_time_s")
        kind: Kind = "step" if steps and hint != "sample_time_s" else "sample"
        word = WORDS[kind]
        what = f"{chosen[kind][1]} has times of its own" if kind in chosen else f"there is no {word}"
        raise ImportFormatError(f"{option} is for a {word} without times, but {what}")


def require_used(
    hints: Hints,
    tables: Mapping[Literal["step", "sample", "metric"], OrderedRows],
    nulls: Collection[str] = (),
) -> None:
    """Refuse a device or a unit that no row has turned out to need; `nulls`: what cells held no value."""
    samples = tables.get("sample")
    if hints.device is not None and samples is not None:
        devices = samples.store.devices
        if hints.device not in devices:
            raise ImportFormatError(
                f"--device {hints.device} is for rows that name no device, but these name theirs: "
                f"{', '.join(sorted(devices)[:_NAMED])}"
            )
    for name, unit in hints.units:
        if name != TIME and not any(table.store.constants.is_held(name) for table in tables.values()):
            held = next((text for text in nulls if text.startswith(f"{name} is ")), None)
            why = f"no cell is one then: {held}" if held else f"none of the logs has a value of {name}"
            raise ImportFormatError(f"--unit {name}={unit}, but {why}")


def require_no_period(path: Path, column: str, hints: Hints) -> None:
    """Refuse ``--step-time`` and ``--sample-time`` for a log with a column of how much time had passed."""
    given = [option for hint, option in _CLOCKS[1:] if getattr(hints, hint) is not None]
    if given:
        raise ImportFormatError(
            f"{' and '.join(given)} is for a log that does not say when its rows were, but {path.name} does: "
            f"{column}"
        )


def require_own_times(path: Path, hints: Hints) -> None:
    """Refuse ``--started-at`` and the like for a log that has turned out to have times of its own."""
    given = [option for hint, option in _CLOCKS if getattr(hints, hint) is not None]
    if given:
        raise ImportFormatError(
            f"{' and '.join(given)} is for a log without times, but {path.name} has times of its own"
        )
