"""Which OpenTelemetry metric is which column, and in which unit it comes.

Megatron-LM names its gauges ``megatron.training.*`` and gives them no unit and no iteration; axolotl's
callback has ``axolotl_*``, which a collector scrapes from its Prometheus port and sends on; the semantic
conventions for hardware have ``hw.*``; dcgm-exporter has ``DCGM_FI_DEV_*``. The rest is what importers know
of logs (`thermograd.ingest.importers.steps.metric_names`), and what a person says.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from thermograd.ingest.importers.formats.prometheus.dcgm_names import DCGM_METRICS, DCGM_PREFIX
from thermograd.ingest.importers.steps.metric_names import STEP_TAGS, ColumnNames
from thermograd.store.errors import ImportFormatError
from thermograd.store.events import KINDS

OWN_SCOPE = "thermograd"  # of what another thermograd sends
OWN_STEP, OWN_DEVICE = "thermograd.step.", "thermograd.device."
STEP_COLUMNS = tuple(c.name for c in KINDS["step"] if c.name not in ("step", "rank"))
SAMPLE_COLUMNS = tuple(c.name for c in KINDS["sample"] if c.name != "device")
NUMBER = "step"  # as a column: the metric is the step's number

# the attribute of a data point that has the step's number, the surest first
STEP_ATTRIBUTES = (
    *("step", "iteration", "global_step", "training.step", "train.step", "training.iteration"),
    *("megatron.iteration", "nv.dl.training.step", "thermograd.step"),
)
RANK_ATTRIBUTES = ("rank", "dl.rank", "global_rank", "thermograd.rank")  # of a data point, or of the resource

_TRAINERS = {  # one reading is what a trainer has just logged: a step, whatever its number
    "megatron.training.loss": "loss",
    "megatron.training.grad_norm": "grad_norm",
    "megatron.training.learning_rate": "learning_rate",
    "megatron.training.step_duration_ms": "step_time_s",
    "axolotl_train_loss": "loss",
    "axolotl_gradient_norm": "grad_norm",
    "axolotl_learning_rate": "learning_rate",
    "axolotl_epoch": "epoch",
}
_NUMBERS = frozenset(
    (
        *("axolotl_global_steps", "axolotl_global_steps_total", "training.iteration", "train.iteration"),
        *("megatron.training.iteration", "training.step", "training.global_step"),
    )
)
_STEP_TIMES = re.compile(r"(.*[./])?(step|iteration)[._](time|duration)(_s|_ms|_seconds|_milliseconds)?")
_HARDWARE = {
    "hw.temperature": "temperature_c",
    "hw.power": "power_w",
    "hw.host.power": "power_w",
    "hw.energy": "energy_j",
    "hw.host.energy": "energy_j",
    "hw.gpu.utilization": "utilization_pct",
    "hw.gpu.memory.usage": "memory_used_bytes",
    "hw.fan.speed_ratio": "fan_pct",
    "hw.cpu.speed": "sm_clock_mhz",
}
_ERRORS = {"corrected": "ecc_corrected", "uncorrected": "ecc_uncorrected"}
COUNTERS = frozenset(
    (
        *("energy_j", "throttled_thermal_ns", "throttled_power_ns", "throttled_brake_ns"),
        *("ecc_corrected", "ecc_uncorrected", "pcie_replays"),
    )
)

_BASE = {  # what a column's unit is, by the end of its name
    "_pct": "%", "_w": "W", "_average": "W", "_j": "J", "_c": "Cel", "_mhz": "MHz", "_bytes": "By",
    "_ns": "ns", "_us": "us", "_s": "s",
}  # fmt: skip
_UNITS: dict[str, dict[str, float]] = {  # UCUM, and what exporters write instead, as multiples of the base
    "%": {"%": 1, "percent": 1, "1": 100, "ratio": 100},
    "W": {"W": 1, "mW": 1e-3, "kW": 1e3, "uW": 1e-6, "watt": 1, "watts": 1, "milliwatts": 1e-3},
    "J": {"J": 1, "mJ": 1e-3, "kJ": 1e3, "uJ": 1e-6, "W.h": 3600, "kW.h": 3.6e6, "joules": 1, "Wh": 3600,
        "kWh": 3.6e6},
    "Cel": {"Cel": 1, "C": 1, "celsius": 1, "degC": 1, "°C": 1},
    "MHz": {"MHz": 1, "Hz": 1e-6, "kHz": 1e-3, "GHz": 1e3, "hertz": 1e-6},
    "By": {
        "By": 1, "B": 1, "bytes": 1, "KiBy": 2**10, "MiBy": 2**20, "GiBy": 2**30, "kBy": 1e3, "MBy": 1e6,
        "GBy": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "MB": 1e6, "GB": 1e9,
    },
    "ns": {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "nanoseconds": 1, "seconds": 1e9},
    "us": {"us": 1, "ms": 1e3, "s": 1e6},
    "s": {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60, "seconds": 1, "milliseconds": 1e-3},
}  # fmt: skip
_SHIFTED = {  # temperatures: factor and offset
    **dict.fromkeys(("K", "kelvin"), (1.0, -273.15)),
    **dict.fromkeys(("[degF]", "degF", "°F", "fahrenheit"), (5 / 9, -160 / 9)),
}


class Target(NamedTuple):
    """What becomes of a metric: its kind and column, and what its values are multiplied by.

    `sure`: it is a step's also where no number of the step is told. `offset` is added after the factor.
    """

    kind: Literal["step", "sample"]
    column: str
    factor: float = 1.0
    sure: bool = True
    offset: float = 0.0


class Names:
    """Which metric is which column; `columns` and `units` are what a person says, column first."""

    def __init__(
        self, columns: Iterable[tuple[str, str]] = (), units: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._mapped = {metric: column for column, metric in columns}
        self._units = dict(units)
        self._logs = ColumnNames(())

    def target(self, name: str, unit: str, attributes: Mapping[str, str], scope: str = "") -> Target | None:
        """Return what a metric is; None for one that is kept by its name.

        Raises
        ------
        UnitError
            If it is one of ours by its name and in a unit that is not of it.
        """
        found = self._found(name, attributes, scope)
        if found is None or found.column == NUMBER:
            return found
        column = found.column
        given = self._units.get(column) or self._units.get(name) or unit or _unit_of_name(name)
        if name.startswith(DCGM_PREFIX):
            return found if column not in self._units else _scaled(found, name, given)
        if name in _TRAINERS and column != "step_time_s":
            return found
        return _scaled(found, name, given)

    def _found(self, name: str, attributes: Mapping[str, str], scope: str) -> Target | None:
        column = self._mapped.get(name)
        if column is not None:
            return Target("step" if column in (*STEP_COLUMNS, NUMBER) else "sample", column)
        if scope == OWN_SCOPE and (own := _own(name)) is not None:
            return own
        if name in _TRAINERS:
            return Target("step", _TRAINERS[name])
        if name in _NUMBERS or name.lower().replace(".", "/") in STEP_TAGS:
            return Target("step", NUMBER)
        if (hardware := _hardware(name, attributes)) is not None:
            return Target("sample", hardware)
        if name.startswith(DCGM_PREFIX):
            known = DCGM_METRICS.get(name.removesuffix("_total").removeprefix(DCGM_PREFIX))
            return Target("sample", *known) if known is not None else None
        return self._of_a_log(name)

    def _of_a_log(self, name: str) -> Target | None:
        if _STEP_TIMES.fullmatch(name):
            return Target("step", "step_time_s", sure=False)
        known = self._logs.column_of(name.replace(".", "/"))
        return Target("step", known[0], sure=False) if known is not None else None


class UnitError(ValueError):
    """A metric comes in a unit that its column cannot be told from."""


def _own(name: str) -> Target | None:
    for prefix, kind, columns in (
        (OWN_STEP, "step", STEP_COLUMNS),
        (OWN_DEVICE, "sample", SAMPLE_COLUMNS),
    ):
        if name.startswith(prefix) and name.removeprefix(prefix) in columns:
            return Target(kind, name.removeprefix(prefix))  # type: ignore[arg-type]  # one of the two
    return None


def _hardware(name: str, attributes: Mapping[str, str]) -> str | None:
    if name == "hw.errors":
        kind = attributes.get("error.type") or attributes.get("hw.error.type", "")
        return _ERRORS.get(kind) if attributes.get("hw.type", "gpu") == "gpu" else None
    if name == "hw.gpu.utilization" and attributes.get("hw.gpu.task", "general") != "general":
        return None
    if name == "hw.temperature" and "mem" in attributes.get("hw.sensor_location", "").lower():
        return "memory_temperature_c"
    return _HARDWARE.get(name)


def _unit_of_name(name: str) -> str:
    """Return the unit that stands in a name, as Prometheus has it; empty for none."""
    for end, unit in (
        *(("_ms", "ms"), ("_milliseconds", "ms"), ("_seconds", "s"), ("_s", "s"), ("_celsius", "Cel")),
        *(("_watts", "W"), ("_joules", "J"), ("_bytes", "By"), ("_ratio", "1"), ("_percent", "%")),
    ):
        if name.removesuffix("_total").endswith(end):
            return unit
    return ""


def base_unit(column: str) -> str:
    """Return a column's own unit, in UCUM; empty for one without.

    Examples
    --------
    >>> base_unit("power_w_average"), base_unit("loss")
    ('W', '')
    """
    return next((unit for end, unit in _BASE.items() if column.endswith(end)), "")


def _scaled(target: Target, name: str, unit: str) -> Target:
    base = base_unit(target.column)
    known = _UNITS.get(base)
    if known is None or not unit:
        return target
    if unit not in _allowed(base):
        raise UnitError(f"{name} is in {unit!r}; allowed for {target.column}: {', '.join(_allowed(base))}")
    factor, offset = _SHIFTED[unit] if unit in _SHIFTED else (known[unit], 0.0)
    return target._replace(factor=factor, offset=offset)


def _allowed(base: str) -> tuple[str, ...]:
    return (*_UNITS.get(base, ()), *(_SHIFTED if base == "Cel" else ()))


def mapped_columns(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read what a person says with ``--column NAME=METRIC``, or refuse it."""
    return _pairs(texts, "--column", "NAME=METRIC, such as power_w=node.gpu.power")


def given_units(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read what a person says with ``--unit NAME=UNIT``, or refuse it."""
    pairs = _pairs(texts, "--unit", "NAME=UNIT, such as power_w=mW")
    for column, unit in pairs:
        known = _allowed(base_unit(column))
        if unit not in known:
            allowed = ", ".join(known) or "none: it has no unit"
            raise ImportFormatError(f"--unit {column}={unit}: allowed for {column} is {allowed}")
    return pairs


def _pairs(texts: Sequence[str], option: str, such_as: str) -> tuple[tuple[str, str], ...]:
    allowed = (NUMBER, *STEP_COLUMNS, *SAMPLE_COLUMNS)
    found: dict[str, str] = {}
    for text in texts:
        name, given, other = text.partition("=")
        if not given or not name or not other:
            raise ImportFormatError(f"{option} {text!r} is no {such_as}")
        if name not in allowed:
            known = ", ".join(allowed)
            raise ImportFormatError(f"{option} {text!r}: there is no column {name!r}; allowed: {known}")
        if name in found:
            raise ImportFormatError(f"{option} {text!r}: {name} is {found[name]!r} already; give it once")
        found[name] = other
    return tuple(found.items())
