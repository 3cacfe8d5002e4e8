"""The clocks of a run's hosts: which writer went by which, how far they are apart, and times set right."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.store.clocks.offsets import Offset, clock_offsets
from thermograd.store.clocks.step_ends import StepEnds, step_ends
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run

Times = NDArray[np.int64]

_SET_NS = 20_000_000  # a wall clock that moves more from step to step was set
_NS = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class HostClock:
    """One host's clock against that of the host whose steps a run's analysis takes.

    Attributes
    ----------
    host
        Its name; where two have one name, with the boot's id.
    offset_s, unsure_s
        By how much it was ahead of the reference (median over the steps), and the half-width of the 95 %
        interval; None where that is not known.
    first_s, last_s, drift_ppm
        The offset at the first and the last common step, and how fast the two clocks part.
    set_by_s
        By how much the clock was set during the run, each time.
    steps, ranks
        Steps that were compared, and the host's ranks.
    reason
        Why there is no offset.
    by
        What `unsure_s` stands on: "step ends", "NTP" (both hosts say that they are synchronised), or empty.
    ntp
        The host's last word on its time service (see `ntp.ntp_state`), None where it has none.
    """

    host: str
    offset_s: float | None = None
    unsure_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None
    drift_ppm: float | None = None
    set_by_s: list[float] = field(default_factory=list)
    steps: int = 0
    ranks: int = 0
    reason: str | None = None
    by: str = ""
    ntp: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunClocks:
    """The clocks of a run that was written on several hosts.

    Attributes
    ----------
    reference
        The name of the host that counts as right: that of the lowest rank.
    hosts
        The other hosts, by name.
    """

    reference: str
    hosts: dict[str, HostClock]
    reference_ntp: dict[str, Any] | None
    _host_of: dict[str, str]
    _series: dict[str, "_Series"]
    _offsets: dict[str, Offset]

    def host_of(self, writer: str) -> HostClock | None:
        """Return the clock of a writer, None where that is the reference's own."""
        return self.hosts.get(self._host_of.get(writer, self.reference))

    def set_right(self, writer: str, time_ns: Times, monotonic_ns: Times) -> Times:
        """Return times of a writer's events by the reference's wall clock, to the nearest nanosecond.

        As they are where the writer is on the reference's host or the offset is not known.
        """
        name = self._host_of.get(writer, self.reference)
        offset = self._offsets.get(name)
        if name == self.reference or offset is None or not offset.pieces:
            return time_ns
        steady_s = self._series[name].steady_s(time_ns, monotonic_ns)
        return self._series[self.reference].wall_ns(steady_s - offset.at(steady_s))


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """The step ends that one clock has stamped."""

    # rank, step, time_ns, monotonic_ns: shape (n,), by time on the steady clock
    rank: Times
    step: Times
    time_ns: Times
    monotonic_ns: Times
    is_steady: bool  # whether the monotonic clock is told: of an imported log the wall clock is all there is
    base_ns: int

    def steady_s(self, time_ns: Times, monotonic_ns: Times) -> NDArray[np.float64]:
        """Return times on this host's steady clock, s since its first step."""
        return np.asarray(((monotonic_ns if self.is_steady else time_ns) - self.base_ns) / _NS)

    def wall_ns(self, steady_s: NDArray[np.float64]) -> Times:
        """Return what the wall clock showed at times of the steady one: as at the nearest steps."""
        steady_ns = np.round(steady_s * _NS).astype(np.int64) + self.base_ns
        if not self.is_steady:
            return steady_ns
        ahead = self.time_ns - self.monotonic_ns
        since = np.interp(steady_ns, self.monotonic_ns, (ahead - ahead[0]).astype(np.float64))
        return np.asarray(steady_ns + int(ahead[0]) + np.round(since).astype(np.int64), dtype=np.int64)

    def ends(self) -> StepEnds:
        return step_ends(self.rank, self.step, self.steady_s(self.time_ns, self.monotonic_ns))

    def set_by_s(self) -> list[float]:
        """Return by how much the wall clock jumped against the steady one."""
        ahead = np.diff(self.time_ns - self.monotonic_ns) if self.is_steady else np.empty(0)
        return [float(jump) / _NS for jump in ahead[np.abs(ahead) > _SET_NS]]


def run_clocks(run: Run, steps: pa.Table | None = None) -> RunClocks | None:
    """Return the clocks of a run's hosts, None where all was written on one.

    Containers of one machine have one clock: hosts are told apart by the kernel's boot, else by name.

    Parameters
    ----------
    run
        The run.
    steps
        Its events of the kind `step` with their writers, where they have been read already.
    """
    writers = {str(facts["writer"]): facts for facts in run.writers() if facts.get("writer")}
    keys = {name: str(facts.get("boot_id") or facts.get("host") or "") for name, facts in writers.items()}
    if len(set(keys.values())) < 2:
        return None
    names = _names({key: str(writers[name].get("host") or key) for name, key in keys.items()})
    host_of = {writer: names[key] for writer, key in keys.items()}
    table = read_kind(run.path, "step") if steps is None else steps
    series = _series(table, host_of)
    ntp = _ntp_by_host(run, host_of)
    ranked = [name for name in sorted(series) if series[name].rank.size]
    if not ranked:
        return None
    reference = min(ranked, key=lambda name: (int(series[name].rank.min()), name))
    offsets = clock_offsets({name: each.ends() for name, each in series.items()}, reference)
    hosts = {
        name: _host_clock(name, offsets.get(name), series, ntp, reference)
        for name in sorted(set(host_of.values()) - {reference})
    }
    return RunClocks(reference, hosts, ntp.get(reference), host_of, series, offsets)


def _names(hosts: Mapping[str, str]) -> dict[str, str]:
    """Return a name for each clock: its host's, told apart by the boot where several have one."""
    called = list(hosts.values())
    return {key: host if called.count(host) == 1 else f"{host} ({key})" for key, host in hosts.items()}


def _series(steps: pa.Table, host_of: Mapping[str, str]) -> dict[str, _Series]:
    """Return the step ends by host; of steps without a number or a rank none."""
    known = steps.filter(pa.compute.is_valid(steps["step"])).select(
        ["writer", "rank", "step", "time_ns", "monotonic_ns"]
    )
    writers = known["writer"].combine_chunks().dictionary_encode()
    hosts = np.array([host_of.get(name, "") for name in writers.dictionary.to_pylist()], dtype=object)
    host = hosts[np.asarray(writers.indices)] if len(known) else np.empty(0, dtype=object)
    columns = [
        np.asarray(known[name].fill_null(0), dtype=np.int64)
        for name in ("rank", "step", "time_ns", "monotonic_ns")
    ]
    return {
        name: _one_series(*(column[host == name] for column in columns))
        for name in dict.fromkeys(hosts.tolist())
        if name
    }


def _one_series(rank: Times, step: Times, time_ns: Times, monotonic_ns: Times) -> _Series:
    is_steady = bool(np.ptp(monotonic_ns) >= 0.5 * np.ptp(time_ns) > 0)
    steady = monotonic_ns if is_steady else time_ns
    order = np.argsort(steady, kind="stable")
    base_ns = int(steady[order[0]])
    return _Series(rank[order], step[order], time_ns[order], monotonic_ns[order], is_steady, base_ns)


def _ntp_by_host(run: Run, host_of: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return each host's last word on its time service."""
    marks = read_kind(run.path, "mark")
    told = marks.filter(pa.compute.equal(marks["mark"], "clock")).sort_by([("time_ns", "ascending")])
    states = {}
    for writer, detail in zip(told["writer"].to_pylist(), told["detail"].to_pylist(), strict=True):
        with suppress(TypeError, ValueError, KeyError, RecursionError):
            state = json.loads(detail)["ntp"]
            if isinstance(state, dict):
                states[host_of[writer]] = state
    return states


def _host_clock(
    name: str,
    offset: Offset | None,
    series: Mapping[str, _Series],
    ntp: Mapping[str, dict[str, Any]],
    reference: str,
) -> HostClock:
    own = ntp.get(name)
    if offset is None or not offset.pieces:
        why = "no rank of this host logged a step" if offset is None else offset.reason
        unsure_s = _by_ntp(own, ntp.get(reference))
        by = "" if unsure_s is None else "NTP"
        return HostClock(name, unsure_s=unsure_s, by=by, reason=why, ntp=own)
    mine = series[name]
    steady_s = mine.steady_s(mine.time_ns, mine.monotonic_ns)
    right_ns = series[reference].wall_ns(steady_s - offset.at(steady_s))
    ahead_s = (mine.time_ns - right_ns) / _NS
    longest = max(offset.pieces, key=lambda piece: piece.steps)
    return HostClock(
        name,
        float(np.median(ahead_s)),
        offset.unsure_s,
        float(ahead_s[0]),
        float(ahead_s[-1]),
        1e6 * longest.slope,
        mine.set_by_s(),
        offset.steps,
        int(np.unique(mine.rank).size),
        by="step ends",
        ntp=own,
    )


def _by_ntp(own: Mapping[str, Any] | None, others: Mapping[str, Any] | None) -> float | None:
    """Return how far two clocks can be apart by what both time services promise; None if one does not."""
    errors = [
        float(state["max_error_s"])
        for state in (own, others)
        if state and state.get("synchronised") and isinstance(state.get("max_error_s"), int | float)
    ]
    return sum(errors) if len(errors) == 2 else None
