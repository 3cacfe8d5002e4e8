"""The points behind the figures as tables, so that they can be drawn again or checked."""

import io
from typing import TYPE_CHECKING, Any

from thermograd.analysis.report.data.curves import Band
from thermograd.analysis.report.data.panel import Panel, Panels
from thermograd.analysis.run.result import Analysis

if TYPE_CHECKING:
    import pyarrow as pa


FORMATS = ("csv", "parquet")
_COLUMNS = ("time_s", "value", "what", "series", "device", "text")


def figure_tables(panels: Panels, analysis: Analysis) -> "dict[str, pa.Table]":
    """Return one table a panel, ``figure_<panel>``, and ``lag_profile``, one of all lag profiles.

    Of a panel: the points as drawn, ``time_s`` since the run's first event, ``what`` is "curve", "lowest",
    "median" or "highest" of many devices together, or the kind of mark; ``value`` is null for a gap, a mark
    at the edge, and a stretch of time that counts many marks. Where a curve was thinned every extreme is
    there; ``export`` gives the whole log. Of the lags: n, r and the 95 % bound of
    every tested pair of signals, direction and lag, and of slow answers, where ``lag_s`` is null and
    ``memory_s`` the time in which each fades.
    """
    import pyarrow as pa

    schema = pa.schema(
        [("time_s", pa.float64()), ("value", pa.float64())] + [(n, pa.string()) for n in _COLUMNS[2:]]
    )
    tables = {
        f"figure_{panel.key}": pa.Table.from_pylist(_panel_rows(panel), schema)
        for panel in panels.panels
        if not panel.reason
    }
    rows = _lag_rows(analysis)
    return tables | ({"lag_profile": pa.Table.from_pylist(rows)} if rows else {})


def _panel_rows(panel: Panel) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in panel.lines:
        known = {"what": "curve", "series": line.label, "device": line.device, "text": None}
        for time_s, value in zip(line.time_s.tolist(), line.values.tolist(), strict=True):
            rows.append({"time_s": time_s, "value": None if value != value else value, **known})
    rows += _band_rows(panel.band) if panel.band else []
    marks = [(mark.time_s, mark.value, mark.kind, None, None, mark.text) for mark in panel.marks]
    marks += [
        (start_s + strip.width_s / 2, None, strip.kind, None, None, text)
        for strip in panel.strips
        for start_s, text in zip(strip.start_s.tolist(), strip.texts(), strict=True)
    ]
    return rows + [dict(zip(_COLUMNS, mark, strict=True)) for mark in marks]


def _band_rows(band: Band) -> list[dict[str, Any]]:
    courses = {"lowest": band.low, "median": band.middle, "highest": band.high}
    return [
        {"time_s": time_s, "value": None if value != value else value, "what": what}
        | {"series": band.label, "device": None, "text": None}
        for what, course in courses.items()
        for time_s, value in zip(band.time_s.tolist(), course.tolist(), strict=True)
    ]


def _lag_rows(analysis: Analysis) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for pair in analysis.pairs:
        which = {"x": pair.x, "y": pair.y, "device": pair.device, "direction": pair.family}
        lags = [(lag, None, r, pair.half_width) for lag, r in pair.own]
        slow = zip(pair.memories_s, pair.slow_profile, strict=True)
        points = lags + [(None, memory, r, pair.slow_half_width) for memory, r in slow]
        rows += [
            which | {"lag_s": lag, "memory_s": memory, "r": r, "bound": bound, "n": pair.n}
            for lag, memory, r, bound in points
        ]
    return rows


def table_bytes(table: "pa.Table", data_format: str) -> bytes:
    """Return a table as the content of a CSV or Parquet file."""
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    if data_format == "csv":
        pa_csv.write_csv(table, sink)
    else:
        pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
