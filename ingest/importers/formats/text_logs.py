"""What training programs print, as it was written to a file: a format for each program of the table.

A log whose lines say when they were printed is one with a clock, one whose lines do not is one without.
"""

from functools import lru_cache, partial
from pathlib import Path

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.printed.own_pattern import program_of
from thermograd.ingest.importers.printed.programs import PROGRAMS, Program
from thermograd.ingest.importers.printed.reading import PrintedLog, kind_by_pattern, kind_of
from thermograd.ingest.importers.recording import Format, Head, Recording

_known_kind = lru_cache(maxsize=1)(kind_of)  # each format asks about the same file


def _is_log(program: Program, is_timed: bool, head: Head) -> bool:
    kind = _known_kind(head)
    return kind is not None and (kind.program.name, kind.is_timed) == (program.name, is_timed)


def _read(
    program: Program, is_timed: bool, name: str, paths: tuple[Path, ...], hints: Hints
) -> list[Recording]:
    recording = Recording(paths, "step", name)
    PrintedLog(recording, program, hints, is_timed).read()
    return [recording]


def _format(program: Program, is_timed: bool) -> Format:
    name = f"a log of {program.name} (text)" if is_timed else f"a log of {program.name} (text without times)"
    return Format(
        name,
        ("step",),
        partial(_is_log, program, is_timed),
        partial(_read, program, is_timed, name),
        has_clock=is_timed,
        is_printed=True,
    )


def _is_asked_for(is_timed: bool, head: Head, hints: Hints) -> bool:
    kind = kind_by_pattern(head, hints.pattern) if hints.pattern is not None else None
    return kind is not None and kind.is_timed == is_timed


def _read_own(is_timed: bool, paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    recording = Recording(paths, "step", OWN_TEXT_LOGS[0].name, hints=hints)
    PrintedLog(recording, program_of(hints.pattern or ""), hints, is_timed).read()
    return [recording]


def _own_format(is_timed: bool) -> Format:
    return Format(
        "a text log, by --pattern" if is_timed else "a text log without times, by --pattern",
        ("step",),
        lambda _: False,
        partial(_read_own, is_timed),
        has_clock=is_timed,
        hints=frozenset({"pattern", "units"}),
        asked_for=partial(_is_asked_for, is_timed),
    )


OWN_TEXT_LOGS = (_own_format(True), _own_format(False))
TEXT_LOGS = tuple(_format(program, is_timed) for program in PROGRAMS for is_timed in (True, False))
