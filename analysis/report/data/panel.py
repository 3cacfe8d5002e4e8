"""What a panel of the timeline holds, as plain data: curves, marks, or why there is nothing to show."""

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from thermograd.analysis.report.data.curves import Line
from thermograd.store.columns import signal

Kind = Literal["spike", "nonfinite", "zero", "injection", "collapse", "reported_collapse"]

KIND_NAMES: dict[Kind, str] = {
    "spike": "spike alert",
    "nonfinite": "not finite (NaN or inf)",
    "zero": "zero, below any logarithmic axis",
    "injection": "fault injected on purpose",
    "collapse": "onset of a collapse",
    "reported_collapse": "collapse as the imported log has it",
}
_PRINTED = ("loss", "grad_norm", "rle", "temperature_c")


class Clock(NamedTuple):
    """The unit in which a time axis is written."""

    name: str
    symbol: str
    seconds: float


def clock_for(span_s: float) -> Clock:
    """Return a unit in which so long a time is no large number.

    Examples
    --------
    >>> clock_for(90.0).name, clock_for(7200.0).name, clock_for(86_400.0).name
    ('seconds', 'minutes', 'hours')
    """
    if span_s <= 1200:
        return Clock("seconds", "s", 1.0)
    return Clock("minutes", "min", 60.0) if span_s <= 6 * 3600 else Clock("hours", "h", 3600.0)


@dataclass(frozen=True)
class Mark:
    """Something that happened at one time.

    A `value` of None belongs at the panel's edge: the bottom for "zero", the top for all others.
    """

    kind: Kind
    time_s: float
    value: float | None
    text: str


class AlertTick(NamedTuple):
    """An alert on the strip below the panels; `text` says how many more it stands for, if it does."""

    name: str
    severity: str
    time_s: float
    text: str


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel: the curves of a signal, what happened, and what a reader must know about what is shown.

    `reason` is why there is nothing to show, empty where there is; `log` is whether the scale is logarithmic.
    """

    key: str
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    log: bool = False
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name of the signal."""
        return signal(self.key).title

    @property
    def unit(self) -> str:
        """Unit of the signal as it is printed; empty for none."""
        return signal(self.key).symbol

    @property
    def axis_title(self) -> str:
        """Name and unit for the vertical axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, eq=False)
class Panels:
    """The panels of a run on one time axis, in seconds since its first step or sample.

    `devices` has the label of every device that has a curve, by its name, in the order of their colours;
    `alerts` are in time order.
    """

    panels: tuple[Panel, ...]
    start_s: float
    end_s: float
    devices: dict[str, str] = field(default_factory=dict)
    alerts: tuple[AlertTick, ...] = ()

    @property
    def printed(self) -> tuple[Panel, ...]:
        """The four of the printed figure: loss, gradient norm, RLE, temperature."""
        return tuple(panel for panel in self.panels if panel.key in _PRINTED)

    @property
    def clock(self) -> Clock:
        """The unit of the time axis as drawn."""
        return clock_for(self.end_s - self.start_s)

    @property
    def limits_s(self) -> tuple[float, float]:
        """Ends of the axis as drawn, with room for the marks at either end."""
        room = 0.01 * (self.end_s - self.start_s)
        return self.start_s - room, self.end_s + room

    def thinned(self, buckets: int) -> "Panels":
        """Return the same panels with curves of fewer points; every curve keeps its extremes."""
        panels = tuple(
            replace(panel, lines=tuple(line.thinned(buckets) for line in panel.lines))
            for panel in self.panels
        )
        return replace(self, panels=panels)

    def kinds(self, printed: bool = False) -> list[Kind]:
        """Return the kinds of mark that occur, in the order of `KIND_NAMES`."""
        panels = self.printed if printed else self.panels
        present = {mark.kind for panel in panels for mark in panel.marks}
        return [kind for kind in KIND_NAMES if kind in present]
