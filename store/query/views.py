"""The views and macros of `query` that are SQL: alignment and the surroundings of an alert."""

from thermograd.store.events import column_names
from thermograd.store.query.data.alignment import SAMPLE


def _checked_seconds(name: str) -> str:
    """Return the SQL of a parameter that is a number of seconds, 0 or more; anything else is an error."""
    number, allowed = f"TRY_CAST({name} AS DOUBLE)", "allowed: a number of seconds, 0 or more"
    said = f"'{name} is ' || coalesce(CAST({name} AS VARCHAR), 'NULL') || '; {allowed}'"
    is_given = f"{number} >= 0 AND NOT isnan({number})"
    return f"(CASE WHEN {is_given} THEN {number} ELSE CAST(error({said}) AS DOUBLE) END)"


# A time, or the number of an alert; where there is no such alert, NULL finds nothing.
_CHECKED_MOMENT = """
(CASE WHEN moment IS NULL OR TRY_CAST(CAST(moment AS VARCHAR) AS UBIGINT) IS NOT NULL
    OR TRY_CAST(CAST(moment AS VARCHAR) AS TIMESTAMP_NS) IS NOT NULL THEN CAST(moment AS VARCHAR)
ELSE CAST(error('moment is ' || CAST(moment AS VARCHAR) ||
    '; allowed: the seq of an alert, or a time such as 2026-01-31 12:00:00') AS VARCHAR) END)
"""

# `_aligned` knows no tolerance: a sample that is too far away is taken out here, column by column, so that a
# query computes the columns that it names. The condition is for those that name no sample.
ALIGNED = """
CREATE MACRO aligned_with(tolerance_s) AS TABLE
SELECT {steps}, device, {samples}, CASE WHEN near THEN dt_s END AS dt_s
FROM (SELECT *, distance_ns <= round({tolerance_s} * 1e9) AS near FROM _aligned)
WHERE {tolerance_s} IS NOT NULL
""".format(
    steps=", ".join(["run_id", "make_timestamp_ns(time_ns) AS time", "writer", *column_names("step")]),
    samples=", ".join(f"CASE WHEN near THEN {name} END AS {name}" for name in SAMPLE),
    tolerance_s=_checked_seconds("tolerance_s"),
)
ALIGNED_VIEW = "CREATE VIEW aligned AS SELECT * FROM aligned_with(1.0)"

# What is not near is left out before words are made of it.
AROUND = """
CREATE MACRO around(moment, seconds) AS TABLE
WITH centre AS (
    SELECT run_id, onset_time_ns AS centre_ns FROM alerts WHERE CAST(seq AS VARCHAR) = {moment}
    UNION ALL
    SELECT run_id, epoch_ns(TRY_CAST({moment} AS TIMESTAMP_NS)) FROM runs
    WHERE TRY_CAST({moment} AS TIMESTAMP_NS) IS NOT NULL
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
""".format(
    moment=_CHECKED_MOMENT,
    near=f"JOIN centre USING (run_id) WHERE abs(time_ns - centre_ns) <= {_checked_seconds('seconds')} * 1e9",
)
