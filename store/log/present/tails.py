"""The live events of a kind where all of them stand in tails, without Arrow, which takes longest to load.

A run that is young, or was killed young, has nothing else.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.errors import LogError
from thermograd.store.events import COMMON
from thermograd.store.files import MOST_SEQ, Segment, open_segments, read_file
from thermograd.store.log.tail_codec import MOST_TAIL_BYTES, codec_of_tail

_MOST_BYTES = 4 << 20  # of a process: they take as long to be scanned row by row as Arrow to be loaded
_scanned = {"bytes": 0}


def tails_pay() -> bool:
    """Return whether this process is faster without Arrow: it has not loaded it, and has scanned little."""
    return "pyarrow" not in sys.modules and _scanned["bytes"] < _MOST_BYTES


class TailEvents(NamedTuple):
    """Events of one tail, in order: the names of its columns, ``seq`` first, and its rows."""

    names: Sequence[str]
    rows: list[tuple[Any, ...]]


def tail_events(run_dir: Path, kind: str) -> list[tuple[str, TailEvents]] | None:
    """Return what is whole in the tails of a kind, in their order, with their writers.

    None where Arrow has to read more: there are streams, or rows without a possible number or a time.
    """
    found: list[tuple[str, TailEvents]] = []
    for segment in reversed(open_segments(run_dir, "tail")):  # newest first: see `snapshot`
        if segment.kind == kind:
            with suppress(FileNotFoundError):
                found.append((segment.writer, _events(segment)))
    if any(segment.kind == kind for segment in open_segments(run_dir, "arrows")):
        return None
    odd = (row for _, each in found for row in each.rows if row[0] >= MOST_SEQ or None in row[: len(COMMON)])
    return None if any(odd) else found[::-1]


def _events(segment: Segment) -> TailEvents:
    """Read a tail; none of what it has is of another kind. Raises FileNotFoundError where it has gone."""
    try:
        data = read_file(segment.path, MOST_TAIL_BYTES)
        codec, offset = codec_of_tail(data)
    except FileNotFoundError:
        raise
    except (OSError, LogError):
        return TailEvents((), [])
    if codec.kind != segment.kind:
        return TailEvents((), [])
    _scanned["bytes"] += len(data)
    return TailEvents(codec.names, codec.scan(data, offset, segment.first).rows)


def fresh_events(
    tails: Iterable[tuple[str, TailEvents]], sealed: Iterable[Segment]
) -> dict[str, list[TailEvents]]:
    """Return of each writer the events of its tails that are in no sealed file, each once."""
    next_seq = {segment.writer: (segment.last or 0) + 1 for segment in sorted(sealed)}
    live: dict[str, list[TailEvents]] = {}
    for writer, (names, rows) in tails:
        fresh = [row for row in rows if row[0] >= next_seq.get(writer, 0)]
        if fresh:
            live.setdefault(writer, []).append(TailEvents(names, fresh))
            next_seq[writer] = fresh[-1][0] + 1
    return live
