"""Throttling of a device: what slows it, since when, and whether it really lost speed."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any, Literal

from river import base
from thermograd.store.throttling.reasons import IDLE, is_brake, is_power_cap, is_thermal
from thermograd.stream.usual_clock import APART_S, UsualClock

State = Literal["unknown", "normal", "power_limited", "throttle.warn", "collapse.thermal", "collapse.brake"]
_CROWDED = 64  # readings like the one before them, from which on the shares are told of them
CONDITIONS: tuple[State, ...] = ("collapse.brake", "collapse.thermal", "throttle.warn", "power_limited")


@dataclass(slots=True)
class ThrottleEpisode:
    """One condition from its onset to its end, in the detector's own time."""

    condition: State
    onset_s: float
    last_s: float
    end_s: float | None = None


class ThrottleDetector(base.Estimator):  # type: ignore[misc]  # river ships no types
    """Tells a throttled device from a busy, an idle, and a power-capped one.

    - ``collapse.thermal``, ``collapse.brake``: the driver's thermal or brake bits in more than half of
      the last 3 s **and** a clock at least 5 % below its own usual one for 2 s. Where neither bits
      nor counters can be read: the same clock loss within 4 degC of the limit (thermal only).
    - ``throttle.warn``: the bits alone, or within 2 degC of the limit for 3 s, or more than 0.1 s
      on the thermal and brake counters in 3 s (throttling too short for any bit to be seen).
    - ``power_limited``: power-cap bit and clock loss, no thermal or brake bits: normal operation.

    The usual clock is the 0.9 quantile of the last 30 min in which the device was busy and not
    throttled. A reading stands for the time since the one before, at most for `gap_s`; where the
    cumulative counters are known they tell what share of that time was throttled, even between
    readings. None, NaN and infinity are "not known"; what is not known meets no condition. Readings
    not later than the one before are left out and counted in `out_of_order`.

    An episode ends once its condition has not been met for `quiet_s`; its end is when it was last met.

    Parameters
    ----------
    temperature_limit_c
        Temperature at which the device begins to lower its clock, degC; None turns its rules off.
    clock_loss_ratio, loss_s, majority_s, warn_margin_c, near_margin_c, counter_warn_s, reference_s,
    reference_min_s, idle_pct, gap_s, quiet_s
        The limits above (s, degC, %, shares), as `thermograd.stream.settings.ThrottleSettings` says of each.

    Attributes
    ----------
    state
        The gravest condition met now: brake, thermal, warning, power, ``normal``, or ``unknown``
        where no rule could be applied.
    episodes, started, ended
        The open episode of each condition; episodes that began or ended with the latest reading.
    clock_loss, usual_clock_mhz
        Share of the usual clock that is missing now, and that clock; None where not known.

    Examples
    --------
    >>> detector = ThrottleDetector(temperature_limit_c=87.0)
    >>> for second in range(60):
    ...     hot = second >= 40
    ...     detector.update(float(second), {
    ...         "sm_clock_mhz": 1500.0 if hot else 1980.0,
    ...         "temperature_c": 87.0 if hot else 70.0,
    ...         "clock_event_mask": 0x20 if hot else 0,
    ...     })
    >>> detector.state, detector.episodes["collapse.thermal"].onset_s
    ('collapse.thermal', 40.0)

    References
    ----------
    NVML API, ``nvmlClocksEventReasons`` (bits) and field values 74, 269-271 (counters).
    """

    def __init__(
        self,
        temperature_limit_c: float | None = None,
        clock_loss_ratio: float = 0.05,
        loss_s: float = 2.0,
        majority_s: float = 3.0,
        warn_margin_c: float = 2.0,
        near_margin_c: float = 4.0,
        counter_warn_s: float = 0.1,
        reference_s: float = 1800.0,
        reference_min_s: float = 5.0,
        idle_pct: float = 10.0,
        gap_s: float = 3.0,
        quiet_s: float = 30.0,
    ) -> None:
        if temperature_limit_c is not None and not isfinite(temperature_limit_c):
            raise ValueError(f"temperature_limit_c is {temperature_limit_c!r}; expected degC or None")
        self.temperature_limit_c = temperature_limit_c
        self.clock_loss_ratio, self.loss_s = clock_loss_ratio, loss_s
        self.majority_s, self.counter_warn_s = majority_s, counter_warn_s
        self.warn_margin_c, self.near_margin_c = warn_margin_c, near_margin_c
        self.reference_s, self.reference_min_s = reference_s, reference_min_s
        self.idle_pct, self.gap_s, self.quiet_s = idle_pct, gap_s, quiet_s
        self.state: State = "unknown"
        self.episodes: dict[State, ThrottleEpisode] = {}
        self.started: tuple[ThrottleEpisode, ...] = ()
        self.ended: tuple[ThrottleEpisode, ...] = ()
        self.clock_loss: float | None = None
        self.usual_clock_mhz: float | None = None
        self.out_of_order = 0
        self._time_s = -inf
        self._thermal = _Share("throttled_thermal_ns", majority_s)
        self._brake = _Share("throttled_brake_ns", majority_s)
        self._power = _Share("throttled_power_ns", majority_s)
        self._lossy, self._hot = _Streak(), _Streak()
        self._usual = UsualClock(reference_s, reference_min_s)
        self._shares = (self._thermal, self._brake, self._power)
        self._quiet_mask: int | None = None  # of the last reading, if it was as most are
        self._quiet_s: list[float] = []  # readings like the one before them, which the shares are without
        self._used_pct: float | None = None  # of the last reading
        self._steady_mhz = nan  # its clock, if no cause was active and there was no loss
        self._has_limits = majority_s > 1e-6 and counter_warn_s >= 0.0  # else something is always met
        self._hot_c = inf if temperature_limit_c is None else temperature_limit_c - warn_margin_c

    @property
    def thermal_share(self) -> float | None:
        """Share of the last 3 s that was throttled for heat, None where not known."""
        return self._thermal.share

    @property
    def brake_share(self) -> float | None:
        """Share of the last 3 s under the external power brake, None where not known."""
        return self._brake.share

    @property
    def definition_id(self) -> str:
        """Name, version and parameters of the rules, for the record."""
        return f"throttle/1({','.join(f'{name}={value!r}' for name, value in self._get_params().items())})"

    def update(self, time_s: float, sample: Mapping[str, Any]) -> None:
        """Learn one reading at `time_s` (event time in s, any origin); keys as `sample` columns."""
        self.started = self.ended = ()
        before_s, self._time_s = self._time_s, time_s
        if not before_s < time_s < inf:
            self._time_s = before_s
            self.out_of_order += 1
        elif self._goes_on(time_s, sample):
            stands_s = min(time_s - before_s, self.gap_s)
            if time_s - self._usual.kept_s < APART_S:
                self._usual.observed_s += stands_s
            else:
                self._watch_clock(time_s, stands_s, self._steady_mhz, None)
                self._judge(time_s, self._quiet_mask, None)
        else:
            self._take(time_s, None if before_s == -inf else time_s - before_s, sample)

    def _goes_on(self, time_s: float, sample: Mapping[str, Any]) -> bool:
        """Take in a reading that is like the one before it, with nothing met; return whether it is."""
        temperature_c = sample.get("temperature_c")
        return (
            sample.get("sm_clock_mhz") == self._steady_mhz
            and sample.get("utilization_pct") == self._used_pct
            and (temperature_c is None or temperature_c < self._hot_c)
            and not (self._hot.is_on or self.episodes)
            and self._are_quiet(time_s, sample)
        )

    def _are_quiet(self, time_s: float, sample: Mapping[str, Any]) -> bool:
        """Take in that causes are as in the reading before, not active, if so; return whether it is so."""
        look, mask = sample.get, self._quiet_mask
        if (
            mask is None
            or look("clock_event_mask") != mask
            or look("throttled_thermal_ns") != self._thermal.count
            or look("throttled_brake_ns") != self._brake.count
            or look("throttled_power_ns") != self._power.count
        ):
            return False
        self._quiet_s.append(time_s)
        if len(self._quiet_s) > _CROWDED:
            self._tell_shares()
        return True

    def _take(self, time_s: float, elapsed_s: float | None, sample: Mapping[str, Any]) -> None:
        """Learn a reading later than the one before."""
        mask, clock_mhz = _whole(sample.get("clock_event_mask")), None
        temperature_c = _number(sample, "temperature_c")
        if not self._are_quiet(time_s, sample):
            self._share(time_s, elapsed_s, mask, sample)
        stands_s = 0.0 if elapsed_s is None else min(elapsed_s, self.gap_s)
        self._used_pct = used_pct = _number(sample, "utilization_pct")
        if not (mask and mask & IDLE) and (used_pct is None or used_pct >= self.idle_pct):
            clock_mhz = _number(sample, "sm_clock_mhz")
        self._watch_clock(time_s, stands_s, clock_mhz, temperature_c)
        is_hot = temperature_c is not None and temperature_c >= self._hot_c
        if is_hot or self._hot.is_on:
            self._hot.update(time_s, stands_s, is_hot)
        self._judge(time_s, mask, temperature_c)

    def _judge(self, time_s: float, mask: int | None, temperature_c: float | None) -> None:
        """Find what is met now, and what begins or ends with it."""
        if self._quiet_mask is not None and not (self._lossy.is_on or self._hot.is_on or self.episodes):
            self.state = "normal"  # nothing is met
            return
        met = self._conditions(time_s, temperature_c)
        self._follow(time_s, met)
        self.state = self._gravest(met, mask, temperature_c)

    def _share(
        self, time_s: float, elapsed_s: float | None, mask: int | None, sample: Mapping[str, Any]
    ) -> None:
        """Let the shares learn a reading, after those that were like the one before them."""
        self._tell_shares()
        self._thermal.update(time_s, elapsed_s, None if mask is None else is_thermal(mask), sample)
        self._brake.update(time_s, elapsed_s, None if mask is None else is_brake(mask), sample)
        self._power.update(time_s, elapsed_s, None if mask is None else is_power_cap(mask), sample)
        are_quiet = self._has_limits and all(share.is_quiet for share in self._shares)
        self._quiet_mask = mask if are_quiet else None

    def _tell_shares(self) -> None:
        """Let the shares know the readings in which no cause was active, as in the one before them."""
        if self._quiet_s:
            entries = [(time_s, 0.0, 0.0) for time_s in self._quiet_s]
            for share in self._shares:
                share.entries.extend(entries)
                share.forget(self._quiet_s[-1])
            self._quiet_s.clear()

    def _watch_clock(
        self, time_s: float, stands_s: float, clock_mhz: float | None, temperature_c: float | None
    ) -> None:
        """Compare the clock, None if idle or not known, with the usual one."""
        self._steady_mhz = nan
        if clock_mhz is None:
            self.clock_loss = None
            self._lossy.update(time_s, stands_s, False)
            return
        if self._quiet_mask is not None:
            throttled = False
        elif self._bits_known():
            throttled = self._thermal.now > 0.0 or self._brake.now > 0.0
        else:
            throttled = self._within(self.near_margin_c, temperature_c)
        if not throttled and self._usual.take(time_s, stands_s, clock_mhz):
            self.usual_clock_mhz = self._usual.get()
        usual_mhz = self.usual_clock_mhz
        self.clock_loss = None if usual_mhz is None else 1.0 - clock_mhz / usual_mhz
        lossy = self.clock_loss is not None and self.clock_loss >= self.clock_loss_ratio
        if lossy or self._lossy.is_on:
            self._lossy.update(time_s, stands_s, lossy)
        elif self._quiet_mask is not None:
            self._steady_mhz = clock_mhz

    def _conditions(self, time_s: float, temperature_c: float | None) -> dict[State, float]:
        """Return the conditions met now, each with the time from which on it has been met."""
        met: dict[State, float] = {}
        thermal, brake = self._thermal.majority, self._brake.majority
        if self._lossy.lasted_s >= self.loss_s - 1e-9:
            since_s = self._lossy.onset_s
            if brake:
                met["collapse.brake"] = max(since_s, self._brake.onset_s)
            if thermal:
                met["collapse.thermal"] = max(since_s, self._thermal.onset_s)
            elif not self._bits_known() and self._within(self.near_margin_c, temperature_c):
                met["collapse.thermal"] = since_s
            if self._power.majority and not thermal and not brake:
                met["power_limited"] = max(since_s, self._power.onset_s)
        onsets = [share.onset_s for share in (self._thermal, self._brake) if share.majority]
        if self._hot.lasted_s >= self.majority_s - 1e-9:
            onsets.append(self._hot.onset_s)
        if max(self._thermal.counted_s, self._brake.counted_s) > self.counter_warn_s:
            onsets.append(time_s)
        if onsets:
            met["throttle.warn"] = min(onsets)
        return met

    def _follow(self, time_s: float, met: dict[State, float]) -> None:
        if not met and not self.episodes:
            return
        started, ended = [], []
        for condition in CONDITIONS:
            episode = self.episodes.get(condition)
            if condition in met:
                if episode is None:
                    episode = ThrottleEpisode(condition, met[condition], time_s)
                    self.episodes[condition] = episode
                    started.append(episode)
                episode.last_s = time_s
            elif episode is not None and time_s - episode.last_s >= self.quiet_s:
                episode.end_s = episode.last_s
                ended.append(self.episodes.pop(condition))
        self.started, self.ended = tuple(started), tuple(ended)

    def _gravest(self, met: dict[State, float], mask: int | None, temperature_c: float | None) -> State:
        if met:
            return next(condition for condition in CONDITIONS if condition in met)
        warm = self.temperature_limit_c is not None and temperature_c is not None
        return "normal" if self._bits_known() or mask is not None or warm else "unknown"

    def _bits_known(self) -> bool:
        return self._thermal.share is not None or self._brake.share is not None

    def _within(self, margin_c: float, temperature_c: float | None) -> bool:
        limit_c = self.temperature_limit_c
        return limit_c is not None and temperature_c is not None and temperature_c >= limit_c - margin_c


class _Streak:
    """For how long a condition has been true without a break, and since when."""

    def __init__(self) -> None:
        self.lasted_s = self.onset_s = 0.0
        self.is_on = False

    def update(self, time_s: float, stands_s: float, true: bool) -> None:
        if not true:
            self.is_on = False
            self.lasted_s = 0.0
            return
        if not self.is_on:
            self.is_on = True
            self.onset_s = time_s
        self.lasted_s += stands_s


class _Share:
    """Share of the last seconds in which a clock event was active, from its bits and its counter."""

    def __init__(self, counter: str, window_s: float) -> None:
        self.share: float | None = None
        self.now = 0.0
        self.counted_s = 0.0
        self.onset_s = 0.0
        self.majority = False
        self.is_quiet = False  # known, and not active within the window
        self.count: int | None = None
        self.entries: deque[tuple[float, float, float]] = deque()  # time, share, counted seconds
        self._active_s = float("-inf")
        self._counter, self._window_s = counter, window_s

    def update(
        self, time_s: float, elapsed_s: float | None, bit: bool | None, sample: Mapping[str, Any]
    ) -> None:
        if elapsed_s is not None and sample.get(self._counter) == self.count:  # most do not move
            counted_s = None if self.count is None else 0.0
        else:
            counted_s = self._advanced_s(elapsed_s, sample)
        entries, begin_s = self.entries, self.forget(time_s)
        if not bit and not counted_s:
            self.now = 0.0
            if bit is not None or counted_s is not None:
                entries.append((time_s, 0.0, 0.0))
        else:
            self.now = now = 1.0 if bit else counted_s / elapsed_s if counted_s and elapsed_s else 0.0
            entries.append((time_s, now, counted_s or 0.0))
            if now > 0.0:
                self._active_s = time_s
        if self._active_s > begin_s:
            self._sum_up()
        else:  # every entry is 0
            self.share, self.counted_s, self.majority = 0.0 if entries else None, 0.0, False
        self.is_quiet = self.share == 0.0

    def forget(self, time_s: float) -> float:
        """Drop what is out of the window at a time; return where that begins."""
        entries, begin_s = self.entries, time_s - self._window_s + 1e-9
        while entries and entries[0][0] <= begin_s:
            entries.popleft()
        return begin_s

    def _sum_up(self) -> None:
        entries = self.entries
        total = counted_s = 0.0
        for _, one, seconds in entries:
            total += one
            counted_s += seconds
        self.share, self.counted_s = total / len(entries), counted_s
        majority = self.share > 0.5
        if majority and not self.majority:
            self.onset_s = next(at for at, one, _ in entries if one > 0.0)
        self.majority = majority

    def _advanced_s(self, elapsed_s: float | None, sample: Mapping[str, Any]) -> float | None:
        """Return by how much the counter advanced since the last reading, not known if it was reset."""
        count = _number(sample, self._counter)
        before, self.count = self.count, None if count is None else int(count)
        if self.count is None or before is None or elapsed_s is None or self.count < before:
            return None
        return min((self.count - before) / 1e9, elapsed_s)


def _whole(mask: Any) -> int | None:
    return None if mask is None or mask != mask else int(mask)


def _number(sample: Mapping[str, Any], name: str) -> float | None:
    value = sample.get(name)
    return None if value is None or not isfinite(value := float(value)) else value
