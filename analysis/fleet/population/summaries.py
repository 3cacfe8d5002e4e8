"""What each device did in each run, at conditions that can be matched: one SQL over a chunk of runs.

A summary is one number of one device in one run: power at a clock, temperature at a power, the share of time
throttled for heat, the time and the energy of a step. Conditions are cells (30 MHz, 25 W) under load, or the
training. What is not measured has no row.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from thermograd.store.errors import ThermogradError
from thermograd.store.files import open_segments, sealed_segments
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import run_config
from thermograd.store.telling.devices import is_simulated

CHUNK_RUNS = 50
_FEWEST_SAMPLES = 30  # of a cell
_OF_THE_PLACE = ("seed", "dir", "path", "name", "file", "id", "url", "host", "port", "token")

SUMMARY_SCHEMA = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("run_id", "device", "identity", "host", "model", "part", "driver")
        ),
        ("simulated", pa.bool_()),
        ("power_limit_w", pa.float64()),
        ("metric", pa.string()),
        ("cell", pa.float64()),
        ("training", pa.string()),
        ("value", pa.float64()),
        ("samples", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared: its unit, what it is compared at, and what else may move it."""

    name: str
    unit: str
    at: str  # unit of its cells; "" for none
    per_training: bool
    confounds: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("power_w", "W", "MHz", False, "workload, driver, temperature"),
        Metric("temperature_c", "°C", "W", False, "ambient temperature, airflow, place in the rack"),
        Metric("throttled_ratio", "", "", False, "ambient temperature, airflow, workload"),
        Metric("step_time_s", "s", "", True, "the slowest device of its job, the network, the input"),
        Metric("energy_per_step_j", "J", "", True, "ambient temperature, clocks"),
    )
}

# Of the samples under load: a device that idles has the power of its idling.
_SQL = """
WITH s AS (
  SELECT *, coalesce(utilization_pct >= 80, true) AS busy,
    time_ns - lag(time_ns) OVER w AS passed_ns,
    throttled_thermal_ns - lag(throttled_thermal_ns) OVER w AS throttled_ns
  FROM samples WINDOW w AS (PARTITION BY run, device ORDER BY time_ns)
), ends AS (
  SELECT run, min(time_ns) AS first_ns, max(time_ns) AS last_ns, count(DISTINCT step) AS steps,
    median(step_time_s) FILTER (step_time_s > 0 AND isfinite(step_time_s)) AS step_time_s
  FROM steps GROUP BY run
), during AS (
  SELECT run, device, first_ns, last_ns, steps, step_time_s,
    max(energy_j) - min(energy_j) AS counted_j,
    avg(power_w) AS mean_w, max(time_ns) - min(time_ns) AS covered_ns,
    count(energy_j) AS counts, count(power_w) AS powers
  FROM samples JOIN ends USING (run) WHERE time_ns BETWEEN first_ns AND last_ns GROUP BY ALL
), training AS (
  SELECT *, (last_ns - first_ns) / (steps - 1) AS step_ns FROM during
  WHERE steps > 1 AND covered_ns >= 0.8 * (last_ns - first_ns) AND (counts > 1 OR powers > 1)
), limits AS (
  SELECT run, device, median(power_limit_w) AS power_limit_w FROM samples GROUP BY ALL
), found AS (
  SELECT run, device, 'power_w' AS metric, round(sm_clock_mhz / 30) * 30 AS cell, median(power_w) AS value,
    count(*) AS samples
  FROM s WHERE busy AND isfinite(power_w) AND sm_clock_mhz > 0 GROUP BY ALL
  UNION ALL
  SELECT run, device, 'temperature_c', round(power_w / 25) * 25, median(temperature_c), count(*)
  FROM s WHERE busy AND isfinite(temperature_c) AND power_w > 0 AND isfinite(power_w) GROUP BY ALL
  UNION ALL
  SELECT run, device, 'throttled_ratio', NULL, sum(throttled_ns) / sum(passed_ns), count(*)
  FROM s WHERE busy AND throttled_ns >= 0 AND passed_ns > 0 GROUP BY ALL
  UNION ALL
  SELECT run, device, 'step_time_s', NULL, step_time_s, steps FROM during WHERE step_time_s IS NOT NULL
  UNION ALL
  SELECT run, device, 'energy_per_step_j', NULL,
    step_ns * CASE WHEN counts > 1 AND counted_j > 0 THEN counted_j / covered_ns ELSE mean_w / 1e9 END, powers
  FROM training
)
SELECT found.*, power_limit_w FROM found LEFT JOIN limits USING (run, device)
WHERE samples >= $fewest AND value IS NOT NULL AND isfinite(value)
ORDER BY run, device, metric, cell
"""
_COLUMNS = {
    "sample": (
        "device", "time_ns", "utilization_pct", "power_w", "temperature_c", "sm_clock_mhz", "power_limit_w",
        "throttled_thermal_ns", "energy_j",
    ),
    "step": ("time_ns", "step", "step_time_s"),
}  # fmt: skip


def summaries_of(
    runs: Sequence[Run], each: Callable[[int], None] = lambda done: None
) -> tuple[pa.Table, dict[str, str]]:
    """Return the summaries of runs, and why a run has none where it could not be read.

    `each` is told after every chunk how many runs are done. A chunk that cannot be read as a whole is read
    run by run, so that one damaged run costs no other.
    """
    tables, errors = [SUMMARY_SCHEMA.empty_table()], {}
    for first in range(0, len(runs), CHUNK_RUNS):
        chunk = runs[first : first + CHUNK_RUNS]
        for part, error in _of_chunk(chunk):
            if error is None:
                tables.append(part)
            else:
                errors[error[0]] = error[1]
        each(first + len(chunk))
    return pa.concat_tables(tables), errors


def _of_chunk(runs: Sequence[Run]) -> Iterator[tuple[pa.Table, tuple[str, str] | None]]:
    import duckdb

    try:
        yield _summaries(runs), None
    except (duckdb.Error, pa.ArrowException, OSError, ThermogradError) as error:
        if len(runs) == 1:
            yield (
                SUMMARY_SCHEMA.empty_table(),
                (runs[0].run_id, f"{type(error).__name__}: {error}".split("\n")[0]),
            )
            return
        for run in runs:
            yield from _of_chunk([run])


def _summaries(runs: Sequence[Run]) -> pa.Table:
    import duckdb

    with duckdb.connect(config={"threads": 2}) as connection:
        for kind, name in (("sample", "samples"), ("step", "steps")):
            columns = ", ".join(_COLUMNS[kind])
            parts = list(_parts(connection, runs, kind, columns))
            connection.execute(f"CREATE TEMP VIEW {name} AS {' UNION ALL '.join(parts)}")
        rows = connection.execute(_SQL, {"fewest": _FEWEST_SAMPLES}).fetchall()
    facts = {str(place): _RunFacts(run) for place, run in enumerate(runs)}
    found = [row for values in rows if (row := facts[values[0]].row(*values[1:])) is not None]
    return pa.Table.from_pylist(found, SUMMARY_SCHEMA)


def _parts(connection: Any, runs: Sequence[Run], kind: str, columns: str) -> Iterator[str]:
    """Yield a SELECT for the sealed files of all runs, and one for each run that has open files."""
    sealed: list[tuple[str, str]] = []
    empty = f"SELECT '' AS run, {columns} FROM none_{kind}"
    connection.register(f"none_{kind}", read_kind_empty(kind))
    yield empty
    for place, run in enumerate(runs):
        if any(
            each.kind == kind for suffix in ("tail", "arrows") for each in open_segments(run.path, suffix)
        ):
            connection.register(f"open_{kind}_{place}", read_kind(run.path, kind))
            yield f"SELECT '{place}' AS run, {columns} FROM open_{kind}_{place}"
        else:
            sealed += [(str(place), str(each.path)) for each in sealed_segments(run.path, kind)]
    if sealed:
        names = pa.table({"file": [path for _, path in sealed], "run": [place for place, _ in sealed]})
        connection.register(f"files_{kind}", names)
        connection.execute(f"SET VARIABLE list_{kind} = (SELECT list(file) FROM files_{kind})")
        yield (
            f"SELECT run, {columns} FROM read_parquet(getvariable('list_{kind}'), union_by_name = true, "
            f"filename = true) JOIN files_{kind} ON filename = file"
        )


def read_kind_empty(kind: str) -> pa.Table:
    """Return a table of a kind without a row."""
    from thermograd.store.events import arrow_schema

    return arrow_schema(kind).empty_table()


class _RunFacts:
    """What a run's facts say of its devices and its training."""

    def __init__(self, run: Run) -> None:
        self._run_id, self._facts = run.run_id, run.facts
        self._training = training_of(run)

    def row(
        self, device: str, metric: str, cell: float | None, value: float, samples: int, limit_w: float | None
    ) -> dict[str, Any] | None:
        """Return a summary's row; None where the run doubts the reading, or what is compared is not told."""
        facts = self._facts.get("devices", {}).get(device, {})
        suspect = facts.get("suspect") if isinstance(facts.get("suspect"), dict) else {}
        if any(column in suspect for column in _STANDS_ON.get(metric, (metric,))):
            return None
        training = self._training if METRICS[metric].per_training else None
        host = facts.get("host") or self._facts.get("host")
        limit_w = facts.get("power_limit_w") if limit_w is None else limit_w
        return {
            "run_id": self._run_id,
            "device": device,
            "identity": identity_of(device, facts, host),
            "host": None if host is None else str(host),
            "model": str(facts.get("model") or ""),
            "part": _part(device, facts),
            "driver": str(facts.get("driver_version") or self._facts.get("driver_version") or ""),
            "simulated": is_simulated(device, facts),
            "power_limit_w": None if limit_w is None else float(round(limit_w)),
            "metric": metric,
            "cell": cell,
            "training": training,
            "value": value,
            "samples": samples,
        }


_STANDS_ON = {
    "temperature_c": ("temperature_c", "power_w"),
    "power_w": ("power_w", "sm_clock_mhz"),
    "energy_per_step_j": ("power_w", "energy_j"),
}


def identity_of(device: str, facts: Mapping[str, Any], host: Any) -> str:
    """Return what tells a device from every other, as `devices` does: its UUID, else host and name.

    Where no host is known the name alone: a device must not be its own peer.
    """
    if device.upper().startswith(("GPU-", "MIG-")) and len(device) > 20:
        return device
    name = str(facts.get("serial") or device)
    return f"{host}/{name}" if host else name


def _part(device: str, facts: Mapping[str, Any]) -> str:
    """Return what divides devices of one model: MIG parts do not compare with whole ones."""
    if device.upper().startswith("MIG-"):
        return str(facts.get("mig_profile") or facts.get("profile") or "MIG part")
    return "divided (MIG)" if facts.get("mig") is True else ""


def training_of(run: Run) -> str | None:
    """Return what is the same for runs of the same training; None where a run does not say what it trains.

    Of the configuration all counts but what belongs to the place or the attempt: seeds, folders, names.
    """
    config = {name: value for name, value in _flat(run_config(run)) if not _is_of_the_place(name)}
    model = run.facts.get("model")
    if not config and not isinstance(model, dict):
        return None
    world = run.facts.get("job", {}).get("world_size")
    told = json.dumps({"config": config, "model": model, "ranks": world}, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _flat(config: Mapping[str, Any], under: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{under}{name}/")
        else:
            yield f"{under}{name}", value


def _is_of_the_place(name: str) -> bool:
    words = name.rpartition("/")[2].lower().replace("-", "_").split("_")
    return any(word in _OF_THE_PLACE for word in words)
