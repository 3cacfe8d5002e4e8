"""A job of many ranks on several hosts whose clocks disagree, written as its processes would have.

All ranks finish a step at nearly the same true time, as collectives make them: each a little late, by an
exponential time. Every host stamps its events with its own clock, which is wrong by an offset and drifts;
one host's may be set in mid-run, as NTP does. What is true stands in ``run.json``.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.ingest.simulate.gpu import PRESETS, sensor_facts
from thermograd.store.errors import LogError, ScenarioError, os_errors_as
from thermograd.store.events import SETTINGS_MARK, arrow_schema
from thermograd.store.files import write_json, writer_file
from thermograd.store.log.segments import write_parquet
from thermograd.store.runs.catalogue import Run, build_run
from thermograd.store.version import __version__

_NS = 1_000_000_000
_MODEL = "simulated GPU"
_PERSISTENCE = 0.9  # of the norm and of the temperature, from one second to the next
_STEP_SPREAD = 0.03  # of a step's length, as a share
_MOST_RANKS = 4096
_MOST_MINUTES = 14 * 24 * 60
_LONGEST_LAG_S = 60

Floats = NDArray[np.float64]
Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a simulated cluster is like.

    Attributes
    ----------
    hosts, ranks
        Hosts, and ranks over all of them, spread evenly; each rank has one device.
    steps, step_s
        Steps of the job, and how long one is, in s.
    clock_offset_s, drift_ppm
        The largest offset of a host's clock at the beginning, and its largest drift; drawn evenly between
        minus and plus that. The first host's clock is wrong like any other.
    clock_step_s
        By how much the last host's clock is set in the middle of the run; 0: it is not.
    lateness_s
        Mean time from a step's end to a rank's note of it.
    rho, lag_s
        Correlation of what is new in the norm with what is new in every device's temperature, `lag_s` later
        in true time.
    hz
        Samples a second of each device.
    late_host_s
        When the last host joins, in s after the beginning.
    independent
        Each host's ranks train by themselves: their step ends have nothing to do with other hosts'.
    seed
        Same seed, same values.
    """

    hosts: int = 8
    ranks: int = 64
    steps: int = 1200
    step_s: float = 0.5
    clock_offset_s: float = 0.2
    drift_ppm: float = 50.0
    clock_step_s: float = 0.0
    lateness_s: float = 0.002
    rho: float = 0.0
    lag_s: int = 3
    hz: float = 1.0
    late_host_s: float = 0.0
    independent: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= self.ranks <= _MOST_RANKS:
            raise ValueError(
                f"hosts is {self.hosts!r} and ranks {self.ranks!r}; "
                f"allowed: 1 <= hosts <= ranks <= {_MOST_RANKS}"
            )
        if self.steps < 2 or not (self.step_s > 0 and 0.1 <= self.hz <= 10 and abs(self.rho) <= 1):
            raise ValueError(
                f"steps={self.steps!r}, step_s={self.step_s!r}, hz={self.hz!r}, rho={self.rho!r}; allowed: "
                "steps from 2, step_s above 0, hz 0.1 to 10, rho -1 to 1"
            )

    @property
    def length_s(self) -> float:
        """Length of the run."""
        return self.steps * self.step_s

    def host_of(self, rank: int) -> int:
        """Return the number of a rank's host."""
        return rank * self.hosts // self.ranks


def cluster_asked_for(
    hosts: int, ranks: int | None, minutes: float, lag_s: float | None, **given: Any
) -> Cluster:
    """Return the cluster that the command line asks for; ScenarioError with what is allowed.

    `given` are other fields of a `Cluster`; one that is None has its default.
    """
    ranks, lag_s = 8 * hosts if ranks is None else ranks, 3 if lag_s is None else lag_s
    if not hosts <= ranks <= _MOST_RANKS:
        raise ScenarioError(f"{ranks} ranks on {hosts} hosts; allowed are {hosts} to {_MOST_RANKS} ranks")
    if not 0 < minutes <= _MOST_MINUTES:
        raise ScenarioError(
            f"the length is {minutes:g} minutes; allowed is above 0 and up to {_MOST_MINUTES} (14 days)"
        )
    if not (abs(lag_s) <= _LONGEST_LAG_S and lag_s == round(lag_s)):
        raise ScenarioError(f"the lag is {lag_s:g} s; allowed are whole seconds, -60 to 60")
    told = {name: value for name, value in given.items() if value is not None}
    return Cluster(hosts, ranks, max(2, round(120 * minutes)), lag_s=round(lag_s), **told)


@dataclass(frozen=True, slots=True)
class HostClock:
    """A host's clock: what it shows at a true time, in s after the beginning."""

    offset_s: float
    drift_ppm: float
    set_at_s: float = np.inf
    set_by_s: float = 0.0
    up_s: float = 0.0  # since when the host had been up when the run began

    def wall_s(self, true_s: Floats) -> Floats:
        """Return what the wall clock shows."""
        return true_s + self.error_s(true_s)

    def error_s(self, true_s: Floats) -> Floats:
        """Return by how much the wall clock is ahead of the truth."""
        return self.offset_s + 1e-6 * self.drift_ppm * true_s + self.set_by_s * (true_s >= self.set_at_s)

    def monotonic_s(self, true_s: Floats) -> Floats:
        """Return what the monotonic clock shows, which is never set."""
        return self.up_s + true_s * (1 + 1e-6 * self.drift_ppm)


def simulate_cluster(runs_dir: Path, cluster: Cluster, end_ns: int | None = None) -> Run:
    """Write a finished run of a cluster; labelled simulated, with the truth about its clocks.

    Raises LogError if the run cannot be written; nothing is left behind then.
    """
    rng = np.random.default_rng([cluster.seed, 15])
    clocks = _clocks(cluster, rng)
    begin_ns = ((time.time_ns() if end_ns is None else end_ns) // _NS - round(cluster.length_s)) * _NS
    name = f"simulated: cluster, {cluster.ranks} ranks, {cluster.hosts} hosts, seed {cluster.seed}"
    with build_run(runs_dir, name, _facts(cluster, clocks, begin_ns)) as run:
        with os_errors_as(LogError, f"cannot write the simulation to {runs_dir}"):
            _Writing(run, cluster, clocks, begin_ns, rng).write()
        run_id = run.run_id
    return Run(runs_dir / run_id)


def host_name(number: int) -> str:
    """Return what a host is called."""
    return f"node-{number}"


def device_name(cluster: Cluster, rank: int) -> str:
    """Return the name of a rank's device."""
    return f"simulated:{host_name(cluster.host_of(rank))}-gpu-{_place(cluster, rank)}"


def _place(cluster: Cluster, rank: int) -> int:
    host = cluster.host_of(rank)
    return sum(cluster.host_of(other) == host for other in range(rank))


def _clocks(cluster: Cluster, rng: np.random.Generator) -> list[HostClock]:
    offsets = rng.uniform(-cluster.clock_offset_s, cluster.clock_offset_s, cluster.hosts)
    drifts = rng.uniform(-cluster.drift_ppm, cluster.drift_ppm, cluster.hosts)
    up_s = rng.uniform(1e4, 1e7, cluster.hosts)
    is_set = np.arange(cluster.hosts) == (cluster.hosts - 1 if cluster.clock_step_s else -1)
    return [
        HostClock(
            float(offsets[host]),
            float(drifts[host]),
            cluster.length_s / 2 if is_set[host] else np.inf,
            cluster.clock_step_s * float(is_set[host]),
            float(up_s[host]),
        )
        for host in range(cluster.hosts)
    ]


def _facts(cluster: Cluster, clocks: list[HostClock], begin_ns: int) -> dict[str, Any]:
    told = asdict(cluster)
    about = [
        {"host": host_name(host), "offset_s": clock.offset_s, "drift_ppm": clock.drift_ppm}
        | ({"set_at_s": clock.set_at_s, "set_by_s": clock.set_by_s} if clock.set_by_s else {})
        for host, clock in enumerate(clocks)
    ]
    part = PRESETS["dc"]
    device = {
        "model": _MODEL,
        "simulated": True,
        "rated_power_w": part.power_limit_w,
        "power_limit_w": part.power_limit_w,
        "temperature_limit_c": part.target_c,
        **sensor_facts(("device", "utilization_pct", "power_w", "temperature_c", "sm_clock_mhz")),
    }
    devices = {
        device_name(cluster, rank): device
        | {"host": host_name(cluster.host_of(rank)), "index": _place(cluster, rank)}
        for rank in range(cluster.ranks)
    }
    return {
        "source": "simulated",
        "simulated": True,
        "truth": {"scenario": "cluster", "about": "hosts whose clocks disagree", **told, "clocks": about},
        "clock": "simulated",
        "seed": cluster.seed,
        "sampling_hz": cluster.hz,
        "job": {"world_size": cluster.ranks},
        "thermograd_version": __version__,
        "started_time_ns": begin_ns,
        "ended_time_ns": begin_ns + round(cluster.length_s * _NS),
        "devices": devices,
    }


class _Writing:
    """Writes the events of every process of the job."""

    def __init__(
        self, run: Run, cluster: Cluster, clocks: list[HostClock], begin_ns: int, rng: np.random.Generator
    ) -> None:
        self._run, self._cluster, self._clocks = run, cluster, clocks
        self._begin_ns, self._rng = begin_ns, rng
        self._seconds = int(np.ceil(cluster.length_s)) + 1
        self._x, self._new = _persistent(rng.standard_normal(self._seconds))

    def write(self) -> None:
        """Write them all."""
        cluster = self._cluster
        ends = [self._step_ends() for _ in range(cluster.hosts if cluster.independent else 1)]
        for rank in range(cluster.ranks):
            self._write_rank(rank, ends[cluster.host_of(rank) if cluster.independent else 0])
        for host in range(cluster.hosts):
            self._write_agent(host)

    def _step_ends(self) -> Floats:
        lengths = self._cluster.step_s * np.exp(_STEP_SPREAD * self._rng.standard_normal(self._cluster.steps))
        ends = np.cumsum(lengths)
        return np.asarray(ends * self._cluster.length_s / max(float(ends[-1]), self._cluster.length_s))

    def _joined(self, host: int, true_s: Floats) -> NDArray[np.bool_]:
        late = self._cluster.late_host_s if host == self._cluster.hosts - 1 else 0.0
        return true_s >= late

    def _write_rank(self, rank: int, ends: Floats) -> None:
        host = self._cluster.host_of(rank)
        there = self._joined(host, ends)
        second = np.minimum(ends.astype(np.int64), self._seconds - 1)
        columns = {
            "step": np.arange(1, ends.size + 1),
            "rank": np.full(ends.size, rank),
            "loss": 2.0 + 2.0 * np.exp(-3 * ends / self._cluster.length_s),
            "grad_norm": np.exp(0.1 * self._x[second]),
            "max_grad_norm": np.ones(ends.size),
            "learning_rate": np.full(ends.size, 1e-4),
            "step_time_s": np.diff(ends, prepend=0.0),
            "tokens": np.full(ends.size, 8192),
        }
        noted = ends + self._rng.exponential(self._cluster.lateness_s, ends.size)
        writer = f"{host_name(host)}-r{rank}-{1000 + rank}-{rank:06x}"
        kept = {name: values[there] for name, values in columns.items()}
        self._save(writer, "training", host, "step", noted[there], kept)

    def _write_agent(self, host: int) -> None:
        cluster, rng = self._cluster, self._rng
        writer = f"{host_name(host)}-agent-{900 + host}-{host:06x}"
        ranks = [rank for rank in range(cluster.ranks) if cluster.host_of(rank) == host]
        begin_s = rng.uniform(0, 1 / cluster.hz)
        at = np.arange(begin_s, cluster.length_s, 1 / cluster.hz)
        at = at[self._joined(host, at)]
        parts = [self._samples(at) | {"device": [device_name(cluster, r)] * at.size} for r in ranks]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(np.tile(at, len(ranks)), kind="stable")
        sorted_s = np.tile(at, len(ranks))[order]
        columns = {name: np.asarray(values)[order] for name, values in columns.items()}
        self._save(writer, "agent", host, "sample", sorted_s, columns)
        marks = {"mark": ["note"], "text": [SETTINGS_MARK]}
        self._save(f"{writer[:-6]}{0xFF0000 + host:06x}", "agent", host, "mark", at[:1], marks)

    def _samples(self, at: Floats) -> Columns:
        """Return one device's columns at true times: its temperature answers the norm after the lag."""
        rho, noise = self._cluster.rho, self._rng.standard_normal((4, self._seconds))
        new = rho * np.roll(self._new, self._cluster.lag_s) + np.sqrt(1 - rho**2) * noise[0]
        y, _ = _persistent(new)
        second = np.minimum(at.astype(np.int64), self._seconds - 1)
        return {
            "utilization_pct": np.clip(96 + noise[1][second], 0, 100),
            "power_w": 600 + 8 * noise[2][second],
            "temperature_c": 62 + 2 * y[second],
            "sm_clock_mhz": 1755 + 15 * np.round(noise[3][second]),
        }

    def _save(
        self, writer: str, role: str, host: int, kind: str, true_s: Floats, columns: Mapping[str, Any]
    ) -> None:
        clock = self._clocks[host]
        wall_ns, up_ns = (
            np.round(s * _NS).astype(np.int64) for s in (clock.wall_s(true_s), clock.monotonic_s(true_s))
        )
        told = {"seq": np.arange(true_s.size), "time_ns": self._begin_ns + wall_ns, "monotonic_ns": up_ns}
        schema = arrow_schema(kind, self._run.run_id, writer)
        given = told | dict(columns)
        arrays = [
            pa.array(given[f.name], f.type) if f.name in given else pa.nulls(true_s.size, f.type)
            for f in schema
        ]
        facts: dict[str, Any] = {
            "writer": writer,
            "role": role,
            "host": host_name(host),
            "boot_id": f"simulated-{host}",
        }
        facts |= {"clock": None, "closed_time_ns": self._begin_ns + round(self._cluster.length_s * _NS)}
        path = writer_file(self._run.path, writer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, facts)
        if true_s.size:
            file = self._run.path / "sealed" / kind / f"{writer}-{0:012}-{true_s.size - 1:012}.parquet"
            write_parquet(file, pa.table(arrays, schema=schema), kind)


def _persistent(new: Floats) -> tuple[Floats, Floats]:
    """Return a series that keeps most of its last value, of variance 1, and what was new in it."""
    values = np.empty(new.size)
    last = 0.0
    scale = np.sqrt(1 - _PERSISTENCE**2)
    for place, each in enumerate(new.tolist()):
        last = _PERSISTENCE * last + scale * each
        values[place] = last
    return values, new
