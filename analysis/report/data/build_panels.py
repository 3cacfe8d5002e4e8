"""The panels of a run, as plain arrays: training above, hardware below, on one time axis.

Drawing is left to `charts` (interactive) and `figures` (print); both draw the same panels.
"""

from thermograd.analysis.report.data.event_marks import alert_marks, alert_ticks
from thermograd.analysis.report.data.hardware import rle_panel, signal_panel
from thermograd.analysis.report.data.panel import Panels
from thermograd.analysis.report.data.training import injection_marks, training_panel
from thermograd.analysis.run.series import RunSeries

_BUCKETS = 800  # two points each: more than a screen or a printed column resolves
_FEWEST_BUCKETS = 200


def build_panels(data: RunSeries, buckets: int = _BUCKETS) -> Panels:
    """Return a run's panels; of so many stretches of time each curve keeps the lowest and highest value."""
    origin_ns, end_s = _span(data)
    devices = {name: device.label for name, device in data.devices.items()}
    each = max(_FEWEST_BUCKETS, 2 * buckets // max(2, len(devices)))
    collapses = alert_marks(data, origin_ns, "collapse", ("collapse.",), edge=True)
    injected = injection_marks(data, origin_ns)
    happened = [*alert_marks(data, origin_ns, "spike", ("spike.grad",)), *injected, *collapses]
    on_loss = [*alert_marks(data, origin_ns, "spike", ("spike.loss",)), *injected]
    edge = tuple(collapses)
    panels = (
        training_panel(data, origin_ns, "loss", buckets, on_loss),
        training_panel(data, origin_ns, "grad_norm", buckets, happened),
        rle_panel(data, origin_ns, each, collapses),
        signal_panel(data, origin_ns, "sm_clock_mhz", each, edge),
        signal_panel(data, origin_ns, "throttled_ratio", each, edge),
        signal_panel(data, origin_ns, "temperature_c", each),
        signal_panel(data, origin_ns, "power_w", each),
    )
    drawn = {line.device for panel in panels for line in panel.lines}
    shown = {name: label for name, label in devices.items() if name in drawn}
    return Panels(panels, 0.0, end_s if end_s > 0 else 1.0, shown, alert_ticks(data, origin_ns))


def time_origin_ns(data: RunSeries) -> int:
    """Return when the time axis of a run begins: at its first step or sample, UTC epoch ns."""
    return _span(data)[0] or data.run.started_time_ns or 0


def _span(data: RunSeries) -> tuple[int, float]:
    """Return the time of the run's first event, and how many seconds later its last one is."""
    times = [data.step_time_ns, *(device.time_ns for device in data.devices.values())]
    filled = [time_ns for time_ns in times if time_ns.size]
    if not filled:
        return 0, 0.0
    first, last = min(int(t[0]) for t in filled), max(int(t[-1]) for t in filled)
    return first, (last - first) / 1e9
