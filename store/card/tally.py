"""What a run knows of its devices while it is recorded, at no cost: throttled time and energy so far."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from thermograd.store.card.text import SPIKES, CardFacts, facts_of, spikes_of, throttled_by
from thermograd.store.efficiency.energy import joules_between
from thermograd.store.events import WATCHED_KINDS, Event, was_watched
from thermograd.store.log.following.follower import Follower
from thermograd.store.processes import rank_of_writer
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import is_simulated
from thermograd.store.throttling.reasons import COUNTERS, HEAT, Cause
from thermograd.store.throttling.spans import INPUT, spans_between

_COLUMNS = (*INPUT, "energy_j", "power_w")
_CHUNK_ROWS = 512
_MOST_OPEN = 64  # tails: a process may have 1024 files


class RunTally:
    """Counts a run's samples as they come: bounded memory, a few microseconds a sample.

    Samples are taken together in chunks that overlap by one, so that nothing is lost between them.
    """

    def __init__(self) -> None:
        self._devices: dict[str, _DeviceTally] = {}
        self._alerts: list[dict[str, Any]] = []
        self._is_watched = False
        self._broken = BrokenSteps()

    def take(self, events: Iterable[Event]) -> None:
        """Take in the events of a look at the log."""
        for event in events:
            device = event.values.get("device")
            if event.kind == "sample" and device is not None:
                self._devices.setdefault(str(device), _DeviceTally()).take(event.values)
            elif event.kind == "alert" and event.values.get("alert") in SPIKES:
                self._alerts.append(event.values)
            elif event.kind == "step":
                self._broken.take(event.writer, event.values)
            elif event.kind == "mark":
                self._is_watched |= was_watched([event.values])

    def facts(self, run: Run) -> CardFacts:
        """Return what a card of the run says now, without a verdict."""
        described = run.facts.get("devices", {})
        gpus = [name for name in self._devices if _is_gpu(name, described.get(name, {}))]
        chosen = {name: self._devices[name] for name in gpus or self._devices}
        return CardFacts(
            watched=self._is_watched,
            noun="GPU" if gpus else "device",
            simulated=any(is_simulated(name, described.get(name, {})) for name in chosen),
            **facts_of(run),
            **spikes_of(self._alerts),
            **self._broken.facts(),
            **_measured(chosen, described),
        )


class BrokenSteps:
    """Counts the steps whose loss or norm is not finite, of the rank that has most of them."""

    def __init__(self) -> None:
        self._by_rank: defaultdict[int, int] = defaultdict(int)
        self._first: int | None = None

    def take(self, writer: str, values: Mapping[str, Any]) -> None:
        """Take in a step; what is not known of it is no fault."""
        known = [value for name in ("loss", "grad_norm") if (value := values.get(name)) is not None]
        if all(map(math.isfinite, known)):
            return
        self._by_rank[rank_of_writer(writer) or 0] += 1
        if (step := values.get("step")) is not None:
            self._first = step if self._first is None else min(self._first, step)

    def facts(self) -> dict[str, Any]:
        """Return in how many steps, and from which on."""
        return {"nonfinite": max(self._by_rank.values(), default=0), "nonfinite_from": self._first}


class FollowedRun:
    """A run's log as it grows, counted on the way; where its directory is moved to, it is followed."""

    def __init__(self, run_dir: Callable[[], Path]) -> None:
        self._run_dir, self._tally = run_dir, RunTally()
        self._follower = Follower(run_dir(), WATCHED_KINDS, kept_open=_MOST_OPEN)

    def poll(self) -> list[Event]:
        """Return the events that appeared since the last call."""
        self._follower.run_dir = self._run_dir()
        events = self._follower.poll()
        self._tally.take(events)
        return events

    def close(self) -> None:
        """Let go of the log's files."""
        self._follower.close()

    def card(self) -> CardFacts:
        """Return what a card of the run says, after a last look."""
        self.poll()
        return self._tally.facts(Run(self._run_dir()))


def _is_gpu(name: str, facts: Mapping[str, Any]) -> bool:
    return name.lower().startswith(("gpu", "simulated:")) or "gpu" in str(facts.get("model") or "").lower()


def _measured(chosen: "Mapping[str, _DeviceTally]", described: Mapping[str, Any]) -> dict[str, Any]:
    for device in chosen.values():
        device.count()
    observed_s = sum(device.observed_s for device in chosen.values())
    energies = [device.energy_j for device in chosen.values() if device.energy_j is not None]
    begins = [device.first_ns for device in chosen.values()]
    ends = [device.last_ns for device in chosen.values()]
    return {
        "devices": len(chosen),
        "recorded_s": (max(ends) - min(begins)) / 1e9 if chosen else 0.0,
        "throttled_share": sum(d.throttled_s for d in chosen.values()) / observed_s if observed_s else None,
        "throttled_by": throttled_by(*(sum(d.seconds[cause] for d in chosen.values()) for cause in HEAT)),
        "why_unknown": _first(described, chosen, "missing", "clock_event_mask", "throttled_thermal_ns"),
        "energy_j": sum(energies) if energies else None,
        "energy_devices": len(energies),
        "energy_doubt": _first(described, chosen, "suspect", "power_w"),
    }


def _first(described: Mapping[str, Any], chosen: Iterable[str], what: str, *columns: str) -> str:
    """Return what a run's facts say of some columns of the first device of which they say anything."""
    told = [described.get(name, {}).get(what) for name in chosen]
    known = [each.get(column) for each in told if isinstance(each, dict) for column in columns]
    return str(next(filter(None, known), ""))


@dataclass(slots=True)
class _DeviceTally:
    first_ns: int = 0
    last_ns: int = 0
    observed_s: float = 0.0
    throttled_s: float = 0.0
    seconds: dict[Cause, float] = field(default_factory=lambda: dict.fromkeys(HEAT, 0.0))
    energy_j: float | None = None
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def take(self, values: Mapping[str, Any]) -> None:
        self.first_ns = self.first_ns or int(values["time_ns"])
        self.last_ns = max(self.last_ns, int(values["time_ns"]))
        self.rows.append(tuple(values.get(name) for name in _COLUMNS))
        if len(self.rows) >= _CHUNK_ROWS:
            self.count()

    def count(self) -> None:
        """Add up the rows that wait, and keep the last one, with which the next chunk begins."""
        rows = sorted(self.rows, key=lambda row: int(row[0]))
        self._add(dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {})
        self.rows = rows[-1:]

    def _add(self, samples: Mapping[str, Sequence[Any]]) -> None:
        columns = {name: samples.get(name, ()) for name in _COLUMNS}
        time_ns, masks = np.array(columns["time_ns"], np.int64), columns["clock_event_mask"]
        mask = np.array([0 if bits is None else bits for bits in masks], np.uint64)
        told = np.array([bits is not None for bits in masks], bool)
        floats = {name: _floats(columns[name]) for name in (*COUNTERS.values(), "energy_j", "power_w")}
        spans = spans_between(time_ns, mask, told, floats)
        throttled_s = spans.throttled_s(HEAT)
        known = np.isfinite(throttled_s)
        self.observed_s += float(spans.elapsed_s[known].sum())
        self.throttled_s += float(throttled_s[known].sum())
        for cause in HEAT:
            self.seconds[cause] += float(np.nansum(spans.seconds[cause]))
        energy = joules_between(time_ns, floats["energy_j"], floats["power_w"])
        if energy is not None:
            self.energy_j = (self.energy_j or 0.0) + float(energy.joules.sum())


def _floats(values: Sequence[float | None]) -> Any:
    """Return readings as float64, NaN where they are not known."""
    return np.array([math.nan if value is None else value for value in values], np.float64)
