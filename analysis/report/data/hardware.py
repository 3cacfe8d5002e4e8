"""The panels of the hardware: RLE, clock, throttled time, temperature and power of every device."""

from collections.abc import Sequence

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.report.data.curves import Line, decimation_notes, make_line
from thermograd.analysis.report.data.event_marks import onsets_s
from thermograd.analysis.report.data.panel import Mark, Panel
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.columns import signal

_SPOKEN = {"throttled_ratio": "reading of throttling"}


def missing_reason(device: Device, sensor: str) -> str:
    """Return why a device has no such sensor, as far as the run's facts tell; may be empty."""
    missing = device.facts.get("missing")
    if isinstance(missing, dict) and missing.get(sensor):
        return str(missing[sensor])
    if device.simulated:
        return "not part of the simulation"
    imported = "sensors" in device.facts and "missing" not in device.facts
    return "not in the imported log" if imported else ""


def rle_panel(data: RunSeries, origin_ns: int, buckets: int, collapses: list[Mark]) -> Panel:
    """Return the panel of the thermal load efficiency, with the collapses."""
    lines: list[Line] = []
    marks, notes = list(collapses), []
    for device in data.devices.values():
        for name, label in _rle_signals(device):
            values = device.signal(name)
            if values is not None and np.isfinite(values).any():
                lines.append(_line(data, device, label, values, origin_ns, buckets))
        if any(line.device == device.name for line in lines):
            marks += _reported_collapses(device, (device.time_ns - origin_ns) / 1e9)
            notes += _doubts(device, ("power_w", "a_load"))
            if not device.facts.get("rated_power_w") and device.signal("reported_rle") is None:
                notes.append(f"{device.name}: rated power is not known, utilisation stands in for the load.")
        else:
            notes.append(f"{device.name}: no RLE, {_why_no_rle(device)}.")
    return _panel("rle", lines, marks, notes) if lines else Panel("rle", reason=_absence(notes))


def signal_panel(
    data: RunSeries, origin_ns: int, key: str, buckets: int, marks: tuple[Mark, ...] = ()
) -> Panel:
    """Return the panel of one hardware signal (see `Device.signal`) of all devices."""
    spoken = _SPOKEN.get(key, signal(key).name)
    lines, notes = [], []
    for device in data.devices.values():
        values = device.signal(key)
        if values is None or not np.isfinite(values).any():
            reason = missing_reason(device, key) or "its readings hold none"
            notes.append(f"{device.name}: no {spoken}, {reason}.")
            continue
        lines.append(_line(data, device, device.label, values, origin_ns, buckets))
        notes += _doubts(device, (key,))
    return _panel(key, lines, marks, notes) if lines else Panel(key, reason=_absence(notes))


def _panel(key: str, lines: list[Line], marks: Sequence[Mark], notes: list[str]) -> Panel:
    return Panel(key, tuple(lines), tuple(marks), notes=(*decimation_notes(lines), *notes))


def _absence(notes: list[str]) -> str:
    """Return why no device has a curve, each having told why it has none."""
    return " ".join(notes) or "no device was sampled in this run"


def _line(data: RunSeries, device: Device, label: str, values: Floats, origin_ns: int, buckets: int) -> Line:
    known = np.isfinite(values)
    time_ns = device.time_ns if known.all() else device.time_ns[known]
    time_s = (time_ns - origin_ns) / 1e9
    return make_line(label, device.name, time_s, values[known], buckets, onsets_s(data, origin_ns))


def _rle_signals(device: Device) -> list[tuple[str, str]]:
    """Return which RLE to show: what an imported source had derived, else (or too) our estimator's."""
    label = device.label
    reported = device.signal("reported_rle") is not None
    signals = [("reported_rle", f"{label}, as reported")] if reported else []
    if device.signal("power_w") is not None and (device.facts.get("rated_power_w") or not reported):
        signals.append(("rle_smoothed", label))
    return signals


def _why_no_rle(device: Device) -> str:
    absent = [name for name in ("power_w", "utilization_pct") if device.signal(name) is None]
    reasons = [
        f"no {signal(name).name}" + (f" ({reason})" if (reason := missing_reason(device, name)) else "")
        for name in absent
    ]
    return "; ".join(reasons) or "its readings hold no value of it"


def _reported_collapses(device: Device, time_s: Floats) -> list[Mark]:
    values = device.signal("reported_collapse")
    if values is None:
        return []
    flagged = values == 1
    onsets = np.flatnonzero(flagged & ~np.append(False, flagged[:-1]))
    text = f"{device.name}: the imported log flags a collapse"
    return [Mark("reported_collapse", float(time_s[at]), None, text) for at in onsets]


def _doubts(device: Device, columns: tuple[str, ...]) -> list[str]:
    """Return what the run's facts doubt of the columns behind a curve."""
    return [f"{device.name}: {column} is {doubt}." for column in columns if (doubt := device.doubt(column))]
