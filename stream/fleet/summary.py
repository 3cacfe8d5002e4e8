"""What a node's events come to, second by second: the latest of each rank and device."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import isfinite
from typing import Any

from thermograd.store.events import Event
from thermograd.store.throttling.reasons import is_brake, is_thermal
from thermograd.stream.fleet.brokers.messages import DeviceNow, RankNow

WORK_TIME = "work_time_s"  # what a training calls its own time of a step, see `SlowRanks`
_MOST_TIMES = 64  # step times of a rank in one beat; of more, the mean of each stretch
_COUNTERS = ("throttled_thermal_ns", "throttled_brake_ns")


class NodeSummary:
    """Takes in events; `take` returns ranks and devices as they are, for one beat.

    Devices without an event since the last `take` are left out. Ranks are there with what they last said,
    and no step: whoever comes later is given the last beat alone.
    """

    def __init__(self) -> None:
        self.newest_ns: int | None = None
        self._ranks: dict[tuple[str, int | None], RankNow] = {}
        self._said: dict[int | None, RankNow] = {}
        self._devices: dict[str, DeviceNow] = {}
        self._counters: dict[str, tuple[int | None, ...]] = {}

    def learn(self, events: Iterable[Event]) -> None:
        """Take in events, of whatever kind."""
        for event in events:
            values = event.values
            if event.kind == "step":
                self._step(event.writer, values)
            elif event.kind == "metric" and values.get("name") == WORK_TIME:
                self._work(event.writer, values)
            elif event.kind == "sample" and values.get("device") is not None:
                self._sample(values)
            self.newest_ns = max(self.newest_ns or 0, int(values["time_ns"]))

    def _step(self, writer: str, values: Mapping[str, Any]) -> None:
        key = (writer, values.get("rank"))
        now = self._ranks.setdefault(key, RankNow(values.get("rank")))
        now.steps += 1
        for name in ("step", "loss", "grad_norm"):
            if values.get(name) is not None:
                setattr(now, name, values[name])
        duration_s = values.get("step_time_s")
        if duration_s is not None and isfinite(duration_s):
            now.step_times_s.append(float(duration_s))

    def _work(self, writer: str, values: Mapping[str, Any]) -> None:
        now = self._ranks.setdefault((writer, values.get("rank")), RankNow(values.get("rank")))
        work_s = values.get("value")
        if work_s is not None and isfinite(work_s):
            now.work_times_s.append(float(work_s))

    def _sample(self, values: Mapping[str, Any]) -> None:
        device = str(values["device"])
        now = self._devices.setdefault(device, DeviceNow(device))
        for name in ("utilization_pct", "power_w", "temperature_c"):
            if values.get(name) is not None:
                setattr(now, name, values[name])
        now.throttled = _graver(now.throttled, self._throttled(device, values))

    def _throttled(self, device: str, values: Mapping[str, Any]) -> str | None:
        """Return what slows a device by its driver's bits and counters, None where it has neither."""
        counters = tuple(values.get(name) for name in _COUNTERS)
        before, self._counters[device] = self._counters.get(device, (None, None)), counters
        grown = [_has_grown(*pair) for pair in zip(before, counters, strict=True)]
        mask = values.get("clock_event_mask")
        if mask is None and counters == (None, None):
            return None
        thermal = bool(grown[0]) or (mask is not None and bool(is_thermal(mask)))
        brake = bool(grown[1]) or (mask is not None and bool(is_brake(mask)))
        return "brake" if brake else "thermal" if thermal else ""

    def take(self) -> tuple[list[RankNow], list[DeviceNow]]:
        """Return what is new since the last call, and what each other rank last said."""
        quiet = {rank: now for rank, now in self._said.items() if rank not in {key[1] for key in self._ranks}}
        ranks = sorted(
            [*self._ranks.values(), *quiet.values()], key=lambda now: -1 if now.rank is None else now.rank
        )
        for now in self._ranks.values():
            self._say(now)
        devices = list(self._devices.values())
        for now in ranks:
            now.step_times_s, now.work_times_s = _fewer(now.step_times_s), _fewer(now.work_times_s)
        self._ranks, self._devices = {}, {}
        return ranks, devices

    def _say(self, now: RankNow) -> None:
        before = self._said.get(now.rank) or RankNow(now.rank)
        said = {
            name: getattr(before if getattr(now, name) is None else now, name)
            for name in ("step", "loss", "grad_norm")
        }
        self._said[now.rank] = RankNow(now.rank, **said)


def _has_grown(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _graver(before: str | None, after: str | None) -> str | None:
    """Return the graver of two states within one second."""
    order = (None, "", "thermal", "brake")
    return max(before, after, key=order.index)


def _fewer(times_s: list[float]) -> list[float]:
    """Return at most so many step times as a beat has room for: means of stretches of equal length."""
    if len(times_s) <= _MOST_TIMES:
        return times_s
    ends = [round(part * len(times_s) / _MOST_TIMES) for part in range(_MOST_TIMES + 1)]
    stretches = (times_s[begin:end] for begin, end in pairwise(ends))
    return [sum(stretch) / len(stretch) for stretch in stretches]
