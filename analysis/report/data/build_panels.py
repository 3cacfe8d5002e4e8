"""The panels of a run, as plain arrays: training above, hardware below, on one time axis.

Drawing is left to `charts` (interactive) and `figures` (print); both draw the same panels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from thermograd.analysis.report.data.bands import Cast, cast_devices
from thermograd.analysis.report.data.event_marks import alert_marks, alert_ticks
from thermograd.analysis.report.data.hardware import Hardware, rle_panel, signal_panel
from thermograd.analysis.report.data.panel import Panel, Panels
from thermograd.analysis.report.data.strips import condensed
from thermograd.analysis.report.data.throttling import throttling_lanes
from thermograd.analysis.report.data.training import (
    happened_marks,
    metric_panels,
    training_panel,
    with_clip_bound,
)
from thermograd.analysis.run.series import RunSeries

_BUCKETS = 800  # two points each: more than a screen or a printed column resolves
_FEWEST_BUCKETS = 200
_MAIN_HARDWARE = ("rle", "sm_clock_mhz", "temperature_c", "power_w")
_MORE_TRAINING = ("learning_rate", "step_time_s", "tokens_per_s")
_MORE_HARDWARE = ("utilization_pct", "memory_used_bytes", "memory_temperature_c")


def build_panels(
    data: RunSeries,
    buckets: int = _BUCKETS,
    coupled: Sequence[str] = (),
    within: tuple[int, float] | None = None,
    cast: Cast | None = None,
) -> Panels:
    """Return a run's panels; of so many stretches of time each curve keeps the lowest and highest value.

    `coupled` names devices that are drawn by themselves among however many. Of a part of a run: `within` says
    when it begins, UTC epoch ns, and for how many seconds it lasts, `cast` who is drawn.
    """
    origin_ns, recorded_s = within or _span(data)
    end_s = recorded_s if recorded_s > 0 else 1.0
    cast = cast or cast_devices(data, coupled)
    each = max(_FEWEST_BUCKETS, 2 * buckets // max(2, len(cast.alone)))
    hardware = Hardware(data, origin_ns, end_s, cast, each)
    panels = tuple(_folded([*_training(data, origin_ns, buckets), *_hardware(hardware)]))
    drawn = {line.device for panel in panels for line in panel.lines}
    shown = {name: label for name, label in cast.alone.items() if name in drawn}
    condense = (replace(panel, **_condensed(panel, end_s)) for panel in panels)
    lanes = throttling_lanes(data, origin_ns, end_s)
    return Panels(tuple(condense), 0.0, end_s, shown, alert_ticks(data, origin_ns, end_s), origin_ns, lanes)


def _training(data: RunSeries, origin_ns: int, buckets: int) -> list[Panel]:
    injected = happened_marks(data, origin_ns, ("injection",))
    paused = happened_marks(data, origin_ns, ("evaluation", "checkpoint"))
    collapses = alert_marks(data, origin_ns, "collapse", ("collapse.",), edge=True)
    on_norm = [*alert_marks(data, origin_ns, "spike", ("spike.grad",)), *injected, *collapses]
    on_loss = [*alert_marks(data, origin_ns, "spike", ("spike.loss",)), *injected, *paused]
    norm = training_panel(data, origin_ns, "grad_norm", buckets, on_norm)
    return [
        training_panel(data, origin_ns, "loss", buckets, on_loss),
        with_clip_bound(norm, data, origin_ns, buckets),
        *metric_panels(data, origin_ns, buckets),
        *(training_panel(data, origin_ns, key, buckets, folded=True) for key in _MORE_TRAINING),
    ]


def _hardware(shared: Hardware) -> list[Panel]:
    collapses = alert_marks(shared.data, shared.origin_ns, "collapse", ("collapse.",), edge=True)
    return [
        rle_panel(shared, collapses),
        signal_panel(shared, "sm_clock_mhz", collapses),
        signal_panel(shared, "throttled_ratio", collapses),
        signal_panel(shared, "temperature_c"),
        signal_panel(shared, "power_w"),
        *(signal_panel(shared, key, folded=True) for key in _MORE_HARDWARE),
    ]


def _folded(panels: Sequence[Panel]) -> Iterator[Panel]:
    """Fold that nothing was throttled; unfold utilisation and memory where nothing else is measured."""
    bare = not any(panel.key in _MAIN_HARDWARE and not panel.reason for panel in panels)
    for panel in panels:
        calm = (
            panel.key == "throttled_ratio" and not panel.reason and max(c.highest for c in panel.curves) <= 0
        )
        yield replace(panel, folded=calm or (panel.folded and not (bare and panel.key in _MORE_HARDWARE)))


def _condensed(panel: Panel, end_s: float) -> dict[str, Any]:
    marks, strips = condensed(panel.marks, end_s)
    return {"marks": marks, "strips": strips}


def time_origin_ns(data: RunSeries) -> int:
    """Return when the time axis of a run begins: at its first step or sample, UTC epoch ns."""
    return _span(data)[0] or data.run.started_time_ns or 0


def _span(data: RunSeries) -> tuple[int, float]:
    """Return the time of the run's first event, and how many seconds later its last one is."""
    times = [data.step_time_ns, *(device.time_ns for device in data.devices.values())]
    times += [metric.time_ns for metric in data.metrics.values()]
    filled = [time_ns for time_ns in times if time_ns.size]
    if not filled:
        return 0, 0.0
    first, last = min(int(t[0]) for t in filled), max(int(t[-1]) for t in filled)
    return first, (last - first) / 1e9
