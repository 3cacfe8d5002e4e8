"""Silence: what gave signs of life and gives none any more, as a mark in the log and as the alert of it.

Who looks (an agent at its devices, at its host's ranks, at other hosts; a training at its agent) writes one
mark at the onset, with all that the alert says. The alert is a function of this one mark, so that a replay
finds the same, whatever else was logged meanwhile, and no clock but that of who looked has a part in it.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Annotated, Any, Literal

import msgspec
from thermograd.store.telling.quantities import duration_text, moment_text

SILENT = ("silent.device", "silent.rank", "silent.agent")
SILENCE_DETAIL = '{"alert":"silent.'  # the detail of a gap that tells of one begins so
PERIODS = 3.0  # after so many of its own usual periods without a sign of life something is silent
QUIET_S = 5.0  # it has to be back for so long for its silence to be over
_LEAST_INTERVALS = 3
_INTERVALS = 31
# the reading that stands for a device, and the unit in which people read it
_HEADLINES = {
    "temperature_c": "degC",
    "power_w": "W",
    "power_w_average": "W",
    "utilization_pct": "%",
    "sm_clock_mhz": "MHz",
    "memory_temperature_c": "degC",
    "energy_j": "J",
}

_Time = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Pause(msgspec.Struct, frozen=True):
    """Monotonic time in which who looks did not run itself: the detail of a mark, by its only name."""

    agent_paused_ns: tuple[_Time, _Time]


class UsualPeriod:
    """How far apart the signs of life of one thing usually are: the second largest of the last intervals.

    The largest may be a single hole; two alike are how it is.

    Examples
    --------
    >>> usual = UsualPeriod()
    >>> for interval_ns in (200, 201, 5000, 199, 202):
    ...     usual.add(interval_ns)
    >>> usual.ns
    202
    """

    def __init__(self, least_ns: int = 0, intervals: int = _INTERVALS) -> None:
        self._least_ns = least_ns
        self._recent: deque[int] = deque(maxlen=intervals)

    def add(self, interval_ns: int) -> None:
        """Learn an interval."""
        self._recent.append(interval_ns)

    @property
    def ns(self) -> int | None:
        """The usual interval; None where too few are known."""
        if len(self._recent) < _LEAST_INTERVALS:
            return None
        return max(self._least_ns, sorted(self._recent)[-2])


class Silence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that has fallen silent: the detail of the mark that says so.

    `devices`, `ranks` and `writers` are those that are silent; `device` is the one that the alert names.
    `onset_time_ns` is the time of the last sign of life, `metric` and `value` are the last reading.
    """

    alert: Literal["silent.device", "silent.rank", "silent.agent"]
    severity: Literal["info", "warning", "critical"]
    onset_time_ns: _Time
    definition: str
    devices: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    writers: tuple[str, ...] = ()
    host: str | None = None
    device: str | None = None
    step: _Time | None = None
    metric: str | None = None
    value: float | None = None
    threshold: float | None = None

    def mark(self, message: str) -> dict[str, Any]:
        """Return the columns of the mark that tells of it, `message` for people."""
        return {"mark": "gap", "text": message, "detail": msgspec.json.encode(self).decode()}


def silence_of(values: Mapping[str, Any]) -> Silence | None:
    """Return the silence that a mark tells of; None where it tells of none."""
    detail = values.get("detail")
    if values.get("mark") != "gap" or not isinstance(detail, str) or '"silent.' not in detail[:64]:
        return None
    try:
        return msgspec.json.decode(detail, type=Silence)
    except msgspec.DecodeError:  # a gap that somebody else wrote with our words
        return None


def pause_mark(from_ns: int, to_ns: int) -> dict[str, Any]:
    """Return the mark of a stretch of monotonic time in which the agent did not run: nobody's silence."""
    text = (
        f"the agent did not run for {duration_text((to_ns - from_ns) / 1e9)}: stopped, paused or starved, "
        "perhaps with all else here; no samples"
    )
    detail = msgspec.json.encode(_Pause((from_ns, to_ns))).decode()
    return {"mark": "gap", "text": text, "detail": detail}


def pause_of(values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the stretch of monotonic time in which, as a mark tells, the agent did not run."""
    detail = values.get("detail")
    if values.get("mark") != "gap" or not isinstance(detail, str) or "agent_paused_ns" not in detail[:64]:
        return None
    try:
        return msgspec.json.decode(detail, type=_Pause).agent_paused_ns
    except msgspec.DecodeError:  # a gap that somebody else wrote with our words
        return None


def silence_alert(values: Mapping[str, Any], silence: Silence) -> dict[str, Any]:
    """Return the alert of a mark that tells of a silence: every column that is set."""
    named = ("alert", "severity", "step", "device", "metric", "value", "threshold", "definition")
    return {
        "time_ns": int(values["time_ns"]),
        "monotonic_ns": int(values["monotonic_ns"]),
        "onset_time_ns": min(silence.onset_time_ns, int(values["time_ns"])),
        "message": str(values.get("text") or ""),
        **{name: getattr(silence, name) for name in named},
    }


def headline(reading: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return name and value of what stands for a reading; None where it says nothing of the kind."""
    for name in _HEADLINES:
        value = reading.get(name)
        if isinstance(value, int | float) and isfinite(value):
            return name, float(value)
    return None


def reading_text(reading: Mapping[str, Any], time_ns: int) -> str:
    """Return the last reading of a device, and when it was, for people.

    Examples
    --------
    >>> reading_text({"power_w": 299.6, "temperature_c": 66.0, "read_us": 1.0}, 1_795_000_000_000_000_000)
    'the last, at 11:06:40: 66 degC, 300 W'
    """
    at = f"the last, at {moment_text(time_ns, with_date=False)}"
    values = [(reading.get(name), unit) for name, unit in _HEADLINES.items()]
    known = [(value, unit) for value, unit in values if isinstance(value, int | float) and isfinite(value)]
    return f"{at}: {', '.join(f'{v:.3g} {unit}' for v, unit in known[:2])}" if known else at


def told_ranks(ranks: Iterable[int]) -> str:
    """Return ranks for people, those in a row as a range.

    Examples
    --------
    >>> told_ranks([3]), told_ranks([0, 1, 2, 5])
    ('rank 3', 'ranks 0-2, 5')
    """
    rows: list[list[int]] = []
    for rank in sorted(ranks):
        if rows and rows[-1][1] + 1 == rank:
            rows[-1][1] = rank
        else:
            rows.append([rank, rank])
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in rows)
    return f"rank{'s' * (rows != [] and rows[0][0] != rows[-1][1])} {text}"
