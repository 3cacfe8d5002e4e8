"""The views and macros of `query` that are SQL: alignment and the surroundings of an alert."""

from collections.abc import Callable

import pyarrow as pa
from thermograd.store.events import column_names
from thermograd.store.query.data.alignment import SAMPLE


class LazyTable:
    """Arrow data that are computed when a query scans them."""

    def __init__(self, schema: pa.Schema, compute: Callable[[], pa.Table]) -> None:
        self._schema, self._compute = schema, compute

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._compute().__arrow_c_stream__(requested_schema)


# `_aligned` knows no tolerance: a sample that is too far away is taken out here, column by column, so that a
# query computes the columns that it names.
ALIGNED = """
CREATE MACRO aligned_with(tolerance_s) AS TABLE
SELECT {steps}, device, {samples}, CASE WHEN near THEN dt_s END AS dt_s
FROM (SELECT *, distance_ns <= round(CAST(tolerance_s AS DOUBLE) * 1e9) AS near FROM _aligned)
""".format(
    steps=", ".join(["run_id", "make_timestamp_ns(time_ns) AS time", "writer", *column_names("step")]),
    samples=", ".join(f"CASE WHEN near THEN {name} END AS {name}" for name in SAMPLE),
)
ALIGNED_VIEW = "CREATE VIEW aligned AS SELECT * FROM aligned_with(1.0)"

# What is not near is left out before words are made of it.
AROUND = """
CREATE MACRO around(moment, seconds) AS TABLE
WITH centre AS (
    SELECT run_id, onset_time_ns AS centre_ns FROM alerts WHERE CAST(seq AS VARCHAR) = CAST(moment AS VARCHAR)
    UNION ALL
    SELECT run_id, epoch_ns(TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS)) FROM runs
    WHERE TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS) IS NOT NULL
), happened AS (
    SELECT run_id, time_ns, centre_ns, 'step' AS kind, step, NULL AS device,
        'loss ' || coalesce(CAST(loss AS VARCHAR), '?') ||
        ', grad_norm ' || coalesce(CAST(grad_norm AS VARCHAR), '?') AS what FROM steps {near}
    UNION ALL
    SELECT run_id, time_ns, centre_ns, 'sample', NULL, device,
        concat_ws(', ', temperature_c || ' degC', power_w || ' W', sm_clock_mhz || ' MHz',
                  utilization_pct || ' %') FROM samples {near}
    UNION ALL
    SELECT run_id, time_ns, centre_ns, 'alert', step, device, alert || ': ' || message FROM alerts {near}
    UNION ALL
    SELECT run_id, time_ns, centre_ns, 'mark', step, NULL, concat_ws(': ', mark, text) FROM marks {near}
)
SELECT run_id, make_timestamp_ns(time_ns) AS time, (time_ns - centre_ns) / 1e9 AS dt_s,
    kind, step, device, what
FROM happened ORDER BY run_id, time_ns, kind
""".format(near="JOIN centre USING (run_id) WHERE abs(time_ns - centre_ns) <= seconds * 1e9")
