"""What an export holds, as the log knows it: parts of steps, samples of devices, metrics by name.

An export is read as a whole before anything of it is written. What is not taken is counted with its reason,
which the sender is told.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from thermograd.ingest.importers.formats.prometheus.dcgm_names import (
    DCGM_PREFIX,
    HOST_LABELS,
    INDEX_LABELS,
    device_of,
    first_of,
    is_blank,
)
from thermograd.ingest.importers.text_files import LeftOutError, OddCellError, signal, within
from thermograd.ingest.otlp.attributes import attribute_texts, is_number, whole
from thermograd.ingest.otlp.names import (
    COUNTERS,
    NUMBER,
    OWN_SCOPE,
    RANK_ATTRIBUTES,
    STEP_ATTRIBUTES,
    Names,
    Target,
    UnitError,
)
from thermograd.store.log.tail_codec import Rows
from thermograd.store.text import printable

_NO_VALUE = 1  # flag of a data point: the series has ended, or nothing was recorded
_DELTA = 1
_FIRST_NS, _LAST_NS = 10**17, 4_102_444_800 * 10**9  # 1973, 2100: a time in other units is neither
_MOST_SERIES = 10_000  # of a run: names with their attributes
_LONGEST_NAME, _LONGEST_DEVICE = 400, 200
_EXACT = 1 << 53
_DEVICE_KEYS = (
    *("hw.id", "gpu.uuid", "gpu_uuid", "uuid", "UUID", "device", "gpu.id", "gpu_id", "gpu.index", "gpu"),
    *("id", "hw.name", "name"),
)
_SIGNALS = ("loss", "grad_norm")
_DCGM_POWER = "power_w_average of DCGM"
_SCALED_BY_US = ("hw.gpu.utilization", "hw.fan.speed_ratio")  # an own column tells them exactly


class StepPart(NamedTuple):
    """One column of a step. `told`: the number is the reading's own, not one that was read beside it."""

    rank: int | None
    step: int | None
    time_ns: int
    column: str
    value: float | int
    told: bool


class SamplePart(NamedTuple):
    """One column of a device's sample. `is_delta`: the value is what was added to a counter."""

    device: str
    time_ns: int
    column: str
    value: float | int
    is_delta: bool


class MetricPart(NamedTuple):
    """One value by name. `told`: the step is the reading's own, not one that was read beside it."""

    name: str
    step: int | None
    rank: int | None
    time_ns: int
    value: float | int
    told: bool = True


@dataclass(slots=True)
class Readings:
    """What one export holds for one run, and why the rest of it is not taken.

    `empty` counts readings without a value, `devices` has what is told of devices.
    """

    steps: list[StepPart] = field(default_factory=list)
    samples: list[SamplePart] = field(default_factory=list)
    metrics: list[MetricPart] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    empty: int = 0
    unnumbered: str = ""  # a metric that would be a step's, had it come with the step's number
    _numbers: dict[int, int] = field(default_factory=dict)  # the step at a time, told by a metric
    _unsure: list[tuple[StepPart, MetricPart]] = field(default_factory=list)

    def number(self, time_ns: int, step: int) -> None:
        """Learn which step it was at a time."""
        self._numbers[time_ns] = step

    def add_unsure(self, part: StepPart, name: str, value: float | int) -> None:
        """Take what is a step's if a number was read at the same time, else a metric by its name."""
        self._unsure.append((part, MetricPart(name, None, part.rank, part.time_ns, value)))

    def settle(self) -> None:
        """Give readings without a number of their own the one that was read at the same time.

        Where DCGM was asked for the average power only, that is the power.
        """
        if any(part.column == _DCGM_POWER for part in self.samples):
            both = {part.device for part in self.samples if part.column == "power_w"}
            self.samples = [
                part._replace(column="power_w_average" if part.device in both else "power_w")
                if part.column == _DCGM_POWER
                else part
                for part in self.samples
            ]
        known = self._numbers.get
        for part, metric in self._unsure:
            if part.time_ns in self._numbers:
                self.steps.append(part)
            else:
                self.metrics.append(metric)
                self.unnumbered = self.unnumbered or (metric.name if part.column in _SIGNALS else "")
        if not self._numbers:
            return
        self.steps = [p if p.told else p._replace(step=known(p.time_ns)) for p in self.steps]
        self.metrics = [
            p._replace(step=known(p.time_ns), told=False) if p.step is None else p for p in self.metrics
        ]


class _Series(NamedTuple):
    """What becomes of one metric with one set of attributes."""

    name: str
    target: Target | None
    device: str = ""
    rank: int | None = None
    refused: str = ""
    is_ignored: bool = False

    @property
    def is_a_step(self) -> bool:
        """Whether it is a column of steps."""
        return self.target is not None and self.target.kind == "step"


class Reader:
    """Reads the exports of one resource; remembers its series. `rank` is the resource's own."""

    def __init__(self, names: Names, rank: int | None) -> None:
        self._names, self._rank = names, rank
        self._series: dict[Any, _Series] = {}
        self._step_times: dict[Any, tuple[int, int, float]] = {}

    def read(self, scopes: Iterable[Any], now_ns: int) -> Readings:
        """Return what the `ScopeMetrics` of a resource hold."""
        found = Readings()
        for scope in scopes:
            for metric in scope.metrics:
                self._read_metric(metric, scope.scope.name, found, now_ns)
        found.settle()
        return found

    def _read_metric(self, metric: Any, scope: str, found: Readings, now_ns: int) -> None:
        kind = metric.WhichOneof("data")
        if kind is None:
            return
        data = getattr(metric, kind)
        if kind in ("gauge", "sum"):
            is_delta = kind == "sum" and data.aggregation_temporality == _DELTA
            for point in data.data_points:
                value, attributes = _value(point), attribute_texts(point.attributes)
                self._take(metric, scope, point, attributes, value, is_delta, found, now_ns)
        elif kind == "histogram" and self._is_step_time(metric, scope):
            self._read_step_times(metric, scope, data, found, now_ns)
        else:
            reason = f"{kind.replace('_', ' ')} {_shown(metric.name)} is not taken"
            found.rejected[reason] += len(data.data_points)

    def _is_step_time(self, metric: Any, scope: str) -> bool:
        try:
            target = self._names.target(metric.name, metric.unit, {}, scope)
        except UnitError:
            return False
        return target is not None and target.column == "step_time_s"

    def _read_step_times(self, metric: Any, scope: str, data: Any, found: Readings, now_ns: int) -> None:
        """Take from a histogram of step times the mean of the steps that it has more than the last time."""
        for point in data.data_points:
            attributes = attribute_texts(point.attributes)
            count, total = int(point.count), float(point.sum)
            if data.aggregation_temporality != _DELTA:
                key = (metric.name, tuple(sorted(attributes.items())))
                start, before, total_before = self._step_times.get(key, (point.start_time_unix_nano, 0, 0.0))
                if start == point.start_time_unix_nano and (before or key in self._step_times):
                    count, total = count - before, total - total_before
                elif count > 1:
                    count = 0  # of which of them nobody has told: the next ones are known
                entry = (point.start_time_unix_nano, int(point.count), float(point.sum))
                self._step_times[key] = entry
            mean = total / count if count > 0 else None
            self._take(metric, scope, point, attributes, mean, False, found, now_ns)

    def _take(
        self, metric: Any, scope: str, point: Any, attributes: dict[str, str], value: float | int | None,
        is_delta: bool, found: Readings, now_ns: int,
    ) -> None:  # fmt: skip
        time_ns = point.time_unix_nano or now_ns
        key, told = next(
            ((key, attributes.pop(key)) for key in STEP_ATTRIBUTES if key in attributes), ("", "")
        )
        step = whole(told)
        series = self._series_of(metric, scope, attributes, found)
        if key and step is None and not series.refused:
            if series.is_a_step or is_number(told):
                named = f"{_shown(metric.name)} with {key}={_shown(told)}"
                found.rejected[f"{named}: a step is a whole number from 0 to 2^53"] += 1
                return
            attributes[key] = told  # the name of some work's step
            series = self._series_of(metric, scope, attributes, found)
        if series.refused:
            found.rejected[series.refused] += 1
        elif not _FIRST_NS <= time_ns < _LAST_NS:
            found.rejected["a time that is not between 1973 and 2100"] += 1
        elif value is None or series.is_ignored:
            found.empty += 1
        elif series.target is None:
            found.metrics.append(MetricPart(series.name, step, series.rank, time_ns, value))
        else:
            self._take_known(series, series.target, step, time_ns, value, is_delta, found)

    def _take_known(
        self, series: _Series, target: Target, step: int | None, time_ns: int, value: float | int,
        is_delta: bool, found: Readings,
    ) -> None:  # fmt: skip
        if target.column == NUMBER:
            if (number := whole(value)) is not None and not is_delta:
                found.number(time_ns, number)
            found.metrics.append(MetricPart(series.name, step, series.rank, time_ns, value))
            return
        is_dcgm = series.name.startswith(DCGM_PREFIX)
        known = None if is_dcgm and is_blank(value) else _converted(target, value)
        if known is None:
            found.empty += 1
        elif target.kind == "step":
            part = StepPart(series.rank, step, time_ns, target.column, known, step is not None)
            if part.told or target.sure:
                found.steps.append(part)
            else:
                found.add_unsure(part, series.name, value)
        else:
            is_added = is_delta and target.column in COUNTERS
            column = _DCGM_POWER if is_dcgm and target.column == "power_w_average" else target.column
            found.samples.append(SamplePart(series.device, time_ns, column, known, is_added))

    def _series_of(self, metric: Any, scope: str, attributes: dict[str, str], found: Readings) -> _Series:
        key = (metric.name, metric.unit, scope, tuple(sorted(attributes.items())))
        known = self._series.get(key)
        if known is None:
            if len(self._series) >= _MOST_SERIES:
                reason = f"more than {_MOST_SERIES:,} series of one resource"
                return _Series("", None, refused=reason)
            known = self._series[key] = self._new_series(metric, scope, attributes, found)
        if known.device and known.device not in found.devices:
            found.devices[known.device] = _told_of_device(attributes)
        return known

    def _new_series(self, metric: Any, scope: str, attributes: dict[str, str], found: Readings) -> _Series:
        try:
            target = self._names.target(metric.name, metric.unit, attributes, scope)
            device = _device(metric.name, attributes) if target and target.kind == "sample" else ""
        except (UnitError, LeftOutError) as error:
            return _Series("", None, refused=printable(str(error), 300))
        rank = whole(next((attributes[key] for key in RANK_ATTRIBUTES if key in attributes), None))
        rank = self._rank if rank is None else rank
        if scope == OWN_SCOPE and metric.name in _SCALED_BY_US:
            return _Series("", None, is_ignored=True)
        if not metric.name:
            return _Series("", None, refused="a metric without a name")
        return _Series(series_name(metric.name, attributes), target, device, rank)


def series_name(name: str, attributes: Mapping[str, str]) -> str:
    """Return a metric's name with its attributes, as a person reads and SQL finds it.

    Examples
    --------
    >>> series_name("train.lr", {}), series_name("cpu.time", {"state": "idle", "cpu": "1"})
    ('train.lr', 'cpu.time{cpu=1,state=idle}')
    """
    told = ",".join(f"{key}={text}" for key, text in sorted(attributes.items()))
    whole = printable(f"{name}{{{told}}}" if told else name, 100_000)
    if len(whole) <= _LONGEST_NAME:
        return whole
    import hashlib

    return f"{whole[:_LONGEST_NAME]}… {hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _value(point: Any) -> float | int | None:
    which = point.WhichOneof("value")
    if which is None or point.flags & _NO_VALUE:
        return None
    return point.as_double if which == "as_double" else point.as_int  # type: ignore[no-any-return]


def _converted(target: Target, value: float | int) -> float | int | None:
    """Return a value in the column's unit; None for what no device, and no training, can have."""
    if target.kind == "sample" and not math.isfinite(value):
        return None
    number = value if target.factor == 1.0 else value * target.factor
    number = number + target.offset if target.offset else number
    try:
        if target.kind == "sample":
            return within(target.column, number, value)
        if target.column == "tokens":
            return whole(number)
        if target.column == "skipped":
            return bool(number)
        return signal(target.column, float(number))
    except OddCellError:
        return None


def _device(name: str, attributes: Mapping[str, str]) -> str:
    if name.startswith(DCGM_PREFIX):
        device = device_of({key.lower(): text for key, text in attributes.items()})
    elif name.startswith("hw.host."):
        device = attributes.get("hw.id") or "host"
    else:
        device = first_of(attributes, _DEVICE_KEYS) or "device"
    return printable(device, _LONGEST_DEVICE)


def _told_of_device(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return what attributes tell of a device, for ``run.json``."""
    labels = {key.lower(): printable(text) for key, text in attributes.items()}
    told: dict[str, Any] = {}
    model = first_of(labels, ("hw.model", "modelname", "model_name", "gpu.model"))
    if model:
        told["model"] = model
    index = first_of(labels, (*INDEX_LABELS, "gpu.index")).removeprefix("nvidia")
    if index.isdecimal() and len(index) <= 4:
        told["index"] = int(index)
    if host := first_of(labels, HOST_LABELS):
        told["host"] = host
    if labels.get("thermograd.simulated") == "true":
        told["simulated"] = True
    return told


def text_of(value: float | int) -> str | None:
    """Return a whole number's digits where a float cannot hold them."""
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else None


def metric_rows(parts: list[MetricPart], has: Iterable[bool]) -> Rows:
    """Return metrics that know the same columns, as one write takes them."""
    has_step, has_rank, has_text = has
    names = [name for name, there in (("step", has_step), ("rank", has_rank)) if there]
    names += ["name", "value", *(["text"] if has_text else [])]
    rows = []
    for part in parts:
        row: list[Any] = [part.step] if has_step else []
        if has_rank:
            row.append(part.rank)
        row += (part.name, float(part.value))
        if has_text:
            row.append(text_of(part.value))
        rows.append(row)
    return Rows(tuple(names), rows)


def _shown(name: str) -> str:
    return printable(name, 80)
