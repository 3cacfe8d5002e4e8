"""The panels of the hardware: a signal of every device, or of many devices a band and those that matter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.report.data.bands import Cast, Curve, make_band
from thermograd.analysis.report.data.curves import Line, averaged, decimation_notes, make_line
from thermograd.analysis.report.data.event_marks import onsets_s
from thermograd.analysis.report.data.panel import Mark, Panel, drawn_scale
from thermograd.analysis.run.series import Device, RunSeries
from thermograd.store.telling.columns import signal
from thermograd.store.telling.quantities import duration_text

_SPOKEN = {"throttled_ratio": "reading of throttling"}
_SHARES = ("throttled_ratio",)  # of a time: extremes of its readings are 0 and 1, whatever the share
_STRETCHES = 400  # of a band
_MOST_NAMES = 3  # of devices of which the same is said


def missing_reason(device: Device, sensor: str) -> str:
    """Return why a device has no such sensor, as far as the run's facts tell; may be empty."""
    if sensor in device.missing:
        return device.missing[sensor]
    if device.simulated:
        return "not part of the simulation"
    imported = "sensors" in device.facts and "missing" not in device.facts
    return "not in the imported log" if imported else ""


@dataclass(frozen=True)
class Hardware:
    """What all hardware panels share: the run, when its axis begins and ends, who is drawn, how finely."""

    data: RunSeries
    origin_ns: int
    end_s: float
    cast: Cast
    buckets: int


def rle_panel(shared: Hardware, collapses: Sequence[Mark]) -> Panel:
    """Return the panel of the thermal load efficiency, with the collapses."""
    drawn, marks = _Drawn(shared, "rle"), list(collapses)
    for device in shared.data.devices.values():
        signals = [
            (name, values) for name in _rle_signals(device) if (values := _known(device, name)) is not None
        ]
        for name, values in signals:
            reported = name == "reported_rle"
            drawn.add(device, values, ", as reported" * reported, dashed=reported and len(signals) > 1)
        if signals:
            marks += _reported_collapses(device, (device.time_ns - shared.origin_ns) / 1e9)
            drawn.doubt(device, ("power_w", "a_load"))
            if not device.facts.get("rated_power_w") and signals[0][0] != "reported_rle":
                drawn.note(device, "rated power is not known, utilisation stands in for the load.")
        else:
            drawn.note(device, f"no RLE, {_why_no_rle(device)}.")
    return drawn.panel(marks)


def signal_panel(shared: Hardware, key: str, marks: Sequence[Mark] = (), folded: bool = False) -> Panel:
    """Return the panel of one hardware signal (see `Device.signal`) of all devices."""
    spoken, drawn = _SPOKEN.get(key, signal(key).name), _Drawn(shared, key)
    for device in shared.data.devices.values():
        values = _known(device, key)
        if values is None:
            drawn.note(device, f"no {spoken}, {missing_reason(device, key) or 'its readings hold none'}.")
            continue
        drawn.add(device, values)
        drawn.doubt(device, (key,))
    return replace(drawn.panel(marks), folded=folded)


def _known(device: Device, key: str) -> Floats | None:
    return device.signal(key) if device.measures(key) else None


class _Drawn:
    """A panel as it grows, a device at a time."""

    def __init__(self, shared: Hardware, key: str) -> None:
        self._shared, self._key = shared, key
        self._lines: list[Line] = []
        self._together: dict[str, Curve] = {}
        self._notes: dict[str, list[str]] = {}

    def add(self, device: Device, values: Floats, more: str = "", dashed: bool = False) -> None:
        """Draw a device's values, which begin with its label and `more`."""
        shared, known = self._shared, np.isfinite(values)
        time_s = (device.time_ns[known] - shared.origin_ns) / 1e9
        values = values[known] / drawn_scale(self._key)
        if self._key in _SHARES and values.size > 4 * _STRETCHES:
            width_s = shared.end_s / _STRETCHES
            time_s, values = averaged(time_s, values, width_s)
            self.note(device, f"drawn as the share of each {duration_text(width_s)}.")
        if device.name in shared.cast.together:
            self._together[device.name] = time_s, values
        label = shared.cast.alone.get(device.name)
        if label is not None:
            keep = onsets_s(shared.data, shared.origin_ns)
            self._lines.append(
                make_line(label + more, device.name, time_s, values, shared.buckets, keep, dashed)
            )

    def note(self, device: Device, text: str) -> None:
        """Say something of a device; what is true of several is said once."""
        self._notes.setdefault(text, []).append(device.label)

    def doubt(self, device: Device, columns: tuple[str, ...]) -> None:
        """Say what the run's facts doubt of the columns behind a curve."""
        for column in columns:
            if doubt := device.doubt(column):
                self.note(device, f"{column} is {doubt}.")

    def panel(self, marks: Sequence[Mark]) -> Panel:
        """Return the panel, or why there is nothing to show."""
        notes = tuple(f"{_names(names)}: {text}" for text, names in self._notes.items())
        shared = self._shared
        if not self._lines and not self._together:
            return Panel(self._key, reason=" ".join(notes) or "no device was sampled in this run")
        band = make_band(shared.cast.label, self._together, shared.end_s, _STRETCHES)
        told = [band.note] if band else []
        told += [f"not drawn: {_names(shared.cast.left_out)}."] if shared.cast.left_out else []
        lines = tuple(self._lines)
        return Panel(
            self._key, lines, tuple(marks), notes=(*told, *decimation_notes(lines), *notes), band=band
        )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _MOST_NAMES else f"{len(names)} devices ({names[0]} and others)"


def _rle_signals(device: Device) -> list[str]:
    """Return which RLE to show: what an imported source had derived, else (or too) our estimator's."""
    reported = device.signal("reported_rle") is not None
    own = device.signal("power_w") is not None and (device.facts.get("rated_power_w") or not reported)
    return ["reported_rle"] * reported + ["rle_smoothed"] * bool(own)


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
    text = f"{device.label}: the imported log flags a collapse"
    return [Mark("reported_collapse", float(time_s[at]), None, text) for at in onsets]
