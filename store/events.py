"""The five kinds of event, their columns and units.

An event is one immutable fact. `COMMON` columns are never null; every other value is nullable, and
null means *not known*. A value that is not finite is stored as it is: it is what happened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


SCHEMA_VERSION = 1
SETTINGS_MARK = "the stream layer's settings"  # text of the mark with which a stream layer begins

ColumnType = Literal["int64", "uint64", "float64", "bool", "string"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name (ending with its unit), type, and what it means."""

    name: str
    type: ColumnType
    meaning: str


class Event(NamedTuple):
    """One event as readers meet it: its kind, its writer, and a value for every column of the kind."""

    kind: str
    writer: str
    values: dict[str, Any]


COMMON = (
    Column("seq", "int64", "position in the log, gapless from 0 per writer and kind"),
    Column("time_ns", "int64", "UTC epoch, ns"),
    Column("monotonic_ns", "int64", "the host's monotonic clock, ns; for durations within a host"),
)

_STEP = (
    Column("step", "int64", "optimizer steps so far, from 1"),
    Column("rank", "int64", "torch.distributed's rank"),
    Column("epoch", "float64", "passes over the data so far"),
    Column("loss", "float64", "the objective of this step, NaN and inf as they were"),
    Column("grad_norm", "float64", "L2 norm of the gradient before clipping"),
    Column("max_grad_norm", "float64", "the clip bound, null where nothing clips"),
    Column("learning_rate", "float64", "of the first parameter group, as this step used it"),
    Column("step_time_s", "float64", "wall time of the step, s"),
    Column("skipped", "bool", "the optimizer did not step (overflow)"),
    Column("tokens", "int64", "tokens in the step's batch"),
)

_SAMPLE = (
    Column("device", "string", "GPU-<uuid>, cpu, simulated:<name>, or an imported log's own name"),
    Column("utilization_pct", "float64", "0-100: share of time in which something ran"),
    Column("power_w", "float64", "instantaneous power, W"),
    Column("power_w_average", "float64", "the driver's own average (1 s on Ampere and newer), W"),
    Column("energy_j", "float64", "energy counter, J; difference it"),
    Column("temperature_c", "float64", "core, degC"),
    Column("memory_temperature_c", "float64", "memory, degC"),
    Column("slowdown_margin_c", "float64", "degC left before the nearest slowdown threshold"),
    Column("sm_clock_mhz", "float64", "processor clock (SM clock of a GPU), MHz"),
    Column("memory_clock_mhz", "float64", "memory clock, MHz"),
    Column("memory_used_bytes", "float64", "memory in use, bytes"),
    Column("power_limit_w", "float64", "enforced power limit, W"),
    Column("fan_pct", "float64", "intended fan speed, percent; may exceed 100"),
    Column("clock_event_mask", "uint64", "raw NVML clock event reasons"),
    Column("throttled_thermal_ns", "int64", "counter of time throttled for heat, ns"),
    Column("throttled_power_ns", "int64", "counter of time throttled for power, ns"),
    Column("throttled_brake_ns", "int64", "counter of time under the external power brake, ns"),
    Column("ecc_corrected", "int64", "corrected memory errors since boot"),
    Column("ecc_uncorrected", "int64", "uncorrected memory errors since boot"),
    Column("pcie_replays", "int64", "PCIe replay counter"),
    Column("read_us", "float64", "how long this reading took, us"),
    Column("reported_rle", "float64", "RLE as an imported source had derived it"),
    Column("reported_collapse", "bool", "collapse flag as an imported source had derived it"),
)

_ALERT = (
    Column("alert", "string", "what was found, e.g. spike.grad or collapse.thermal"),
    Column("severity", "string", "info, warning or critical"),
    Column("step", "int64", "the optimizer step, where the alert is about one"),
    Column("device", "string", "the device, where the alert is about one"),
    Column("metric", "string", "the column that was watched"),
    Column("value", "float64", "its value at the alert"),
    Column("score", "float64", "the detector's dimensionless score"),
    Column("threshold", "float64", "the score or value above which the alert is raised"),
    Column("onset_time_ns", "int64", "when the episode began, UTC epoch ns"),
    Column("offset", "int64", "seq of the event that caused the alert"),
    Column("definition", "string", "name, version and parameters of the rule"),
    Column("message", "string", "one sentence for a person"),
)

_MARK = (
    Column(
        "mark",
        "string",
        "run_started, run_ended, command_ended, config, checkpoint, evaluation, injection, alert_ended, gap, "
        "clock, error, note",
    ),
    Column("step", "int64", "the optimizer step, where there is one"),
    Column("text", "string", "for a person"),
    Column("detail", "string", "JSON"),
)

_METRIC = (
    Column("step", "int64", "optimizer steps so far, as given or when it was logged"),
    Column("rank", "int64", "torch.distributed's rank"),
    Column("name", "string", "as the script calls it; what was nested has / between its names"),
    Column("value", "float64", "the number, NaN and inf as they were; null for a text"),
    Column("text", "string", "the text, where it is no number"),
)

KINDS: dict[str, tuple[Column, ...]] = {
    "step": _STEP,
    "sample": _SAMPLE,
    "alert": _ALERT,
    "mark": _MARK,
    "metric": _METRIC,
}
WATCHED_KINDS = tuple(kind for kind in KINDS if kind != "metric")  # that the stream layer follows


def event_order(event: Event) -> tuple[int, str, str, int]:
    """Return by what events are sorted, so that a replay sees them in one order: time, writer, kind, seq."""
    return event.values["time_ns"], event.writer, event.kind, event.values["seq"]


def was_watched(marks: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether, by a run's marks, a stream layer looked for alerts as its events came in.

    An import has no such mark: that it holds no alert says nothing.

    Examples
    --------
    >>> was_watched([{"text": None}]), was_watched([{"text": SETTINGS_MARK}])
    (False, True)
    """
    return any(mark.get("text") == SETTINGS_MARK for mark in marks)


@cache
def columns(kind: str) -> tuple[Column, ...]:
    """Return every column of a kind, the common ones first."""
    if kind not in KINDS:
        raise ValueError(f"event kind {kind!r} is not known; allowed: {', '.join(KINDS)}")
    return COMMON + KINDS[kind]


@cache
def column_names(kind: str) -> tuple[str, ...]:
    """Return the column names of a kind, the common ones first."""
    return tuple(column.name for column in columns(kind))


@lru_cache(maxsize=64)  # building one costs as much as reading a small file
def arrow_schema(kind: str, run_id: str | None = None, writer: str | None = None) -> "pa.Schema":
    """Return the Arrow schema of a kind; run and writer, where given, go to its metadata."""
    import pyarrow as pa

    common = {column.name for column in COMMON}
    arrow = {"bool": pa.bool_(), "string": pa.string()} | {
        name: pa.type_for_alias(name) for name in ("int64", "uint64", "float64")
    }
    fields = [pa.field(c.name, arrow[c.type], nullable=c.name not in common) for c in columns(kind)]
    metadata = {"thermograd.kind": kind, "thermograd.schema_version": str(SCHEMA_VERSION)}
    if run_id is not None:
        metadata["thermograd.run_id"] = run_id
    if writer is not None:
        metadata["thermograd.writer"] = writer
    return pa.schema(fields, metadata)


ALERTS = (
    "spike.grad", "spike.loss", "shift.grad", "nonfinite", "zero_grad", "collapse.thermal",
    "collapse.brake", "throttle.warn", "power_limited", "coupling", "sensor.gap", "silent.device",
    "silent.rank", "silent.agent", "slow.rank", "effect",
)  # fmt: skip


SEVERITIES = ("info", "warning", "critical")


def gravity(severity: object) -> int:
    """Return a severity's place among all, from 0; one that is not known counts as the gravest."""
    return SEVERITIES.index(str(severity)) if severity in SEVERITIES else len(SEVERITIES)
