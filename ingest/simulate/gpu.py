"""A simulated GPU: heat, clock governor and sensors, for machines without one and for known truth.

Die and heat sink are two heat capacities; leakage grows with temperature; a governor lowers the
clock for heat, power, brake and idleness as NVIDIA's does; sensors round, average and lag as NVML's
do. Every device name begins with ``simulated:`` and `SimulatedGpu.describe` says so.

::

    C_die  T_die'  = P - (T_die - T_sink) / R
    C_sink T_sink' = (T_die - T_sink) / R - airflow (G0 + G1 fan^q) (T_sink - T_ambient - T_inlet)
    P = P_idle + load P_dynamic x V(x)^2 + P_leak (e^(0.02 (T_die - 60)) - 1),  x = clock / max clock
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, floor
from random import Random
from typing import Any

from thermograd.store.events import KINDS

_TICK_S = 0.05
_TICK_NS = 50_000_000
_CLOCK_STEP_MHZ = 15.0
_LEAK_PER_C = 0.02
_FAN_LAG_S = 6.0

# nvmlDeviceGetCurrentClocksEventReasons
_IDLE, _SETTING, _POWER_CAP = 0x1, 0x2, 0x4
_HW_SLOWDOWN, _SW_THERMAL, _HW_THERMAL, _BRAKE = 0x8, 0x20, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class ThermalPart:
    """The constants of one kind of GPU: clocks, power, heat, limits; by default a server part of 700 W.

    Capacities in J/K, conductances in W/K, the die-to-sink resistance in K/W. A part with
    `fan_conductance_w_per_k` above 0 has a fan of its own; else the server's airflow cools it.
    """

    model: str = "data-centre GPU, 700 W"
    max_clock_mhz: float = 1980.0
    idle_clock_mhz: float = 345.0
    idle_power_w: float = 70.0
    dynamic_power_w: float = 560.0
    leak_power_w: float = 45.0
    power_limit_w: float = 700.0
    target_c: float = 87.0
    slowdown_c: float = 89.0
    shutdown_c: float = 95.0
    die_j_per_k: float = 20.0
    die_k_per_w: float = 0.012
    sink_j_per_k: float = 900.0
    conductance_w_per_k: float = 26.0
    fan_conductance_w_per_k: float = 0.0
    fan_exponent: float = 1.0
    utilization_period_s: float = 0.2
    ambient_c: float = 25.0


PRESETS = {
    "dc": ThermalPart(),
    "desktop": ThermalPart(
        model="desktop GPU, 200 W",
        max_clock_mhz=1950.0,
        idle_clock_mhz=210.0,
        idle_power_w=14.0,
        dynamic_power_w=190.0,
        leak_power_w=12.0,
        power_limit_w=200.0,
        target_c=83.0,
        slowdown_c=93.0,
        shutdown_c=98.0,
        die_k_per_w=0.097,
        sink_j_per_k=316.0,
        conductance_w_per_k=0.79,
        fan_conductance_w_per_k=7.9,
        fan_exponent=0.56,
        utilization_period_s=0.5,
    ),
    # a small, partly blocked heat sink: full load throttles within a minute, and is then governed
    "restricted": ThermalPart(
        model="data-centre GPU, 700 W, heat sink partly blocked", sink_j_per_k=280.0, conductance_w_per_k=9.1
    ),
}


def sensor_facts(shown: Iterable[str]) -> dict[str, Any]:
    """Return which of the columns shown are sensors, and that the others are not simulated."""
    sensors = [name for name in shown if name != "device"]
    others = ("device", "read_us", "reported_rle", "reported_collapse", *sensors)
    missing = [column.name for column in KINDS["sample"] if column.name not in others]
    return {"sensors": sensors, "missing": dict.fromkeys(missing, "not simulated")}


class SimulatedGpu:
    """A GPU that heats, throttles and cools by a model, read like a real one.

    Time moves only by `advance`; the same seed (of sensor noise) and the same calls give the same readings.

    Parameters
    ----------
    preset
        ``dc`` (700 W server part), ``desktop`` (200 W, own fan), ``restricted`` (the server part
        with a partly blocked heat sink, which throttles under full load), or a `ThermalPart`.
    device
        Name; must begin with ``simulated:``. Default: ``simulated:`` and the preset.

    Attributes
    ----------
    airflow, inlet_c
        Share of the nominal cooling, above 0, and degC of the air above ambient; may be changed at any time.
    brake, clock_cap_mhz, power_limit_w
        The external power brake (half the clock), an administrator's limits of clock (or None) and power.
    clock_mhz, power_w, die_c, clock_event_mask
        True state, before the sensors, and the reasons that lower the clock now.

    Examples
    --------
    >>> gpu = SimulatedGpu("restricted", seed=1)
    >>> for _ in range(90):
    ...     gpu.advance(1.0, load=1.0)
    >>> reading = gpu.read()
    >>> reading["temperature_c"], bool(reading["clock_event_mask"] & 0x20)
    (86.0, True)

    References
    ----------
    Desktop constants R, C, G and q were fitted to a recorded hour of an RTX 3060 Ti (Nemeca99/RLE),
    error 0.7 degC; server constants are chosen to give 56 degC at 570 W; limits as nvidia-smi
    reports them for a 700 W part.
    """

    def __init__(
        self,
        preset: str | ThermalPart = "dc",
        seed: int = 0,
        airflow: float = 1.0,
        device: str | None = None,
    ) -> None:
        if isinstance(preset, str):
            if preset not in PRESETS:
                raise ValueError(f"preset {preset!r} is not known; allowed: {', '.join(PRESETS)}")
            device = device or f"simulated:{preset}"
        self.part = part = preset if isinstance(preset, ThermalPart) else PRESETS[preset]
        self.device = device or "simulated:gpu"
        if not self.device.startswith("simulated:"):
            raise ValueError(f"device {self.device!r} is simulated; its name must begin with 'simulated:'")
        if not airflow > 0:
            raise ValueError(f"airflow is {airflow!r}; expected a share above 0")
        self.airflow = airflow
        self.inlet_c = 0.0
        self.brake = False
        self.clock_cap_mhz: float | None = None
        self.power_limit_w = part.power_limit_w
        self.clock_mhz = part.idle_clock_mhz
        self.clock_event_mask = _IDLE
        self._random = Random(seed)
        self._ticks = 0
        self._pending_s = 0.0
        self._fan = 0.0
        self._thermal_cap_mhz = self._power_cap_mhz = part.max_clock_mhz
        self._slowed = False
        self._idle_s = 2.0
        self._energy_j = 0.0
        self._throttled_ns = {"thermal": 0, "power": 0, "brake": 0}
        self._busy_s = 0.0
        self._rest_at_idle()
        self._power_fast_w = self._power_second_w = self.power_w
        self._sensed_c, self._sensed_pct = float(floor(self.die_c)), 0.0

    def _rest_at_idle(self) -> None:
        """Start as a machine that has been idle for hours."""
        part = self.part
        self.die_c = part.ambient_c
        for _ in range(50):
            self.power_w = self._draw_w(0.0)
            self._sink_c = part.ambient_c + self.power_w / (self.airflow * part.conductance_w_per_k)
            self.die_c = self._sink_c + self.power_w * part.die_k_per_w

    def advance(self, dt_s: float, load: float) -> None:
        """Let `dt_s` seconds pass under a load of 0 to 1; what is short of 50 ms is carried over."""
        if not (dt_s >= 0 and 0 <= load <= 1):
            raise ValueError(f"dt_s={dt_s!r}, load={load!r}; expected dt_s >= 0 and load in 0 to 1")
        self._pending_s += dt_s
        while self._pending_s >= _TICK_S - 1e-9:
            self._pending_s -= _TICK_S
            self._tick(load)

    def read(self) -> dict[str, Any]:
        """Return what the sensors show now: every `sample` column, None where none is modelled."""
        values: dict[str, Any] = {column.name: None for column in KINDS["sample"]}
        values.update(
            device=self.device,
            utilization_pct=self._sensed_pct,
            power_w=round(self._power_fast_w * (1.0 + 0.004 * self._noise()), 3),
            power_w_average=round(self._power_second_w, 3),
            energy_j=round(self._energy_j, 3),
            temperature_c=self._sensed_c,
            sm_clock_mhz=self.clock_mhz - self.clock_mhz % _CLOCK_STEP_MHZ,
            power_limit_w=self.power_limit_w,
            clock_event_mask=self.clock_event_mask,
            throttled_thermal_ns=self._throttled_ns["thermal"],
            throttled_power_ns=self._throttled_ns["power"],
            throttled_brake_ns=self._throttled_ns["brake"],
        )
        if self.part.fan_conductance_w_per_k:
            values["fan_pct"] = float(round(100.0 * self._fan))
        return values

    def describe(self) -> dict[str, Any]:
        """Return the static facts: model, limits, which sensors there are, and that it is simulated."""
        part = self.part
        values = self.read()
        return {
            "device": self.device,
            "simulated": True,
            "model": f"simulated {part.model}",
            "power_limit_w": self.power_limit_w,
            "rated_power_w": part.power_limit_w,
            "temperature_limit_c": part.target_c,
            "slowdown_temperature_c": part.slowdown_c,
            "shutdown_temperature_c": part.shutdown_c,
            "max_sm_clock_mhz": part.max_clock_mhz,
            **sensor_facts([name for name, value in values.items() if value is not None]),
        }

    def _tick(self, load: float) -> None:
        self._ticks += 1
        self._govern(load)
        self.power_w = self._draw_w(load)
        self._power_fast_w += 0.5 * (self.power_w - self._power_fast_w)  # 100 ms
        self._power_second_w += 0.05 * (self.power_w - self._power_second_w)
        self._energy_j += self.power_w * _TICK_S
        self._exchange_heat()
        self._sense(load)

    def _draw_w(self, load: float) -> float:
        part = self.part
        x = self.clock_mhz / part.max_clock_mhz
        volt = max(0.7, 0.7 + 0.3 * (x - 0.55) / 0.45)
        leak_w = part.leak_power_w * (exp(min(_LEAK_PER_C * (self.die_c - 60.0), 3.0)) - 1.0)
        return max(part.idle_power_w + load * part.dynamic_power_w * x * volt * volt + leak_w, 1.0)

    def _exchange_heat(self) -> None:
        part = self.part
        conductance = part.conductance_w_per_k
        if part.fan_conductance_w_per_k:
            self._turn_fan()
            conductance += part.fan_conductance_w_per_k * self._fan**part.fan_exponent
        to_sink_w = (self.die_c - self._sink_c) / part.die_k_per_w
        to_air_w = self.airflow * conductance * (self._sink_c - part.ambient_c - self.inlet_c)
        self.die_c += _TICK_S * (self.power_w - to_sink_w) / part.die_j_per_k
        self._sink_c += _TICK_S * (to_sink_w - to_air_w) / part.sink_j_per_k

    def _turn_fan(self) -> None:
        on = self.die_c > (50.0 if self._fan > 0.01 else 58.0)
        wanted = min(max(0.33 + 0.025 * (self.die_c - 58.0), 0.3), 1.0) if on else 0.0
        self._fan += _TICK_S / _FAN_LAG_S * (wanted - self._fan)

    def _govern(self, load: float) -> None:
        """Set the clock and the reasons for it, every 50 ms."""
        part = self.part
        self._idle_s = self._idle_s + _TICK_S if load == 0.0 else 0.0
        self._govern_heat()
        self._govern_power()
        half_mhz = part.max_clock_mhz / 2.0
        reasons = [
            (self._power_cap_mhz, _POWER_CAP),
            (self._thermal_cap_mhz, _SW_THERMAL),
            (self.clock_cap_mhz, _SETTING),
            (half_mhz if self._slowed else None, _HW_SLOWDOWN | _HW_THERMAL),
            (half_mhz if self.brake else None, _HW_SLOWDOWN | _BRAKE),
            (part.idle_clock_mhz if self._idle_s > 1.0 else None, _IDLE),
        ]
        clock_mhz = part.max_clock_mhz
        mask = 0
        for cap_mhz, bits in reasons:
            if cap_mhz is not None and cap_mhz < part.max_clock_mhz:
                clock_mhz = min(clock_mhz, cap_mhz)
                mask |= bits
        self.clock_mhz, self.clock_event_mask = clock_mhz, mask
        for name, bits in (("thermal", _SW_THERMAL | _HW_THERMAL), ("power", _POWER_CAP), ("brake", _BRAKE)):
            if mask & bits:
                self._throttled_ns[name] += _TICK_NS

    def _govern_heat(self) -> None:
        part = self.part
        self._slowed = self.die_c >= (part.slowdown_c - 4.0 if self._slowed else part.slowdown_c)
        if self.die_c > part.target_c and self._ticks % 4 == 0:
            self._thermal_cap_mhz = max(self._thermal_cap_mhz - _CLOCK_STEP_MHZ, part.idle_clock_mhz)
        elif self.die_c < part.target_c - 1.0 and self._ticks % 8 == 0:
            self._thermal_cap_mhz = min(self._thermal_cap_mhz + _CLOCK_STEP_MHZ, part.max_clock_mhz)

    def _govern_power(self) -> None:
        part = self.part
        if self._power_fast_w > self.power_limit_w:
            self._power_cap_mhz = max(self._power_cap_mhz - _CLOCK_STEP_MHZ, part.idle_clock_mhz)
        elif self._power_fast_w < 0.97 * self.power_limit_w:
            self._power_cap_mhz = min(self._power_cap_mhz + _CLOCK_STEP_MHZ, part.max_clock_mhz)

    def _sense(self, load: float) -> None:
        self._busy_s += load * _TICK_S
        if self._ticks % 2 == 0:
            self._sensed_c = float(floor(self.die_c + 0.1 * self._noise()))
        period = round(self.part.utilization_period_s / _TICK_S)
        if self._ticks % period == 0:
            share = self._busy_s / self.part.utilization_period_s
            self._sensed_pct = float(min(max(round(100.0 * share), 0), 100))
            self._busy_s = 0.0

    def _noise(self) -> float:
        return 2.0 * self._random.random() - 1.0
