"""One run of MLflow, wherever it is stored: its points by time, as steps, metrics and samples."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.stores.run_log import RunLog, sensors
from thermograd.ingest.importers.recording import Hints, Recording
from thermograd.ingest.importers.steps.configuration_files import plain_configuration
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.text_files import LeftOutError, whole_number
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.telling.quantities import counted

_STEP = "step"
_STATES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "interrupted"}
_OWN_TAGS = "mlflow."
_MS_IN_NS = 10**6
_SENSOR = sensors(
    r"system/(?:(?P<host>.+)/)?gpu_(?P<index>\d+)_(?P<metric>\w+)",
    {
        "utilization_percentage": ("utilization_pct", 1.0),
        "power_usage_watts": ("power_w", 1.0),
        "memory_usage_megabytes": ("memory_used_bytes", 1e6),  # MLflow's own: bytes / 1e6
    },
    ("system/cpu_utilization_percentage",),
)


class Point(NamedTuple):
    """One value of a metric, as it is stored."""

    time_ms: int
    order: int  # of equal times the first written comes first
    path: Path
    number: int  # where it stands in its file
    name: str
    value: float
    step: int


class Described(NamedTuple):
    """What a run is, beside its points."""

    told: ToldOfRun
    params: Mapping[str, str]
    tags: Mapping[str, str]


def told_of(id: str, name: str | None, status: str, began_ms: Any, ended_ms: Any) -> ToldOfRun:
    """Return what MLflow says of a run."""
    return ToldOfRun(
        "MLflow", id, name, None, _ns(began_ms), _ns(ended_ms), _STATES.get(status)
    )  # fmt: skip


def _ns(time_ms: Any) -> int | None:
    whole = whole_number(time_ms)
    moment = Moment(whole * _MS_IN_NS, naive=False) if whole is not None else None
    return moment.ns if moment is not None and moment.is_likely else None


def read_points(
    paths: tuple[Path, ...], format: str, hints: Hints, run: Described, points: Iterable[Point], place: str
) -> RunLog:
    """Read a run's points; `finish` of what is returned gives its recordings."""
    log = RunLog(paths, format, hints, place, _STEP, run.told)
    ordered = sorted(points)
    uncounted = _uncounted(ordered)
    if uncounted:
        log.steps.notes["steps"] = {"step": _UNCOUNTED.format(counted(len(uncounted), "metric"))}
    calls: Counter[str] = Counter()
    for point in ordered:
        recording = log.samples if point.name.startswith("system/") else log.steps
        recording.account.reading = point.path
        calls[point.name] += 1
        step = point.step if not uncounted else calls[point.name] if point.name in uncounted else None
        with recording.row(point.number, f"{point.name} {point.value} at step {point.step}"):
            _put(log, recording, point, step)
    log.steps.config = _config(run)
    return log


_UNCOUNTED = (
    "every value has step 0, as of calls that named no step: the values of the {} logged most often are "
    "counted from 1 in the order of their times, all others are at the last step before them"
)


def _uncounted(points: list[Point]) -> frozenset[str]:
    """Return the names whose calls are counted, where no call named its step; else none.

    Those that were logged as often as most signals: they belong together.
    """
    logged = Counter(point.name for point in points if not point.name.startswith("system/"))
    if not logged or max(logged.values()) < 2:
        return frozenset()
    if any(point.step != 0 for point in points if point.name in logged):
        return frozenset()
    most = max(logged.values())
    return frozenset(name for name, count in logged.items() if count == most)


def _put(log: RunLog, recording: Recording, point: Point, step: int | None) -> None:
    moment = Moment(point.time_ms * _MS_IN_NS, naive=False)
    if not moment.is_likely:
        raise LeftOutError("torn row: a time that is not between 1970 and 2100", point.time_ms)
    recording.require_new((point.name, point.time_ms, point.step, repr(point.value)))
    if recording is log.samples:
        log.reading(point.number, moment, point.name, point.value, _SENSOR)
        return
    if whole_number(point.step) is None:
        raise LeftOutError("torn row: step is not a whole number >= 0", point.step)
    log.rows.put(point.number, moment, {} if step is None else {_STEP: step}, {point.name: point.value})


def _config(run: Described) -> dict[str, Any]:
    """Return params, and the tags that a person set, without secrets."""
    tags = {name: text for name, text in run.tags.items() if not name.startswith(_OWN_TAGS)}
    values: dict[str, Any] = dict(run.params) | ({"tags": tags} if tags else {})
    return plain_configuration(values)
