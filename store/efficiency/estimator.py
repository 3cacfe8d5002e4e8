"""Thermal load efficiency of a device: the RLE of the first instrument, in seconds of event time.

``RLE = eta * sigma / (alpha * (1 + 1 / tau))`` with utilisation eta (0-1), its steadiness sigma
(0-1], load factor alpha (power over rated power) and tau, the seconds left until the temperature
limit at the present rate of heating.

It is kept so that old recordings can be compared. It is no detector of throttling: a device that
throttles stays busy and draws less power, so its RLE *rises*; see `thermograd.stream.throttle`.

Only ``+ - * / sqrt`` and comparisons are used, no library function, so a replay gives the same bits
on every machine.
"""

from collections import deque
from dataclasses import asdict, dataclass
from math import isfinite

from thermograd.store.efficiency.windows import (
    TimeWindow,
    exp_minus,
    integer_power,
    known,
    minus_log_ratio,
    slope,
)

ALMOST_S = 1e-9  # ten times 0.1 s is a second, whatever binary fractions say


@dataclass(frozen=True, slots=True)
class EfficiencyDefinition:
    """Name, version and every constant of one definition of RLE; a changed formula needs a new version.

    Collapse is `Efficiency.rle_smoothed` below a share of its peak, held, under load (by utilisation or
    power), while heating, and with evidence (little time left, near the limit, or high load).
    """

    name: str = "rle_clean"
    version: int = 1
    window_s: float = 5.0  # of the time-weighted sd of utilisation, and mean of RLE
    slope_window_s: float = 15.0  # of heating, least squares; 15 s of whole degrees: 0.015 degC/s noise
    peak_decay_per_s: float = 0.998  # factor by which the peak to compare with fades each second
    drop_ratio: float = 0.65
    hold_s: float = 7.0
    utilization_gate_pct: float = 60.0
    load_gate_ratio: float = 0.75
    heating_gate_c_per_s: float = 0.05
    near_limit_gate: bool = True  # near the limit counts as heating: a governor holds temperature constant
    near_limit_c: float = 5.0  # so many degC below the limit is near
    evidence_sustain_s: float = 60.0
    evidence_load_ratio: float = 0.95
    missing_power_is_evidence: bool = False  # whether eta in place of unknown power is (the seed's rule)
    load_floor_ratio: float = 0.01  # smallest alpha that RLE is divided by
    sustain_max_s: float = 600.0  # largest tau, and tau where nothing is known of temperature
    warmup_s: float = 5.0  # observed seconds before there is a peak
    gap_s: float = 3.0  # longest time that a reading stands for; a longer gap ends the hold
    stale_s: float = 5.0  # a temperature older than this is no longer known


DEFINITIONS = {
    "rle_clean": EfficiencyDefinition(),
    "seed_1hz": EfficiencyDefinition(
        name="seed_1hz",
        slope_window_s=1.0,
        near_limit_gate=False,
        missing_power_is_evidence=True,
        load_floor_ratio=1e-6,
    ),
}


class Efficiency:
    """Follows RLE, its smoothed value, its fading peak and its collapse for one device.

    Input that is None, NaN or infinite is missing. Nothing missing is guessed; what RLE is then:

    - **utilisation missing**: no result for that reading, every property is None.
    - **power missing** (or not above 0 W), or **rated power unknown**: alpha := eta, so
      ``rle = sigma / (1 + 1 / tau)`` for a busy device; neither the load gate nor the evidence
      of power can then be met. Flags ``power_missing``, ``rated_power_missing``.
    - **temperature missing** or older than 5 s, or **limit unknown**: the thermal term is off,
      tau := 600 s, so it divides by 601/600; neither heating nor thermal evidence can be met.
      Flags ``temperature_missing``, ``temperature_limit_missing``.

    The first reading stands for as long a time as the second.

    Parameters
    ----------
    rated_power_w
        Power at full load, W; None where it is not known.
    temperature_limit_c
        Temperature at which the device begins to slow down, degC; None where it is not known.
    definition
        ``rle_clean`` (default), ``seed_1hz`` (equals the first instrument's ``rle_core`` on readings
        exactly one second apart), or an `EfficiencyDefinition`.

    Attributes
    ----------
    rle, rle_smoothed, rolling_peak
        The latest value, its time-weighted mean over 5 s, and the peak of that, fading by 0.2 % a
        second (0 during warm-up); dimensionless.
    collapse
        Whether efficiency has been down for 7 s under load, hot, and with evidence.
    stability, a_load, t_sustain_s
        Sigma (1 is perfectly steady), alpha and tau as they entered `rle`; `flags` tells which of
        them stand in for something unknown.
    flags
        What was not known at the latest reading.
    out_of_order
        Readings not later than the one before: left out and counted.

    Raises
    ------
    ValueError
        If the definition is not known, or a rating is not a positive finite number.

    Examples
    --------
    >>> efficiency = Efficiency(rated_power_w=300.0, temperature_limit_c=83.0)
    >>> for second in range(10):
    ...     efficiency.update(float(second), 90.0, 240.0, 60.0)
    >>> round(efficiency.rle, 4), efficiency.collapse, efficiency.flags
    (1.1231, False, ())

    References
    ----------
    github.com/Nemeca99/RLE, ``lab/monitoring/rle_core.py`` (the formula and its constants).
    """

    rle: float | None
    rle_smoothed: float | None
    rolling_peak: float | None
    collapse: bool | None
    stability: float | None
    a_load: float | None
    t_sustain_s: float | None
    flags: tuple[str, ...]

    def __init__(
        self,
        rated_power_w: float | None = None,
        temperature_limit_c: float | None = None,
        definition: str | EfficiencyDefinition = "rle_clean",
    ) -> None:
        if isinstance(definition, str):
            if definition not in DEFINITIONS:
                raise ValueError(f"definition {definition!r} is not known; allowed: {', '.join(DEFINITIONS)}")
            definition = DEFINITIONS[definition]
        for name, value in (("rated_power_w", rated_power_w), ("temperature_limit_c", temperature_limit_c)):
            if value is not None and not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; expected a finite number above 0, or None")
        self.rated_power_w = rated_power_w
        self.temperature_limit_c = temperature_limit_c
        self.definition = definition
        self.out_of_order = 0
        self._time_s: float | None = None
        self._observed_s = 0.0
        self._held_s = 0.0
        self._utilizations = TimeWindow(definition.window_s)
        self._rles = TimeWindow(definition.window_s)
        self._temperatures: deque[tuple[float, float]] = deque()
        self._decay_rate = minus_log_ratio(definition.peak_decay_per_s)
        self._peak = 0.0
        self._clear()

    @property
    def definition_id(self) -> str:
        """Name, version and parameters of this definition, for the record."""
        ratings = {"rated_power_w": self.rated_power_w, "temperature_limit_c": self.temperature_limit_c}
        parameters = ratings | asdict(self.definition)
        name, version = parameters.pop("name"), parameters.pop("version")
        return f"{name}/{version}({','.join(f'{key}={value!r}' for key, value in parameters.items())})"

    def update(
        self, time_s: float, utilization_pct: float | None, power_w: float | None, temperature_c: float | None
    ) -> None:
        """Learn one reading at `time_s` (event time in seconds, any origin)."""
        if not isfinite(time_s) or (self._time_s is not None and time_s <= self._time_s):
            self.out_of_order += 1
            return
        elapsed_s = None if self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        temperature_c = self._learn_temperature(time_s, known(temperature_c))
        utilization_pct = known(utilization_pct)
        if utilization_pct is None:
            self._clear()
            self.flags = ("utilization_missing",)
            self._held_s = 0.0
            return
        stands_s = None if elapsed_s is None else min(elapsed_s, self.definition.gap_s)
        self._observe(time_s, stands_s, utilization_pct, power_w, temperature_c)
        self.collapse = self._collapsed(elapsed_s, stands_s, temperature_c)
        self.rolling_peak = self._peak

    def _clear(self) -> None:
        self.rle = self.rle_smoothed = self.rolling_peak = None
        self.stability = self.a_load = self.t_sustain_s = None
        self.collapse = None
        self.flags = ()
        self._eta = 0.0
        self._heating_c_per_s: float | None = None

    def _learn_temperature(self, time_s: float, temperature_c: float | None) -> float | None:
        """Return the temperature to use now: this reading's, or the last one that is not stale."""
        readings = self._temperatures
        if temperature_c is not None:
            readings.append((time_s, temperature_c))
        while len(readings) > 2 and readings[0][0] < time_s - self.definition.slope_window_s:
            readings.popleft()
        if readings and time_s - readings[-1][0] > self.definition.stale_s:
            readings.clear()
        return readings[-1][1] if readings else None

    def _observe(
        self,
        time_s: float,
        stands_s: float | None,
        utilization_pct: float,
        power_w: float | None,
        temperature_c: float | None,
    ) -> None:
        utilization_pct = min(max(utilization_pct, 0.0), 100.0)
        flags: list[str] = []
        eta = utilization_pct / 100.0
        alpha = self._alpha(eta, known(power_w), flags)
        tau = self._tau(temperature_c, flags)
        self._utilizations.append(time_s, stands_s, utilization_pct)
        sigma = 1.0 / (1.0 + self._utilizations.deviation())
        rle = eta * sigma / (max(alpha, self.definition.load_floor_ratio) * (1.0 + 1.0 / tau))
        self._rles.append(time_s, stands_s, rle)
        self.rle, self.rle_smoothed = rle, self._rles.mean()
        self.stability, self.a_load, self.t_sustain_s = sigma, alpha, tau
        self._eta, self.flags = eta, tuple(flags)

    def _alpha(self, eta: float, power_w: float | None, flags: list[str]) -> float:
        if power_w is None or power_w <= 0.0:
            flags.append("power_missing")
        if self.rated_power_w is None:
            flags.append("rated_power_missing")
        if flags or power_w is None or self.rated_power_w is None:
            return eta
        return power_w / self.rated_power_w

    def _tau(self, temperature_c: float | None, flags: list[str]) -> float:
        if temperature_c is None:
            flags.append("temperature_missing")
        if self.temperature_limit_c is None:
            flags.append("temperature_limit_missing")
        self._heating_c_per_s = None
        if temperature_c is None or self.temperature_limit_c is None:
            return self.definition.sustain_max_s
        self._heating_c_per_s = slope(self._temperatures)
        if self._heating_c_per_s is None:
            return self.definition.sustain_max_s
        left_c = self.temperature_limit_c - temperature_c
        return max(min(left_c / max(self._heating_c_per_s, 1e-3), self.definition.sustain_max_s), 1.0)

    def _collapsed(
        self, elapsed_s: float | None, stands_s: float | None, temperature_c: float | None
    ) -> bool:
        if stands_s is None or elapsed_s is None:
            return False
        # the first reading stands for as long as the second, which is the first to tell how long
        self._observed_s += stands_s if self._observed_s else self._utilizations.observed_s()
        if self._observed_s < self.definition.warmup_s - ALMOST_S:
            return False
        smoothed = self.rle_smoothed or 0.0
        self._peak = max(smoothed, self._peak * self._decay(elapsed_s))
        dropped = smoothed < self.definition.drop_ratio * max(self._peak, 1e-6)
        if elapsed_s > self.definition.gap_s or not (dropped and self._gate(temperature_c)):
            self._held_s = 0.0
        else:
            self._held_s += stands_s
        return self._held_s >= self.definition.hold_s - ALMOST_S and self._evidence(temperature_c)

    def _gate(self, temperature_c: float | None) -> bool:
        rules = self.definition
        heating = self._heating_c_per_s is not None and self._heating_c_per_s > rules.heating_gate_c_per_s
        hot = heating or (rules.near_limit_gate and self._near_limit(temperature_c))
        busy = self._eta * 100.0 > rules.utilization_gate_pct or self._load() > rules.load_gate_ratio
        return busy and hot

    def _evidence(self, temperature_c: float | None) -> bool:
        rules = self.definition
        soon = self.t_sustain_s is not None and self.t_sustain_s < rules.evidence_sustain_s
        return soon or self._near_limit(temperature_c) or self._load() > rules.evidence_load_ratio

    def _near_limit(self, temperature_c: float | None) -> bool:
        if temperature_c is None or self.temperature_limit_c is None:
            return False
        return temperature_c > self.temperature_limit_c - self.definition.near_limit_c

    def _load(self) -> float:
        """Return alpha where it is evidence, else 0: one that stands in for unknown power is none."""
        missing = "power_missing" in self.flags and not self.definition.missing_power_is_evidence
        unknown = missing or "rated_power_missing" in self.flags
        return 0.0 if unknown or self.a_load is None else self.a_load

    def _decay(self, elapsed_s: float) -> float:
        """Return peak_decay_per_s ** elapsed_s without a library's power function."""
        whole = int(min(elapsed_s, 1e6))  # 1e6 s fade any peak to nothing
        return integer_power(self.definition.peak_decay_per_s, whole) * exp_minus(
            self._decay_rate * min(elapsed_s - whole, 1.0)
        )
