"""What a panel of the timeline holds, as plain data: curves, marks, or why there is nothing to show."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.report.data.curves import Band, Line
from thermograd.analysis.report.data.throttling import Lanes
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import duration_text

Kind = Literal[
    "spike", "nonfinite", "zero", "injection", "collapse", "reported_collapse", "evaluation", "checkpoint"
]

KIND_NAMES: dict[Kind, str] = {
    "spike": "spike alert",
    "nonfinite": "not finite (NaN or inf)",
    "zero": "zero, below any logarithmic axis",
    "injection": "fault injected on purpose",
    "collapse": "onset of a collapse",
    "reported_collapse": "collapse as the imported log has it",
    "evaluation": "evaluation",
    "checkpoint": "checkpoint",
}
AT_THE_BOTTOM = ("zero", "evaluation", "checkpoint")  # the other marks without a value are at the top
_FIRST_HARDWARE = ("rle", "temperature_c")  # of the printed figure, where they are measured
_INSTEAD = ("power_w", "sm_clock_mhz", "utilization_pct", "memory_used_bytes")
_SCALES = {"memory_used_bytes": (2.0**30, "GiB")}  # of units that are too small to be read


def drawn_scale(key: str) -> float:
    """Return by what a signal's values are divided as they are drawn."""
    return _SCALES[key][0] if key in _SCALES else 1.0


class Clock(NamedTuple):
    """The unit in which a time axis is written."""

    name: str
    symbol: str
    seconds: float


def clock_for(span_s: float) -> Clock:
    """Return a unit in which so long a time is no large number.

    Examples
    --------
    >>> [clock_for(hours * 3600).name for hours in (0.05, 1, 24, 168)]
    ['seconds', 'minutes', 'hours', 'days']
    """
    if span_s <= 300:
        return Clock("seconds", "s", 1.0)
    if span_s <= 3 * 3600:
        return Clock("minutes", "min", 60.0)
    return Clock("hours", "h", 3600.0) if span_s <= 4 * 86_400 else Clock("days", "d", 86_400.0)


@dataclass(frozen=True)
class Mark:
    """Something that happened at one time.

    A `value` of None belongs at the panel's edge: the bottom for the kinds `AT_THE_BOTTOM`, else the top. It
    may stand for a `count` of more than one near it. `end_s` is until when it lasted, None where not known.
    """

    kind: Kind
    time_s: float
    value: float | None
    text: str
    count: int = 1
    end_s: float | None = None


@dataclass(frozen=True, eq=False)
class Strip:
    """Too many marks of a kind, in n stretches of time from `start_s` on for `width_s`.

    `count` is how many began in each, `share` the part of it in which one lasted, where all ends are known.
    """

    kind: Kind
    start_s: Floats
    width_s: float
    count: Ints
    share: Floats | None = None

    @property
    def label(self) -> str:
        """What it is called in a legend."""
        darker = "more" if self.share is None else "longer"
        return f"{KIND_NAMES[self.kind]}: {int(self.count.sum()):,}, darker where {darker}"

    @property
    def shades(self) -> Floats:
        """How dark each stretch is, from 0 to 1."""
        shades: Floats = shade(self.count / self.count.max() if self.share is None else self.share)
        return shades

    def texts(self) -> list[str]:
        """Return what each stretch holds, in words."""
        counts = self.count.tolist()
        if self.share is None:
            return [counted_text(count, self.width_s) for count in counts]
        shares = self.share.tolist()
        return [counted_text(count, self.width_s, share) for count, share in zip(counts, shares, strict=True)]


def shade(part: Any) -> Any:
    """Return how dark a part of the whole is: all of it is opaque, the least still to be seen."""
    return 0.25 + 0.75 * part


def counted_text(count: int, width_s: float, share: float | None = None) -> str:
    """Return how many began within a stretch and how much of it they lasted, for the pointer.

    Examples
    --------
    >>> counted_text(37, 720.0), counted_text(0, 720.0, 0.5)
    ('37 within 12 min', '0 within 12 min, lasting 50 % of it')
    """
    within = f"{count:,} within {duration_text(width_s)}"
    return within if share is None else f"{within}, lasting {100 * share:.0f} % of it"


class AlertTick(NamedTuple):
    """An alert in a lane below the panels, or so many `events` in a stretch of time of so many seconds."""

    name: str
    severity: str
    time_s: float
    text: str
    events: int = 1
    width_s: float = 0.0
    end_s: float | None = None
    share: float | None = None  # of the stretch in which at least one lasted, where that is known


@dataclass(frozen=True, eq=False)
class Panel:
    """One panel: the curves of a signal, what happened, and what a reader must know about what is shown.

    `reason` is why there is nothing to show, empty where there is; `log` is whether the scale is logarithmic;
    what is `folded` opens on demand. `name` is what a script calls a signal of its own, whose key is ours.
    """

    key: str
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    log: bool = False
    reason: str = ""
    notes: tuple[str, ...] = ()
    band: Band | None = None
    strips: tuple[Strip, ...] = ()
    folded: bool = False
    name: str = ""

    @property
    def title(self) -> str:
        """Name of the signal."""
        return self.name or signal(self.key).title

    @property
    def unit(self) -> str:
        """Unit of the signal as it is printed; empty for none."""
        return _SCALES[self.key][1] if self.key in _SCALES else signal(self.key).symbol

    @property
    def curves(self) -> tuple[Line | Band, ...]:
        """All that has a range: the curves, and the band where there is one."""
        return (*self.lines, self.band) if self.band else self.lines

    @property
    def axis_title(self) -> str:
        """Name and unit for the vertical axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, eq=False)
class Panels:
    """The panels of a run on one time axis, in seconds since its first step or sample.

    `devices` has the label of every device that has a curve of its own, by its name, in the order of their
    colours; `alerts` are in time order; `origin_ns` is when the axis begins, UTC epoch ns, 0 where not known;
    `throttling` is when each device was throttled, and why.
    """

    panels: tuple[Panel, ...]
    start_s: float
    end_s: float
    devices: dict[str, str] = field(default_factory=dict)
    alerts: tuple[AlertTick, ...] = ()
    origin_ns: int = 0
    throttling: Lanes = field(default_factory=Lanes)

    @property
    def shown(self) -> tuple[Panel, ...]:
        """What a reader sees first: those of the printed figure, then the others."""
        known = [panel for panel in self.panels if not panel.reason and not panel.folded]
        return tuple(sorted(known, key=lambda panel: panel not in self.printed))

    @property
    def folded(self) -> tuple[Panel, ...]:
        """What a reader sees who asks for more."""
        return tuple(panel for panel in self.panels if not panel.reason and panel.folded)

    @property
    def printed(self) -> tuple[Panel, ...]:
        """The four of the printed figure: loss, gradient norm, RLE, temperature, or else what is measured."""
        by_key = {panel.key: panel for panel in self.panels}
        first = [by_key[key] for key in _FIRST_HARDWARE if key in by_key]
        known = [panel for panel in first if not panel.reason]
        known += [by_key[key] for key in _INSTEAD if key in by_key and not by_key[key].reason]
        hardware = known[:2] + [panel for panel in first if panel.reason][: max(0, 2 - len(known))]
        return (*(by_key[key] for key in ("loss", "grad_norm") if key in by_key), *hardware)

    @property
    def replaced(self) -> tuple[Panel, ...]:
        """The panels that would be printed had any device measured them."""
        usual = [panel for panel in self.panels if panel.key in _FIRST_HARDWARE]
        others = any(not panel.reason and panel.key not in _FIRST_HARDWARE for panel in self.printed[2:])
        return tuple(panel for panel in usual if panel.reason and others)

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


class Legend(NamedTuple):
    """What some panels draw, in the order in which a reader is told: each once.

    `devices` are those with a curve of their own, by name, and `places` their colours; `bands` the labels of
    bands, `dashed` those of dashed curves with their device, None for the training; `kinds` and `strips` the
    marks, alone and as strips.
    """

    devices: dict[str, str]
    places: dict[str, int]
    bands: list[str]
    dashed: list[tuple[str, str | None]]
    kinds: list[Kind]
    strips: dict[Kind, Strip]

    def told(self, kind: Kind) -> str:
        """Return what single marks of a kind are: beside a strip they are the highest only."""
        return f"{KIND_NAMES[kind]}, the highest" if kind in self.strips else KIND_NAMES[kind]


def legend_of(panels: Panels, shown: Iterable[Panel]) -> Legend:
    """Return what must be told of these panels: what they draw, and nothing else."""
    shown = tuple(shown)
    drawn = {line.device for panel in shown for line in panel.lines if not line.dashed}
    dashed = [(line.label, line.device) for panel in shown for line in panel.lines if line.dashed]
    marks = {mark.kind for panel in shown for mark in panel.marks}
    strips = {strip.kind: strip for panel in shown for strip in panel.strips}
    return Legend(
        {name: label for name, label in panels.devices.items() if name in drawn},
        {name: place for place, name in enumerate(panels.devices)},
        list(dict.fromkeys(panel.band.label for panel in shown if panel.band)),
        list(dict.fromkeys(dashed)),
        [kind for kind in KIND_NAMES if kind in marks],
        {kind: strips[kind] for kind in KIND_NAMES if kind in strips},
    )
