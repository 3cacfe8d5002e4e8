"""Where the numbers of a page are from: the queries and the versions."""

from importlib.metadata import PackageNotFoundError, version

from thermograd.analysis.run.energy import ENERGY_SQL
from thermograd.store.version import __version__

_PACKAGES = ("numpy", "scipy", "pyarrow", "duckdb", "river")
_DRAWING = ("matplotlib", "vl-convert-python", "tsdownsample")
_QUERIES = {
    "Steps, losses and gradient norms": """\
SELECT count(*) AS steps, min(time) AS first, max(time) AS last, arg_min(loss, time_ns) AS first_loss,
  arg_max(loss, time_ns) AS last_loss, max(grad_norm) FILTER (isfinite(grad_norm)) AS highest_norm,
  count(*) FILTER (NOT isfinite(grad_norm)) AS norms_not_finite
FROM steps WHERE run_id = '{run_id}'""",
    "Steps matched with each device, and how far apart": """\
SELECT device, count(*) AS steps, count(dt_s) AS matched, median(abs(dt_s)) AS median_dt_s
FROM aligned WHERE run_id = '{run_id}' GROUP BY device ORDER BY device""",
    "Readings of each device": """\
SELECT device, count(*) AS samples, min(temperature_c) AS lowest_c, max(temperature_c) AS highest_c,
  avg(power_w) AS mean_w, max(power_w) AS highest_w
FROM samples WHERE run_id = '{run_id}' GROUP BY device ORDER BY device""",
    "Efficiency and its collapses": """\
SELECT device, count(rle) AS n, avg(rle) AS mean_rle, count(*) FILTER (collapse) AS samples_in_collapse
FROM efficiency WHERE run_id = '{run_id}' GROUP BY device ORDER BY device""",
    "Alerts": """\
SELECT alert, severity, count(*) AS alerts, min(make_timestamp_ns(onset_time_ns)) AS first
FROM alerts WHERE run_id = '{run_id}' GROUP BY ALL ORDER BY alerts DESC""",
    "Energy: whole recording, training, per step": ENERGY_SQL,
}
_ACROSS_RUNS = {
    "Steps and last loss of each run": """\
SELECT run_id, count(*) AS steps, arg_max(loss, time_ns) AS last_loss
FROM steps WHERE run_id IN ({run_ids}) GROUP BY run_id ORDER BY run_id""",
    "Readings of each device of each run": """\
SELECT run_id, device, count(*) AS samples, avg(temperature_c) AS mean_c, avg(power_w) AS mean_w
FROM samples WHERE run_id IN ({run_ids}) GROUP BY run_id, device ORDER BY run_id, device""",
}


def queries(run_id: str) -> dict[str, str]:
    """Return the SQL behind the report's counts and sums, by what it tells."""
    quoted = run_id.replace("'", "''")
    return {name: sql.replace("{run_id}", quoted) for name, sql in _QUERIES.items()}


def queries_across(run_ids: list[str]) -> dict[str, str]:
    """Return the SQL behind the counts of several runs, by what it tells."""
    quoted = ", ".join("'" + run_id.replace("'", "''") + "'" for run_id in run_ids)
    return {name: sql.replace("{run_ids}", quoted) for name, sql in _ACROSS_RUNS.items()}


def versions_text() -> str:
    """Return the versions that made a page, our own first."""
    found = {name: _version(name) for name in _PACKAGES + _DRAWING}
    return ", ".join([f"thermograd {__version__}", *(f"{name} {v}" for name, v in found.items() if v)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
