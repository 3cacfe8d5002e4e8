"""One line of what a program printed: the step that it tells of, its values, its time and its rank."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from thermograd.ingest.importers.hints.units import unit_named
from thermograd.ingest.importers.printed.programs import ELAPSED, NUMBER, TIME_PASSED, Program
from thermograd.ingest.importers.tables.time_column import as_number, epoch_moment
from thermograd.ingest.importers.text_files import whole_number
from thermograd.ingest.importers.timezones import Moment, read_time

LONGEST_LINE = 4096  # characters; what is longer is no step's line
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_TIME = re.compile(
    r"(?<![\d.])\d{4}([-/])\d\d\1\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?P<zone>Z|[+-]\d\d:?\d\d)?(?![\d:])"
)
_RANK = re.compile(r"\b(?:[Rr]ank|default)[ =]?(\d{1,6})\b|^\s*(?:(\d{1,5}): |\[\d,(\d{1,5})\]<std)")
_IS_NUMBER = re.compile(NUMBER, re.I)
COLUMNS = frozenset(  # of a step, that a line may have
    {"loss", "grad_norm", "max_grad_norm", "learning_rate", "epoch", "step_time_s", "tokens", "skipped"}
)
_GROUP_OF = {"step_time_ms": "step_time_s"}
_CLOCKED = frozenset({"step_time_s", ELAPSED})


class Printed(NamedTuple):
    """What a line tells."""

    step: int | None
    columns: dict[str, float]  # and what is made columns of, whose names begin with an underscore
    metrics: dict[str, float]  # everything else, by the program's names
    names: dict[str, str]  # what the program calls a column, where its line says that
    moment: Moment | None = None
    rank: int | None = None
    is_aside: bool = False  # of an evaluation, not of a step
    odd: tuple[tuple[str, str], ...] = ()  # columns with what is no number


def pieces(line: str) -> Iterator[tuple[str, bool]]:
    """Yield what was on the screen one after the other in a line, without colours, and whether it is whole.

    A progress bar goes back to the beginning of its line. What has no end may have been cut.
    """
    text = line.rstrip("\r\n")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    parts = text.split("\r")
    for part in parts[:-1]:
        if part.strip():
            yield part, True
    if parts[-1].strip():
        yield parts[-1], line.endswith("\n")


def read_line(program: Program, line: str) -> Printed | None:
    """Return what a line tells of a step or an evaluation; None for any other line."""
    if len(line) > LONGEST_LINE:
        return None
    for entry in program.entries:
        if match := entry.search(line):
            return _read(program, match, "")
    for aside, prefix in program.asides:
        if match := aside.search(line):
            return _read(program, match, prefix)._replace(is_aside=True)
    return None


def read_detail(program: Program, line: str) -> Printed | None:
    """Return what a line below an entry adds to it; None for one that is none."""
    if program.details is None or len(line) > LONGEST_LINE or not (match := program.details.search(line)):
        return None
    printed = Printed(None, {}, {}, {})
    _put(program, printed, match["name"].strip(), match["value"], None)
    return printed


def _read(program: Program, match: re.Match[str], prefix: str) -> Printed:
    head = match.string[: match.start()]
    rank = _rank(match.string[: match.end("step")] if _has(match) else head)
    printed = Printed(None, {}, {}, {}, _time(head), rank)
    named = {name: text for name, text in match.groupdict().items() if text is not None}
    rest = named.pop("rest", None)
    step = _take_step(program, named)
    if "time" in named:
        printed = _timed(printed, named.pop("time").replace("/", "-").replace(",", "."))
    if "rank" in named:
        printed = printed._replace(rank=_step(named.pop("rank")))
    odd = tuple((name, text) for name, text in named.items() if not _put_group(program, printed, name, text))
    for name, value, unit in _pairs(program, rest or ""):
        if prefix:
            printed.metrics[prefix + _told(name, unit)] = number_of(value)
        elif _column_of(program, name, unit)[0] == "step":
            step, printed.names["step"] = _step(value), _told(name, unit)
        else:
            _put(program, printed, name, value, unit)
    return printed._replace(step=step, odd=odd)


def _timed(printed: Printed, text: str) -> Printed:
    """Put a line's time: a date and time, a number since 1970, or a smaller one, since the start."""
    number = as_number(text)
    if number is None:
        return printed._replace(moment=read_time(text))
    moment = epoch_moment(number)
    if moment is None:
        printed.columns[TIME_PASSED] = float(number)
    return printed._replace(moment=moment)


def _has(match: re.Match[str]) -> bool:
    return "step" in match.re.groupindex


def _take_step(program: Program, named: dict[str, str]) -> int | None:
    """Return the number in the group `step`, which stays a value where a person says what it is, too."""
    text = named.pop("step", None)
    if text is None or not program.said:
        return _step(text)
    column, _ = program.columns.get("step", (None, None))
    is_step = column == "step" or "step" not in program.said
    if column != "step" and (column is not None or not is_step):
        named["step"] = text
    return _step(text) if is_step else None


class _Groups(NamedTuple):
    """Where a pattern of pairs has their parts among its groups; a part may stand at either of two."""

    name: tuple[int, ...]
    value: tuple[int, ...]
    unit: tuple[int, ...]


@lru_cache
def _groups(pattern: re.Pattern[str]) -> _Groups:
    places = pattern.groupindex
    return _Groups(
        *(
            tuple(places[key] - 1 for key in (part, part + "_") if key in places)
            for part in ("name", "value", "unit")
        )
    )


def _pairs(program: Program, rest: str) -> Iterator[tuple[str, str, str | None]]:
    if program.pairs is None:
        return
    at_name, at_value, at_unit = _groups(program.pairs)
    for match in program.pairs.finditer(rest):
        groups = match.groups()
        name, value, unit = _part(groups, at_name), _part(groups, at_value), _part(groups, at_unit)
        if name and value:
            yield name.strip(), value, unit


def _part(groups: tuple[str | None, ...], places: tuple[int, ...]) -> str | None:
    for place in places:
        if groups[place]:
            return groups[place]
    return None


def _column_of(program: Program, name: str, unit: str | None) -> tuple[str | None, str | None]:
    """Return the column that a name is of, and the unit that it is then in; a name may say its unit, too."""
    found = program.columns.get(name)
    if found is None and unit and program.said:
        found = program.columns.get(_told(name, unit))
    return found or (None, None)


def _put(program: Program, printed: Printed, name: str, value: str, unit: str | None) -> None:
    column, own_unit = _column_of(program, name, unit)
    if column is None or column in printed.columns:
        printed.metrics[_told(name, unit)] = number_of(value)
        return
    seconds = column in _CLOCKED
    printed.columns[column] = _seconds(value, own_unit or unit) if seconds else number_of(value)
    printed.names[column] = name if name in program.columns else _told(name, unit)


def _put_group(program: Program, printed: Printed, name: str, text: str) -> bool:
    """Put the value of a named group where it belongs; return whether it is a number."""
    if not _IS_NUMBER.fullmatch(text.strip()):
        return False
    if name in program.columns or _GROUP_OF.get(name, name) in program.said:
        _put(program, printed, name, text, None)
    elif name == "step_time_ms":
        printed.columns["step_time_s"] = _seconds(text, "ms")
    elif name.startswith("_") or name in COLUMNS:
        printed.columns[name] = number_of(text)
    else:
        printed.metrics[name] = number_of(text)
    return True


def _told(name: str, unit: str | None) -> str:
    return f"{name} ({unit})" if unit else name


def _seconds(value: str, unit: str | None) -> float:
    known = unit_named("step_time_s", "min" if unit == "m" else unit or "s")
    return number_of(value) if known is None else known.ours(number_of(value))


def number_of(text: str) -> float:
    """Return a printed number, with or without commas between its thousands."""
    return float(text.replace(",", ""))


def _step(text: str | None) -> int | None:
    """Return a step; None for one that is rounded (2e+3) or no whole number."""
    if text is None or not _IS_NUMBER.fullmatch(text) or "e" in text.lower():
        return None
    return whole_number(number_of(text))


def _time(head: str) -> Moment | None:
    """Return the time in front of an entry: one with a zone, where there are several, else the last."""
    found = list(_TIME.finditer(head))
    if not found:
        return None
    chosen = next((match for match in found if match["zone"]), found[-1])
    return read_time(chosen[0].replace("/", "-"))


def _rank(head: str) -> int | None:
    found = _RANK.search(head)
    return next((int(number) for number in found.groups() if number), None) if found else None
