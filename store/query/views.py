"""The views and macros of `query`: alignment, surroundings of an alert, efficiency."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

import pyarrow as pa
import pyarrow.dataset as ds
from thermograd.store.efficiency.columns import INPUT, SCHEMA, efficiency_of
from thermograd.store.events import column_names
from thermograd.store.runs.catalogue import Run
from thermograd.store.throttling.summary import COLUMNS, SCHEMA as THROTTLING, throttling_of

_CLASHING = frozenset(column_names("step")) | {"run_id", "writer", "time"}


class LazyTable:
    """Arrow data that are computed when a query scans them."""

    def __init__(self, schema: pa.Schema, compute: Callable[[], pa.Table]) -> None:
        self._schema, self._compute = schema, compute

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._compute().__arrow_c_stream__(requested_schema)


# The rule of DESIGN.md section 4, in SQL: of the samples at one time the one logged last, then the
# nearest of the last before and the first after, the earlier on a tie. DuckDB's own ASOF leaves open
# which of two equal times wins, so these are told apart first.
ALIGNED = """
CREATE MACRO aligned_with(tolerance_s) AS TABLE
WITH logged AS (
    SELECT * FROM samples
    QUALIFY row_number() OVER (PARTITION BY run_id, device, time_ns ORDER BY seq DESC, writer DESC) = 1
), grid AS (
    SELECT s.*, d.device FROM steps s JOIN (SELECT DISTINCT run_id, device FROM samples) d USING (run_id)
), before AS (
    SELECT g.*, l.time_ns AS before_ns
    FROM grid g ASOF LEFT JOIN logged l
    ON g.run_id = l.run_id AND g.device = l.device AND g.time_ns >= l.time_ns
), both_sides AS (
    SELECT b.*, l.time_ns AS after_ns
    FROM before b ASOF LEFT JOIN logged l
    ON b.run_id = l.run_id AND b.device = l.device AND b.time_ns <= l.time_ns
), chosen AS (
    SELECT * EXCLUDE (before_ns, after_ns),
        CASE WHEN after_ns IS NULL OR time_ns - before_ns <= after_ns - time_ns THEN before_ns
             ELSE after_ns END AS match_ns
    FROM both_sides
)
SELECT c.* EXCLUDE (match_ns), {columns},
    (l.time_ns - c.time_ns) / 1e9 AS dt_s
FROM chosen c LEFT JOIN logged l
ON c.run_id = l.run_id AND c.device = l.device AND c.match_ns = l.time_ns
   AND abs(l.time_ns - c.time_ns) <= tolerance_s * 1e9
""".format(
    columns=", ".join(
        f"l.{name} AS sample_{name}" if name in _CLASHING else f"l.{name}"
        for name in column_names("sample")
        if name != "device"
    )
)


ALIGNED_VIEW = "CREATE VIEW aligned AS SELECT * FROM aligned_with(1.0)"

AROUND = """
CREATE MACRO around(moment, seconds) AS TABLE
WITH centre AS (
    SELECT run_id, onset_time_ns AS centre_ns FROM alerts WHERE CAST(seq AS VARCHAR) = CAST(moment AS VARCHAR)
    UNION ALL
    SELECT run_id, epoch_ns(TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS)) FROM runs
    WHERE TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS) IS NOT NULL
), happened AS (
    SELECT run_id, time_ns, 'step' AS kind, step, NULL AS device,
        'loss ' || coalesce(CAST(loss AS VARCHAR), '?') ||
        ', grad_norm ' || coalesce(CAST(grad_norm AS VARCHAR), '?') AS what FROM steps
    UNION ALL
    SELECT run_id, time_ns, 'sample', NULL, device,
        concat_ws(', ', temperature_c || ' degC', power_w || ' W', sm_clock_mhz || ' MHz',
                  utilization_pct || ' %') FROM samples
    UNION ALL
    SELECT run_id, time_ns, 'alert', step, device, alert || ': ' || message FROM alerts
    UNION ALL
    SELECT run_id, time_ns, 'mark', step, NULL, concat_ws(': ', mark, text) FROM marks
)
SELECT h.run_id, make_timestamp_ns(h.time_ns) AS time, (h.time_ns - c.centre_ns) / 1e9 AS dt_s,
    h.kind, h.step, h.device, h.what
FROM happened h JOIN centre c USING (run_id)
WHERE abs(h.time_ns - c.centre_ns) <= seconds * 1e9
ORDER BY h.run_id, h.time_ns, h.kind
"""


def efficiency_view(samples: ds.Dataset, runs: Iterable[Run]) -> LazyTable:
    """Return the efficiency of every sample, computed at the first scan."""
    devices = {run.run_id: run.facts.get("devices", {}) for run in runs}

    @cache
    def compute() -> pa.Table:
        identity = ["run_id", "writer", "seq", "device"]
        parts = [SCHEMA.empty_table()]
        for (run_id, device), part in _by_device(samples, [*identity, *INPUT]):
            derived = efficiency_of(devices.get(run_id, {}).get(device, {}), part)
            columns = part.select([*identity, "time_ns"]).to_pylist()
            rows = [a | b for a, b in zip(columns, derived, strict=True)]
            parts.append(pa.Table.from_pylist(rows, SCHEMA))
        return pa.concat_tables(parts)

    return LazyTable(SCHEMA, compute)


def throttling_view(samples: ds.Dataset) -> LazyTable:
    """Return for how long each device was throttled by each cause, computed at the first scan."""

    @cache
    def compute() -> pa.Table:
        rows = [
            {"run_id": run_id, "device": device} | row
            for (run_id, device), part in _by_device(samples, ["run_id", "device", "seq", *COLUMNS])
            for row in throttling_of(part)
        ]
        return pa.Table.from_pylist(rows, THROTTLING)

    return LazyTable(THROTTLING, compute)


def _by_device(samples: ds.Dataset, columns: list[str]) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    """Yield the samples of each device of each run in time order, run by run."""
    table = samples.to_table(columns=columns)
    table = table.sort_by([(name, "ascending") for name in ("run_id", "device", "time_ns", "seq")])
    pairs = table.group_by(["run_id", "device"]).aggregate([]).to_pylist()
    for run_id, device in sorted((pair["run_id"], pair["device"]) for pair in pairs if pair["device"]):
        yield (run_id, device), table.filter((ds.field("run_id") == run_id) & (ds.field("device") == device))
