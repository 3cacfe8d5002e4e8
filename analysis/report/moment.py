"""The moment of an alert, drawn while the run goes on: of its log only the end is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from thermograd.analysis.display.numbers import without_middle
from thermograd.analysis.report.data.bands import cast_devices
from thermograd.analysis.report.data.event_marks import alert_marks
from thermograd.analysis.report.data.hardware import Hardware, signal_panel
from thermograd.analysis.report.data.panel import Panel
from thermograd.analysis.report.data.training import training_panel
from thermograd.analysis.report.page.document import require_extra
from thermograd.analysis.report.throttled_time import heat_spans
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.events import WATCHED_KINDS, Event, arrow_schema
from thermograd.store.log.following.follower import Follower
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.advice import ADVICE
from thermograd.store.telling.devices import device_label
from thermograd.store.telling.quantities import moment_text
from thermograd.store.text import printable

if TYPE_CHECKING:
    from thermograd.analysis.report.charts.card import PanelShown

_BEFORE_NS, _SINCE_NS = 120 * 10**9, 30 * 10**9
_LEAST_NS, _AFTER_NS = 10**9, 10**8
_MOST_EVENTS = 4000  # of each writer and kind
_BUCKETS = 500
_LONGEST_NAME = 30
_HARDWARE = ("temperature_c", "power_w", "sm_clock_mhz", "throttled_ratio", "utilization_pct")


def moment_png(run_dir: Path, alert: Mapping[str, Any]) -> bytes:
    """Return the picture of an alert: the two minutes before it and what is known since, as PNG.

    MissingExtraError if a package of the extra ``report`` is not installed.
    """
    require_extra()
    from thermograd.analysis.report.charts.moment import moment_picture

    time_ns = int(alert["time_ns"])
    data = recent_series(Run(run_dir), alert, time_ns - _BEFORE_NS, time_ns + _SINCE_NS)
    origin_ns, end_s = _span(data, time_ns)
    severity, look_at = str(alert["severity"]), ADVICE.get(str(alert["alert"]))
    what = f"{severity.upper()} {printable(alert['alert'])}"
    title = [what, without_middle(printable(data.run.name), _LONGEST_NAME), f"{moment_text(time_ns)} UTC"]
    return moment_picture(
        " · ".join(title),
        printable(alert.get("message") or ""),
        f"Look at: {look_at}" if look_at else "",
        severity,
        any(device.simulated for device in data.devices.values()),
        _shown(data, alert, origin_ns, end_s),
        (time_ns - origin_ns) / 1e9,
        end_s,
    )


def _span(data: RunSeries, time_ns: int) -> tuple[int, float]:
    """Return when the axis begins, and its length, s: all that was recorded, and no less than a second."""
    known = [data.step_time_ns, *(device.time_ns for device in data.devices.values())]
    first = [int(times[0]) for times in known if times.size]
    last = [int(times[-1]) for times in known if times.size]
    origin_ns = min([time_ns - _LEAST_NS, *first])
    return origin_ns, (max([time_ns + _AFTER_NS, *last]) - origin_ns) / 1e9


def recent_series(run: Run, alert: Mapping[str, Any], since_ns: int, until_ns: int) -> RunSeries:
    """Return a run's events of some time; where the alert is about a device, of that device alone."""
    every = Follower(run.path, WATCHED_KINDS, _MOST_EVENTS).poll()
    events = [event for event in every if since_ns <= event.values["time_ns"] <= until_ns]
    steps = _table("step", _of_kind(events, "step"))
    ranks = [rank for rank in steps.column("rank").to_pylist() if rank is not None]
    if ranks:
        steps = steps.filter(pa.compute.equal(steps.column("rank"), min(ranks)))
    facts, samples = run.facts.get("devices", {}), _of_kind(events, "sample")
    names = {str(values["device"]) for values in samples if values["device"]}
    only = {str(alert["device"])} & names if alert.get("device") else set()
    devices = {
        name: Device(
            name,
            facts.get(name, {}),
            _table("sample", [values for values in samples if values["device"] == name]),
            device_label(name, facts),
        )
        for name in sorted(only or names)
    }
    return RunSeries(run, steps, devices, _of_kind(events, "alert"), _of_kind(events, "mark"))


def _of_kind(events: Iterable[Event], kind: str) -> list[dict[str, Any]]:
    return [event.values for event in events if event.kind == kind]


def _table(kind: str, rows: list[dict[str, Any]]) -> pa.Table:
    table = pa.Table.from_pylist(rows, schema=arrow_schema(kind))
    return table.sort_by([("time_ns", "ascending"), ("seq", "ascending")])


def _shown(data: RunSeries, alert: Mapping[str, Any], origin_ns: int, end_s: float) -> "list[PanelShown]":
    """Return the panels to draw: the training's, and the hardware's where any was sampled."""
    from thermograd.analysis.report.charts.card import PanelShown

    kinds = {"grad_norm": "spike.grad", "loss": "spike.loss"}
    metric = str(alert.get("metric"))
    wanted = [metric, *kinds] if metric in kinds else [*kinds]
    norms = [
        training_panel(data, origin_ns, key, _BUCKETS, alert_marks(data, origin_ns, "spike", (kinds[key],)))
        for key in wanted
    ]
    training = next((panel for panel in norms if not panel.reason), norms[0])
    shown = [PanelShown(training)]
    if data.devices:
        shared = Hardware(data, origin_ns, end_s, cast_devices(data, ()), _BUCKETS)
        panels = [signal_panel(shared, key) for key in ([metric] * (metric in _HARDWARE) + [*_HARDWARE])]
        panel = next((panel for panel in panels if not panel.reason), panels[0])
        heat = heat_spans(list(data.devices.values()), origin_ns, end_s)
        shown.append(PanelShown(panel, _whose(panel, data), heat))
    return shown


def _whose(panel: Panel, data: RunSeries) -> str:
    if panel.reason or panel.band is not None:
        return panel.band.label if panel.band else ""
    devices = {line.device for line in panel.lines}
    return data.devices[str(devices.pop())].label if len(devices) == 1 else f"{len(devices)} devices"
