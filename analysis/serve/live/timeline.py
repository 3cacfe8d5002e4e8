"""The panels of a run, or of a part of it, as the page gets them: columns, thinned to its width."""

import math
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats
from thermograd.analysis.report.data.bands import Cast
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.report.data.curves import Band, Line
from thermograd.analysis.report.data.panel import KIND_NAMES, AlertTick, Mark, Panel, Panels, Strip
from thermograd.analysis.serve.live.recording import Recording

NARROWEST, WIDEST = 100, 2400
_LIVE_BUCKETS = 12  # of what came since the last look
_LIVE_CONTEXT_NS = 3 * 10**9  # readings before it that a share of time needs

Told = dict[str, Any]


def timeline(recording: Recording, cast: Cast, from_s: float | None, to_s: float | None, width: int) -> Told:
    """Return the panels between two times, in s since the run's first event; the whole run by default."""
    origin_ns, last_ns = recording.span_ns()
    end_s = max((last_ns - origin_ns) / 1e9, 1.0)
    begin_s, until_s = _range(from_s, to_s, end_s)
    whole = from_s is None and to_s is None
    ends = (None, None) if whole else tuple(origin_ns + round(each * 1e9) for each in (begin_s, until_s))
    data, begin_ns = recording.series(*ends), origin_ns + round(begin_s * 1e9)
    buckets = max(NARROWEST, min(WIDEST, width)) // 2
    panels = build_panels(data, buckets, within=(begin_ns, until_s - begin_s), cast=cast)
    return {
        "version": recording.version,
        "from_s": begin_s,
        "to_s": until_s,
        "end_s": end_s,
        "origin_ms": origin_ns // 10**6,
        "complete": recording.is_complete,
        "devices": list(panels.devices.values()),
        "panels": [panel_told(panel, panels, begin_s) for panel in panels.panels],
        "alerts": [_tick(tick, begin_s) for tick in panels.alerts],
        "kinds": KIND_NAMES,
    }


def _range(from_s: float | None, to_s: float | None, end_s: float) -> tuple[float, float]:
    begin = 0.0 if from_s is None else min(max(from_s, 0.0), end_s)
    until = end_s if to_s is None else min(max(to_s, 0.0), end_s)
    return (begin, until) if until - begin >= 1e-6 else (max(0.0, begin - 0.5), begin + 0.5)


def panel_told(panel: Panel, panels: Panels, begin_s: float) -> Told:
    """Return a panel, its times since the run's first event."""
    decimals = _decimals(panels.end_s)
    places = {name: place for place, name in enumerate(panels.devices)}
    return {
        "key": panel.key,
        "title": panel.title,
        "unit": panel.unit,
        "log": panel.log,
        "folded": panel.folded,
        "reason": panel.reason,
        "notes": list(panel.notes),
        "lines": [_line(line, places, begin_s, decimals) for line in panel.lines],
        "band": None if panel.band is None else _band(panel.band, begin_s, decimals),
        "marks": [_mark(mark, begin_s) for mark in panel.marks],
        "strips": [_strip(strip, begin_s) for strip in panel.strips],
    }


def _decimals(span_s: float) -> int:
    """Return with how many decimals times are told: a ten-thousandth of what is seen."""
    return max(0, math.ceil(4 - math.log10(max(span_s, 1e-6))))


def _line(line: Line, places: dict[str, int], begin_s: float, decimals: int) -> Told:
    return {
        "label": line.label,
        "device": None if line.device is None else places.get(line.device),
        "dashed": line.dashed,
        "t": _times(line.time_s, begin_s, decimals),
        "v": numbers(line.values),
    }


def _band(band: Band, begin_s: float, decimals: int) -> Told:
    columns = {"low": band.low, "middle": band.middle, "high": band.high}
    told = {name: numbers(values) for name, values in columns.items()}
    return {"label": band.label, "t": _times(band.time_s, begin_s, decimals)} | told


def _times(time_s: Floats, begin_s: float, decimals: int) -> list[float]:
    times: list[float] = np.round(time_s + begin_s, decimals).tolist()
    return times


def numbers(values: Floats) -> list[float | None]:
    """Return values to six digits, null for what is not finite."""
    known = np.isfinite(values)
    size = np.floor(np.log10(np.abs(values), where=known & (values != 0), out=np.zeros(values.size)))
    scale = np.power(10.0, np.clip(5 - size, -300, 300))
    rounded = np.round(np.where(known, values, 0.0) * scale) / scale
    return [
        value if is_known else None for value, is_known in zip(rounded.tolist(), known.tolist(), strict=True)
    ]


def _mark(mark: Mark, begin_s: float) -> Told:
    end_s = None if mark.end_s is None else mark.end_s + begin_s
    told = {"kind": mark.kind, "t": mark.time_s + begin_s, "v": mark.value, "text": mark.text}
    return told | {"count": mark.count, "end": end_s}


def _strip(strip: Strip, begin_s: float) -> Told:
    return {
        "kind": strip.kind,
        "t": (strip.start_s + begin_s).tolist(),
        "width": strip.width_s,
        "shade": np.round(strip.shades, 3).tolist(),
        "text": strip.texts(),
        "label": strip.label,
    }


def _tick(tick: AlertTick, begin_s: float) -> Told:
    told = tick._asdict() | {"time_s": tick.time_s + begin_s}
    return told | {"end_s": None if tick.end_s is None else tick.end_s + begin_s}


class Fresh:
    """What is to be added to panels that are drawn already: of each curve what comes after what was told."""

    def __init__(self) -> None:
        self._until_s: dict[tuple[str, str], float] = {}

    def forget(self) -> None:
        """Begin anew: all is drawn from the beginning."""
        self._until_s.clear()

    def since(self, recording: Recording, cast: Cast, first_ns: int) -> Told:
        """Return the points since a time that were not told yet, thinned; and whether there are marks."""
        origin_ns, last_ns = recording.span_ns()
        begin_ns = max(origin_ns, first_ns - _LIVE_CONTEXT_NS)
        data = recording.series(begin_ns, None)
        span_s, begin_s = max((last_ns - begin_ns) / 1e9, 1e-3), (begin_ns - origin_ns) / 1e9
        panels = build_panels(data, 2 * _LIVE_BUCKETS, within=(begin_ns, span_s), cast=cast)
        first_s = (first_ns - origin_ns) / 1e9
        marked = any(
            mark.time_s + begin_s >= first_s - 1e-6 for panel in panels.panels for mark in panel.marks
        )
        told = {
            panel.key: self._panel(panel, begin_s, first_s) for panel in panels.panels if not panel.reason
        }
        return {
            "version": recording.version,
            "end_s": (last_ns - origin_ns) / 1e9,
            "again": marked,
            "panels": {key: new for key, new in told.items() if new["lines"] or new["band"]},
        }

    def _panel(self, panel: Panel, begin_s: float, first_s: float) -> Told:
        lines = {}
        for line in panel.lines:
            time_s = line.time_s + begin_s
            new = self._new(panel.key, line.label, time_s, first_s)
            if new.any():
                cut = Line(line.label, None, time_s[new], line.values[new], 0, 0).thinned(_LIVE_BUCKETS)
                lines[line.label] = [np.round(cut.time_s, 3).tolist(), numbers(cut.values)]
        band = None
        if panel.band is not None:
            time_s = panel.band.time_s + begin_s
            new = self._new(panel.key, panel.band.label, time_s, first_s)
            columns = (panel.band.low, panel.band.middle, panel.band.high)
            band = [np.round(time_s[new], 3).tolist(), *(numbers(column[new]) for column in columns)]
            band = band if band[0] else None
        return {"lines": lines, "band": band}

    def _new(self, key: str, label: str, time_s: Floats, first_s: float) -> Any:
        """Return which points of a curve come after those that were told; of one not told yet, the first."""
        after = self._until_s.get((key, label), first_s - 1e-9)
        if time_s.size:
            self._until_s[key, label] = max(after, float(time_s.max()))
        return time_s > after
