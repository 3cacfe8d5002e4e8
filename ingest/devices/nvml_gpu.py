"""One NVIDIA GPU: what it supports is found out by asking once; then few calls a tick.

Fast tier (every tick): one batched call for all fields, and what has no field. Slow tier (every two
seconds; null in between): fan, memory errors, PCIe replays. What the driver refuses for good is dropped
and named once; what fails in passing is null, counted, and asked again more and more rarely.
"""

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from thermograd.ingest.devices.nvml_fields import (
    FAST_FIELDS,
    MARGINS,
    SLOW_FIELDS,
    TEMPERATURE_FIELD,
    Reading,
    throttle_fields,
)
from thermograd.store.failures import Guard
from thermograd.store.telling.devices import device_label

_SLOW_PERIOD_S = 2.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0
_TIMEOUT = 10
_LOST = (15, 16, 28)  # GPU is lost, GPU requires restart, GPU not found
_FOR_GOOD = (2, 3, 4, 13, 25, 26)  # bad argument, not supported, no permission, no such function, ...
_NO_FUNCTION = 13
_MOST_DISAGREEMENT_C = 3.0

Values = dict[str, float | int]
Calls = dict[str, Callable[[], float | int]]


class _Source:
    """One call to the driver and the columns that it gives."""

    def __init__(self, columns: Iterable[str], call: Callable[[], Values]) -> None:
        self.columns, self.call = tuple(columns), call
        self.retry_at_s = 0.0
        self.delay_s = _FIRST_RETRY_S

    def put_off(self, now_s: float) -> None:
        self.retry_at_s = now_s + self.delay_s
        self.delay_s = min(2 * self.delay_s, _LONGEST_RETRY_S)

    def worked(self) -> None:
        self.delay_s = _FIRST_RETRY_S


class NvmlGpu:
    """Reads one GPU. `driver_version` decides the numbers of some fields, `index` is NVML's number of it.

    `guard` counts the readings that failed in passing; `marks` holds what has happened and has not been
    logged yet.
    """

    def __init__(self, nvml: Any, handle: Any, driver_version: str, index: int | None = None) -> None:
        self._nvml, self._handle = nvml, handle
        self.uuid = str(nvml.nvmlDeviceGetUUID(handle))
        self.identity: dict[str, Any] = {"model": nvml.nvmlDeviceGetName(handle), "index": index}
        self._label = device_label(self.uuid, {self.uuid: self.identity})
        again = "did not give %(error)s; it is asked again, more and more rarely"
        self.guard = Guard(again, tell=partial(self._mark, "gap"))
        self.marks: list[dict[str, Any]] = []
        self._lost = False
        self._missing: dict[str, str] = {}
        if not throttle_fields(driver_version).get("throttled_brake_ns"):
            self._missing["throttled_brake_ns"] = f"its field in driver {driver_version} is not known"
        self._temperature: Callable[[], int] | None = None
        self._sources_of: dict[str, str] = {}
        self._slow_at_s = 0.0
        self._all = _Source((), dict)  # put off as a whole when the driver does not answer
        self.latency_us = 0
        self._fast = self._batch(FAST_FIELDS | throttle_fields(driver_version) | self._fine_temperature())
        self._fast += self._calls(self._fast_calls())
        self._slow = self._batch(SLOW_FIELDS)
        self._slow += self._calls(self._slow_calls())

    def _fast_calls(self) -> Calls:
        n, h = self._nvml, self._handle
        calls: Calls = {
            "utilization_pct": lambda: float(n.nvmlDeviceGetUtilizationRates(h).gpu),
            "sm_clock_mhz": lambda: float(n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM)),
            "memory_clock_mhz": lambda: float(n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_MEM)),
            "memory_used_bytes": lambda: float(n.nvmlDeviceGetMemoryInfo(h).used),
            "power_limit_w": lambda: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3,
            "slowdown_margin_c": lambda: float(n.nvmlDeviceGetMarginTemperature(h)),
            "clock_event_mask": self._first_of(
                ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
            ),
        }
        in_place_of_fields: Calls = {
            "temperature_c": lambda: float(self._plain_temperature()),
            "energy_j": lambda: n.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3,
            self._power_usage_name(): lambda: n.nvmlDeviceGetPowerUsage(h) / 1e3,
        }
        return calls | self._without(self._fast, in_place_of_fields)

    def _slow_calls(self) -> Calls:
        n, h = self._nvml, self._handle
        in_place_of_fields: Calls = {
            "ecc_corrected": lambda: int(n.nvmlDeviceGetTotalEccErrors(h, 0, n.NVML_VOLATILE_ECC)),
            "ecc_uncorrected": lambda: int(n.nvmlDeviceGetTotalEccErrors(h, 1, n.NVML_VOLATILE_ECC)),
            "pcie_replays": lambda: int(n.nvmlDeviceGetPcieReplayCounter(h)),
        }
        fan: Calls = {"fan_pct": lambda: float(n.nvmlDeviceGetFanSpeed(h))}
        return fan | self._without(self._slow, in_place_of_fields)

    @staticmethod
    def _without(sources: list[_Source], calls: Calls) -> Calls:
        """Return the calls whose column no field gives."""
        given = {name for source in sources for name in source.columns}
        return {name: call for name, call in calls.items() if name not in given}

    def _power_usage_name(self) -> str:
        """Return what nvmlDeviceGetPowerUsage gives: on Ampere and newer an average over a second.

        On GA100 (compute capability 8.0) and older it is instantaneous.
        """
        capability = self._ask(lambda: tuple(self._nvml.nvmlDeviceGetCudaComputeCapability(self._handle)))
        return "power_w" if capability is not None and capability <= (8, 0) else "power_w_average"

    def _plain_temperature(self) -> int:
        if self._temperature is None:
            self._temperature = self._first_of(("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"), 0)
        return self._temperature()

    def _fine_temperature(self) -> dict[str, Reading]:
        """Return the finer temperature where the driver has it and it agrees with the plain one."""
        fine = (self._ask(lambda: self._field_values((TEMPERATURE_FIELD,))) or {}).get(TEMPERATURE_FIELD)
        plain = self._ask(self._plain_temperature)
        if isinstance(fine, float) and plain is not None and abs(fine - plain) <= _MOST_DISAGREEMENT_C:
            return {"temperature_c": Reading((TEMPERATURE_FIELD,))}
        return {}

    def _first_of(self, names: tuple[str, ...], *arguments: int) -> Callable[[], int]:
        """Return the first of some functions that both this pynvml and this driver have, else the last."""

        def call(name: str) -> int:
            function = getattr(self._nvml, name, None)
            if function is None:
                raise self._nvml.NVMLError(_NO_FUNCTION)
            return int(function(self._handle, *arguments))

        calls = [partial(call, name) for name in names]
        return next((call for call in calls if self._why_not(call) is None), calls[-1])

    def _batch(self, wanted: dict[str, Reading]) -> list[_Source]:
        """Return the source of all fields that this GPU supports."""
        found = self._field_returns([i for reading in wanted.values() for i in reading.fields])
        known = {}
        for name, reading in wanted.items():
            given = tuple(i for i in reading.fields if found.get(i) not in _FOR_GOOD)
            if given:
                known[name] = reading._replace(fields=given)
                self._sources_of[name] = "field " + "+".join(map(str, given))
            else:
                self._missing[name] = str(self._nvml.NVMLError(found[reading.fields[0]]))
        return [_Source(known, lambda: self._read_fields(known))] if known else []

    def _field_returns(self, ids: list[int]) -> dict[int, int]:
        """Return what the driver says to each field; nothing where it cannot say at present."""
        try:
            values = self._nvml.nvmlDeviceGetFieldValues(self._handle, ids)
        except self._nvml.NVMLError as error:
            return dict.fromkeys(ids, error.value) if error.value in _FOR_GOOD else {}
        self.latency_us = max(self.latency_us, sum(value.latencyUsec for value in values))
        return {value.fieldId: value.nvmlReturn for value in values}

    def _calls(self, calls: Calls) -> list[_Source]:
        sources = []
        for name, call in calls.items():
            reason = self._why_not(call)
            if reason is None:
                self._missing.pop(name, None)
                self._sources_of.setdefault(name, "a call of its own")
                sources.append(_Source((name,), partial(lambda n, c: {n: c()}, name, call)))
            else:
                self._missing[name] = reason
        return sources

    def _why_not(self, call: Callable[[], Any]) -> str | None:
        """Return why a call will never work, or None."""
        try:
            call()
        except self._nvml.NVMLError as error:
            return str(error) if error.value in _FOR_GOOD else None
        return None

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._nvml.NVMLError:
            return None

    def _field_values(self, ids: Iterable[int]) -> dict[int, float | int]:
        """Read several fields in one call; those that failed are left out."""
        found = {}
        for value in self._nvml.nvmlDeviceGetFieldValues(self._handle, list(ids)):
            if value.nvmlReturn == 0:
                found[value.fieldId] = _number(value)
            elif value.nvmlReturn in _LOST:
                raise self._nvml.NVMLError(value.nvmlReturn)
        return found

    def _read_fields(self, readings: dict[str, Reading]) -> Values:
        values = self._field_values(i for reading in readings.values() for i in reading.fields)
        sample: Values = {}
        for name, (ids, scale, whole) in readings.items():
            parts = [values[i] for i in ids if i in values]
            if len(parts) == len(ids):  # a counter that answers in part is not a smaller number
                sample[name] = int(sum(parts)) if whole else sum(parts) * scale
        return sample

    def read(self, now_s: float | None = None) -> dict[str, Any] | None:
        """Return one sample, or None where the GPU is lost or its driver does not answer at present."""
        now_s = time.monotonic() if now_s is None else now_s
        if self._lost or now_s < self._all.retry_at_s:
            return None
        slow = now_s >= self._slow_at_s
        sample: dict[str, Any] = {}
        try:
            for source in [*self._fast, *(self._slow if slow else ())]:
                if now_s >= source.retry_at_s:
                    sample |= self._read_source(source, now_s)
                if now_s < self._all.retry_at_s:
                    break
            else:
                self._all.worked()
                self._slow_at_s = now_s + _SLOW_PERIOD_S if slow else self._slow_at_s
        except self._nvml.NVMLError as error:  # it does not answer any more and will not until it is reset
            self._lost = True
            self._mark("error", f"{error}; no more samples of it", error=str(error))
            return None
        return {"device": self.uuid, **sample} if sample else None

    def _read_source(self, source: _Source, now_s: float) -> Values:
        try:
            values = source.call()
        except self._nvml.NVMLError as error:
            if error.value in _LOST:
                raise
            self._failed(source, error, now_s)
            return {}
        source.worked()
        return values

    def _failed(self, source: _Source, error: Any, now_s: float) -> None:
        names = ", ".join(source.columns)
        if error.value in _FOR_GOOD:
            self._fast = [each for each in self._fast if each is not source]
            self._slow = [each for each in self._slow if each is not source]
            self._mark("gap", f"gives no {names} any more ({error})")
            return
        self.guard.count(f"{names} ({error})")
        (self._all if error.value == _TIMEOUT else source).put_off(now_s)

    def _mark(self, mark: str, text: str, **detail: Any) -> None:
        extra = json.dumps({"device": self.uuid} | detail)
        self.marks.append({"mark": mark, "text": f"{self._label}: {text}", "detail": extra})

    def describe(self) -> dict[str, Any]:
        """Return model, limits, thresholds, the sensors and where they come from, and what is missing."""
        facts: dict[str, Any] = self.identity | {"simulated": False}
        asked = {name: self._ask(call) for name, call in self._limits().items()}
        facts |= {name: value for name, value in asked.items() if value is not None}
        margins = self._ask(lambda: self._field_values(MARGINS.values())) or {}
        facts |= {name: _signed(margins[i]) for name, i in MARGINS.items() if i in margins}
        mode = self._ask(lambda: self._nvml.nvmlDeviceGetMigMode(self._handle))
        if mode is not None:
            facts["mig"] = bool(mode[0])
        self._choose_limit(facts)
        sensors = {name for source in [*self._fast, *self._slow] for name in source.columns}
        return facts | {
            "sensors": sorted(sensors),
            "missing": dict(sorted(self._missing.items())),
            "sources": dict(sorted(self._sources_of.items())),
            "batch_latency_us": self.latency_us,
        }

    def _limits(self) -> dict[str, Callable[[], Any]]:
        n, h = self._nvml, self._handle

        def threshold(number: int) -> Callable[[], float]:
            return lambda: float(n.nvmlDeviceGetTemperatureThreshold(h, number))

        return {
            "rated_power_w": lambda: n.nvmlDeviceGetPowerManagementDefaultLimit(h) / 1e3,
            "power_limit_w": lambda: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3,
            "power_limit_range_w": lambda: [
                limit / 1e3 for limit in n.nvmlDeviceGetPowerManagementLimitConstraints(h)
            ],
            "shutdown_temperature_c": threshold(0),
            "slowdown_temperature_c": threshold(1),
            "memory_max_temperature_c": threshold(2),
            "max_operating_temperature_c": threshold(3),
            "max_sm_clock_mhz": lambda: float(n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM)),
            "max_memory_clock_mhz": lambda: float(n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_MEM)),
            "compute_capability": lambda: "{}.{}".format(*n.nvmlDeviceGetCudaComputeCapability(h)),
            "margin_at_start_c": lambda: float(n.nvmlDeviceGetMarginTemperature(h)),
            "temperature_at_start_c": lambda: float(self._plain_temperature()),
        }

    def _choose_limit(self, facts: dict[str, Any]) -> None:
        """Set the temperature at which the GPU begins to slow itself, where the driver says it."""
        known = ("max_operating_temperature_c", "slowdown_temperature_c")
        limits = {name: facts[name] for name in known if facts.get(name)}
        margin_c, start_c = facts.pop("margin_at_start_c", None), facts.pop("temperature_at_start_c", None)
        if limits:
            name = min(limits, key=lambda each: limits[each])
            facts |= {"temperature_limit_c": limits[name], "temperature_limit_from": name}
        elif margin_c is not None and start_c is not None:
            facts |= {
                "temperature_limit_c": start_c + margin_c,
                "temperature_limit_from": "temperature and margin to slowdown at the start",
            }
        else:
            self._missing["temperature_limit_c"] = "the driver gives neither a threshold nor a margin"


def _number(field: Any) -> float | int:
    """Return a field's value from the member of the union that its type names."""
    members = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    value: float | int = getattr(field.value, members[field.valueType])
    return value


def _signed(value: float | int) -> float:
    """Return a margin, which may be below 0, whether or not the driver calls its type signed."""
    if isinstance(value, float):
        return value
    low = value & 0xFFFFFFFF
    return float(low - (1 << 32) if low >> 31 else low)
