"""What came too late for a live answer, as facts for the log, so that a replay leaves out the same.

Several writers feed one stream layer, and they do not deliver in the order of time. Everything that joins
writers is made so that its result is a function of *which* events it took in, never of the order in which
they came: it sorts by event time and answers once no event that it would still take in can matter. What
is left of the order of delivery is then one thing: which events were too late. Those are counted, and the
live layer writes them into the log as a mark; a replay reads the marks and leaves the same events out.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

EVERY_DEVICE = "*"
LATE_MARK = "what the stream layer left out as too late"
_Key = tuple[str, str, str]  # from what (a device's join, "ranks"), writer, kind


class LateEvents:
    """Decides which events are too late, and remembers it: for the log live, from the log in a replay.

    `recorded` is True where this is what a log says, so that lateness itself decides nothing.

    Examples
    --------
    >>> live = LateEvents()
    >>> [live.decide("gpu", "agent", "sample", seq, too_late=seq != 9) for seq in (7, 8, 9, 12)]
    [True, True, False, True]
    >>> again = LateEvents.from_marks([live.mark()])
    >>> [again.decide("gpu", "agent", "sample", seq, too_late=False) for seq in (7, 8, 9, 12)]
    [True, True, False, True]
    """

    def __init__(self, recorded: bool = False) -> None:
        self.recorded = recorded
        self._ranges: dict[_Key, list[list[int]]] = {}

    @property
    def leaves_out(self) -> bool:
        """Whether a log says that anything was left out, so that each event has to be looked for."""
        return self.recorded and bool(self._ranges)

    def decide(self, what: str, writer: str, kind: str, seq: int, too_late: bool) -> bool:
        """Return whether `what` leaves an event out: if it is too late, or, in a replay, if it was."""
        if self.recorded:
            ranges = self._ranges.get((what, writer, kind), []) if self._ranges else []
            at = bisect_right(ranges, seq, key=itemgetter(0)) - 1
            return at >= 0 and seq <= ranges[at][1]
        if too_late:
            extend_ranges(self._ranges.setdefault((what, writer, kind), []), seq, seq)
        return too_late

    def mark(self, seen: Mapping[tuple[str, str], int] | None = None) -> dict[str, Any] | None:
        """Return the columns of a mark with what was left out since the last one, None if nothing was.

        `seen` is given at the end: the last ``seq`` that was looked at, by writer and kind. The mark is then
        always made; what was written later, the live layer never knew.
        """
        if self.recorded or not (self._ranges or seen is not None):
            return None
        detail: dict[str, Any] = {
            "left_out": [
                {"from": what, "writer": writer, "kind": kind, "seq": ranges}
                for (what, writer, kind), ranges in sorted(self._ranges.items())
            ]
        }
        if seen is not None:
            detail["seen"] = [[writer, kind, seq] for (writer, kind), seq in sorted(seen.items())]
        self._ranges = {}
        return {"mark": "note", "text": LATE_MARK, "detail": json.dumps(detail)}

    @classmethod
    def from_marks(cls, marks: Iterable[Mapping[str, Any]]) -> "LateEvents":
        """Read what the marks of a run say; a mark that says nothing of the kind is passed over."""
        result = cls(recorded=True)
        for values in marks:
            for entry in _detail(values).get("left_out", ()):
                for first, last in entry["seq"]:
                    key = (str(entry["from"]), str(entry["writer"]), str(entry["kind"]))
                    extend_ranges(result._ranges.setdefault(key, []), int(first), int(last))
        return result


def last_seen(marks: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int] | None:
    """Return how far the live layer had read each writer and kind at its end; None if that is not known."""
    found = None
    for values in marks:
        seen = _detail(values).get("seen")
        if seen is not None:
            found = {(str(writer), str(kind)): int(seq) for writer, kind, seq in seen}
    return found


def _detail(values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("text") != LATE_MARK:
        return {}
    try:
        detail = json.loads(values.get("detail") or "{}")
    except ValueError:  # a note that somebody else wrote with our words
        return {}
    return detail if isinstance(detail, dict) else {}


def extend_ranges(ranges: list[list[int]], first: int, last: int) -> None:
    """Add first to last at the end; what follows the last range without a gap extends it."""
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1][1] = last
    else:
        ranges.append([first, last])
