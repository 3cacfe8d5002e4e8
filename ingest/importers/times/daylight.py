"""Local times in UTC: the hour that clocks show twice at the end of summer time is told apart by file order.

A log is written while time goes on: where its local times go back by about an hour, the clock did. What the
order does not tell is not guessed.
"""

from dataclasses import dataclass

import numpy as np
from thermograd.ingest.importers.rows.row_store import groups_of
from thermograd.ingest.importers.timezones import SET_BACK_NS, Zone, iso_utc, offset_label

_SECOND_NS = 10**9
_MINUTE_NS = 60 * _SECOND_NS
_PART_ROWS = 1 << 20
_CLOSE = 5.0  # median distances of rows: as far as that, one row follows another without a hole


class DaylightError(ValueError):
    """A row's local time is no one moment; `row` is its place."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(text)
        self.row = row


@dataclass(frozen=True, slots=True)
class _Offsets:
    """Offsets from UTC, s, of each row: on the clock's first and second pass through its local time."""

    first: np.ndarray
    second: np.ndarray


def utc_times(local_ns: np.ndarray, sequences: np.ndarray, zone: Zone) -> np.ndarray:
    """Return the UTC times of rows in a file's order; rows of one sequence (a device's) follow each other.

    DaylightError where a local time never happened, or twice and the order does not tell which it is.
    """
    if zone.is_fixed:
        utc_ns = local_ns - zone.offsets_ns(0)[0]
    else:
        utc_ns = _in_changing_zone(local_ns, sequences, zone)
    _require_forward(utc_ns, sequences, zone)
    return utc_ns


def _in_changing_zone(local_ns: np.ndarray, sequences: np.ndarray, zone: Zone) -> np.ndarray:
    """Return the UTC times in a zone whose clocks are set forward and back."""
    offsets = _offsets(local_ns, zone)
    never = np.flatnonzero(offsets.first < offsets.second)
    if never.size:
        where, offset_ns = int(never[0]), int(offsets.first[never[0]]) * _SECOND_NS
        raise DaylightError(where, _never(int(local_ns[where]), offset_ns, zone))
    twice = offsets.first > offsets.second
    chosen = offsets.first.copy()
    for sequence in np.unique(sequences[twice]):
        rows = np.flatnonzero(sequences == sequence)
        for begin, end in _runs(twice[rows]):
            second = _second_pass(local_ns, rows, begin, end, offsets, zone)
            chosen[rows[second:end]] = offsets.second[rows[second:end]]
    utc_ns = chosen.astype(np.int64)
    utc_ns *= -_SECOND_NS
    utc_ns += local_ns
    return utc_ns


def _require_forward(utc_ns: np.ndarray, sequences: np.ndarray, zone: Zone) -> None:
    """Refuse times that still go back by about an hour, and through the hour again.

    By less, times are only in disorder; where they do not come to the same hour again, parts of the file are.
    """
    for _, rows in groups_of(sequences, int(sequences.max()) + 1):
        times = utc_ns[rows]
        back = -np.diff(times)
        for place in np.flatnonzero((back >= SET_BACK_NS[0]) & (back <= SET_BACK_NS[1])).tolist():
            before, after = times[: place + 1], times[place + 1 :]
            if ((after >= before.min()) & (after <= before[-1])).sum() > 1:  # one row is late, no hour is
                raise DaylightError(int(rows[place + 1]), _not_then(int(back[place]), zone))


def _offsets(local_ns: np.ndarray, zone: Zone) -> _Offsets:
    """Return the offsets of every row; zones change at whole minutes."""
    found = _Offsets(np.empty(len(local_ns), np.int32), np.empty(len(local_ns), np.int32))
    known: dict[int, tuple[int, int]] = {}
    for begin in range(0, len(local_ns), _PART_ROWS):
        part = slice(begin, begin + _PART_ROWS)
        minutes, inverse = np.unique(local_ns[part] // _MINUTE_NS, return_inverse=True)
        for minute in minutes.tolist():
            if minute not in known:
                known[minute] = zone.offsets_ns(minute * _MINUTE_NS)
        each = np.array([known[minute] for minute in minutes.tolist()]) // _SECOND_NS
        found.first[part], found.second[part] = each[inverse, 0], each[inverse, 1]
    return found


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return begin and end of each stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _second_pass(
    local_ns: np.ndarray, rows: np.ndarray, begin: int, end: int, offsets: _Offsets, zone: Zone
) -> int:
    """Return where in a run of times that happened twice the second pass begins; `end` where never."""
    local = local_ns[rows]
    first, second = (int(of[rows[begin]]) * _SECOND_NS for of in (offsets.first, offsets.second))
    back = np.flatnonzero(np.diff(local[begin:end]) < -(first - second) // 2)
    if back.size == 1:
        return begin + int(back[0]) + 1
    limit = _CLOSE * float(np.median(np.abs(np.diff(local)))) if local.size > 1 else 0.0
    limit = min(max(limit, _MINUTE_NS), first - second)
    follows = begin > 0 and local[begin] - local[begin - 1] < limit
    leads = end < local.size and local[end] - local[end - 1] < limit
    if back.size or follows == leads:
        alone = begin == 0 and end == local.size
        raise DaylightError(int(rows[begin]), _twice(int(local[begin]), (first, second), alone, zone))
    return end if follows else begin


def _twice(local_ns: int, offsets: tuple[int, int], alone: bool, zone: Zone) -> str:
    first, second = (offset_label(offset // 10**9) for offset in offsets)
    told = (
        f"local time {iso_utc(local_ns)} happened twice in {zone.label}, and the order of the rows does not"
    )
    if alone:
        return f"{told} tell which one it is; give --timezone {first} for the first, {second} for the second"
    return (
        f"{told} show both: if its clock has no summer time, give its offset; if rows are missing or sorted, "
        f"import those before the change with --timezone {first}, and those after it with {second}"
    )


def _not_then(back_ns: int, zone: Zone) -> str:
    return (
        f"the time goes back by {back_ns / _MINUTE_NS:.0f} min, as a clock's does at the end of summer time, "
        f"but {zone.label} has none then; give --timezone as the name of the clock's zone, e.g. "
        "Europe/Vienna; if the clock was set, import the rows before and after that apart"
    )


def _never(local_ns: int, offset_ns: int, zone: Zone) -> str:
    return (
        f"local time {iso_utc(local_ns)} never happened in {zone.label}, so its clock did not follow that "
        "zone; give --timezone as the zone that it followed, or, if it has no summer time, as its offset, "
        f"e.g. {offset_label(offset_ns // 10**9)}"
    )
