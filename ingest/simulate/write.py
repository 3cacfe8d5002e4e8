"""Writing a run of known truth through the normal log, labelled simulated wherever it appears.

The series come from elsewhere, one value a second. Bin k is the time (k - 1, k] after the first step, so
that the grid of the analysis holds exactly the series that were drawn: the mean of log(grad_norm) over
the steps of a second is x, and the sensors, which refresh once a second, show y. Where x is missing there
are no steps in that second, where y is, no sample. Irregular steps come with times of their own.
"""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.ingest.simulate.fans import HuntingFans
from thermograd.ingest.simulate.gpu import PRESETS, SimulatedGpu, sensor_facts
from thermograd.store.events import Event, column_names
from thermograd.store.processes import host_facts
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.write_run import WholeRun, events_in_order, whole_run
from thermograd.store.version import __version__

DEVICE = "simulated:gpu"

Floats = NDArray[np.float64]
Columns = dict[str, Any]
Series = Mapping[str, tuple[Floats, Columns]]  # by kind of event
StreamLayer = Callable[[Iterable[Event], Callable[..., Any], Mapping[str, Any]], None]

_STEPS_PER_S = 2.4
_LOG_RANGE = 3.5  # natural logarithm of the largest norm over the smallest: a factor of 33
_LOG_SPREAD = 0.12  # its standard deviation within two minutes: a norm that swings more has shifted
_CALM_BINS = 120
_IQR_PER_SD = 1.349
_STEP_NOISE = 0.03  # of log(grad_norm), steps of one second among themselves
_DEGREES = 25.0  # between the coolest and the hottest second, at most
_MODEL_TICK_S = 0.05
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What the run shows, one value a second.

    Attributes
    ----------
    x, y
        Shape (m,): log gradient norm, and what the sensor shows, both up to scale and level; NaN is missing.
    sensor
        What y becomes: the temperature (as it is where it is whole degrees), a throttle flag, or
        nothing: then the device is the modelled GPU with a partly blocked heat sink and fans that hunt.
    load
        Shape (m,): utilisation up to scale and level, or None for a steady one.
    period_s
        Length of an epoch, or None for one long epoch.
    step_ends_s, sample_times_s
        Shapes of x and of y, which then hold a value a step and a value a sample: when these were, in s after
        the beginning. None: seconds.
    """

    x: Floats
    y: Floats
    sensor: Literal["temperature", "throttle flag", "model"] = "temperature"
    load: Floats | None = None
    period_s: float | None = None
    step_ends_s: Floats | None = None
    sample_times_s: Floats | None = None

    @property
    def length_s(self) -> int:
        """Length of the run in whole seconds."""
        if self.step_ends_s is None or self.sample_times_s is None:
            return self.x.size
        return int(np.ceil(max(self.step_ends_s[-1], self.sample_times_s[-1])))


def simulate_run(
    runs_dir: Path,
    signals: Signals,
    truth: Mapping[str, Any],
    hz: float = 1.0,
    end_ns: int | None = None,
    stream_layer: StreamLayer | None = None,
) -> Run:
    """Write a whole run: steps, samples, marks, and its truth in ``run.json``.

    Parameters
    ----------
    truth
        ``scenario``, ``rho``, ``lag_s``, ``seed`` and ``about``; the seed also draws what does not
        matter: loss, power, step times.
    hz
        Samples a second, 0.1 to 10. Below 1 the sampler misses seconds, as a slow one would.
    end_ns
        When the run ended, UTC ns, default now; nothing else depends on it.
    stream_layer
        Called with the events as they are written, with what writes an event of its own (an alert, a mark)
        into the log at their time, and with the run's facts. Without one, nothing watches the run.

    Raises
    ------
    ValueError
        If the signals are empty or differ in length, or hz is out of range.
    LogError
        If the run cannot be written; nothing is left behind then.
    """
    _check(signals)
    m = signals.length_s
    if not 0.1 <= hz <= 10:
        raise ValueError(f"hz is {hz!r}; allowed: 0.1 to 10 samples a second")
    rng = np.random.default_rng([int(truth["seed"]), zlib.crc32(str(truth["scenario"]).encode()), 1])
    hardware = _modelled if signals.sensor == "model" else _sampled
    sample_s, clock, samples = hardware(signals, hz, rng, int(truth["seed"]))
    step_s, steps = _steps(signals, clock, rng)
    if signals.sample_times_s is not None:
        hz = 1.0 / float(np.median(np.diff(signals.sample_times_s)))
    ends = {"mark": ["run_started", "run_ended"], "text": [truth_text(truth), None]}
    series: Series = {
        "step": (step_s, steps),
        "sample": (sample_s, samples),
        "mark": (np.array([0.0, float(m)]), ends),
    }
    return write_series(runs_dir, truth, series, m, hz, end_ns, stream_layer)


def write_series(
    runs_dir: Path,
    truth: Mapping[str, Any],
    series: Series,
    length_s: int,
    hz: float,
    end_ns: int | None = None,
    stream_layer: StreamLayer | None = None,
) -> Run:
    """Write steps, samples and marks as a whole run; of each its times, s after the beginning, and columns.

    The rest is as for `simulate_run`.
    """
    begin_ns = ((time.time_ns() if end_ns is None else end_ns) // _NS - length_s) * _NS
    tables = {kind: _table(time_s, columns, begin_ns) for kind, (time_s, columns) in series.items()}
    facts = _facts(truth, hz, begin_ns, begin_ns + length_s * _NS, series["sample"][1])
    with whole_run(runs_dir, truth_text(truth), facts, "simulation") as run:
        log = _Log(run)
        if stream_layer is None:
            deque(log.write(tables), maxlen=0)
        else:
            stream_layer(log.write(tables), log.append_now, run.run.facts)
    return Run(runs_dir / run.run.run_id)


def _check(signals: Signals) -> None:
    m = signals.x.size
    irregular = signals.step_ends_s is not None and signals.sample_times_s is not None
    together = irregular or signals.y.size == m
    if not m or not together or (signals.load is not None and len(signals.load) != m):
        raise ValueError(
            f"x has {m} values and y {signals.y.size}; expected one each a second, the same number"
        )


def truth_text(truth: Mapping[str, Any]) -> str:
    """Return the truth of a simulated run in a few words; also the run's name.

    >>> truth_text({"scenario": "coupled", "rho": 0.3, "lag_s": 5.0, "seed": 0})
    'simulated: coupled, rho 0.3, lag 5 s, seed 0'
    """
    scenario = str(truth["scenario"])
    parts = [f"simulated: {scenario}"]
    if "question" in truth:
        parts.append(f"true effect {truth['effect']}" if truth.get("effect") else "no effect")
    elif truth.get("lag_s") is None and truth.get("response") is None:
        without = {"uncoupled": [], "coupled": ["rho 0"], "coupled-trends": ["rho 0"]}
        parts += without.get(scenario, ["not coupled"])
    elif truth.get("response") == "once":
        parts.append("one event, not coupled")
    else:
        known = (("rho", "rho {:g}"), ("lag_s", "lag {:g} s"), ("memory_s", "memory {:g} s"))
        parts += [text.format(truth[key]) for key, text in known if truth.get(key) is not None]
    return ", ".join([*parts, f"seed {truth['seed']}"])


def _steps(signals: Signals, clock: Floats | None, rng: np.random.Generator) -> tuple[Floats, Columns]:
    """Return when each step ends, s after the first, and the columns of the steps."""
    x = (signals.x - np.nanmedian(signals.x)) * _log_scale(signals.x[np.isfinite(signals.x)])
    if signals.step_ends_s is not None:
        time_s, step_time_s = signals.step_ends_s, np.diff(signals.step_ends_s, prepend=0.0)
    else:
        time_s, step_time_s = _step_times(x.size, clock, rng)
        x = _spread_over(time_s, x, rng)
    progress = time_s / signals.length_s
    loss = 2.0 + 2.5 * np.exp(-6.0 * progress) + 0.04 * rng.standard_normal(time_s.size)
    rate = 1e-3 * np.minimum(1.0, (time_s + 1.0) / 30.0) * (0.55 + 0.45 * np.cos(np.pi * progress))
    columns = {
        "epoch": progress if signals.period_s is None else time_s / signals.period_s,
        "loss": loss,
        "grad_norm": np.exp(x),
        "max_grad_norm": np.ones(time_s.size),
        "learning_rate": rate,
        "step_time_s": step_time_s,
        "tokens": np.full(time_s.size, 8192),
    }
    there = np.isfinite(x)
    numbers = {
        "step": np.arange(1, there.sum() + 1),
        "rank": np.zeros(there.sum(), dtype=np.int64),
    }
    return time_s[there], numbers | {name: values[there] for name, values in columns.items()}


def _spread_over(time_s: Floats, x: Floats, rng: np.random.Generator) -> Floats:
    """Return a value for each step, whose mean over a second is that of x."""
    second = np.maximum(np.ceil(time_s).astype(np.int64) - 1, 0)
    noise = _STEP_NOISE * rng.standard_normal(time_s.size)
    counts = np.bincount(second, minlength=x.size)
    noise -= (np.bincount(second, noise, x.size) / np.maximum(counts, 1))[second]
    return np.asarray(x[second] + noise)


def _log_scale(x: Floats) -> float:
    """Return what makes x a log norm: at most as wide, and within two minutes as calm, as of a training."""
    quartiles = [np.quantile(part, (0.25, 0.75)) for part in np.array_split(x, max(1, x.size // _CALM_BINS))]
    spread = float(np.median(np.diff(quartiles))) / _IQR_PER_SD
    allowed = ((_LOG_RANGE, float(np.ptp(x))), (_LOG_SPREAD, spread))
    return min([1.0, *(most / found for most, found in allowed if found > 0)])


def _step_times(m: int, clock: Floats | None, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return ends and durations of steps, s; a clock (share of the full one, every tick) slows them."""
    lengths = np.exp(0.03 * rng.standard_normal(round(1.3 * _STEPS_PER_S * m) + 10)) / _STEPS_PER_S
    ends = np.append(0.0, np.cumsum(lengths[1:]))
    if clock is not None:  # the work done until each tick, in seconds of the full clock
        work = np.append(0.0, np.cumsum(clock) * _MODEL_TICK_S)
        ends = ends[ends <= work[-1]]
        ends = np.interp(ends, work, np.arange(work.size) * _MODEL_TICK_S)
    ends = ends[ends <= m]
    return ends, np.append(lengths[0], np.diff(ends))


def _sampled(
    signals: Signals, hz: float, rng: np.random.Generator, seed: int
) -> tuple[Floats, None, Columns]:
    """Return sample times and columns of sensors that follow y, refreshed once a second."""
    m = signals.y.size
    noise = rng.standard_normal((4, m))
    load = 96.0 + 0.5 * noise[0] if signals.load is None else _spanned(signals.load, 45.0, 95.0)
    columns = {
        "utilization_pct": np.clip(load, 0.0, 100.0),
        "power_w": 90.0 + 5.2 * load + 6.0 * noise[1],
        "sm_clock_mhz": 1755.0 + 15.0 * np.round(1.5 * noise[2]),
    }
    if signals.sensor == "throttle flag":
        columns["temperature_c"] = 72.0 + 0.5 * noise[3]
        columns["throttled_thermal_ns"] = np.cumsum(signals.y > 0) * _NS
    else:
        columns["temperature_c"] = _as_temperature(signals.y)
    if signals.sample_times_s is not None:
        time_s, shown = signals.sample_times_s, columns
    else:
        time_s = np.arange(0, int(m * hz + 1e-9) + 1) / hz
        second = np.maximum(np.ceil(time_s - 1e-9).astype(np.int64) - 1, 0)
        second, time_s = (values[np.isfinite(signals.y[second])] for values in (second, time_s))
        shown = {name: values[second] for name, values in columns.items()}
    return time_s, None, {"device": np.full(time_s.size, DEVICE, dtype=object)} | shown


def _as_temperature(y: Floats) -> Floats:
    read = y[np.isfinite(y)]
    if read.size and np.all(read == np.round(read)) and read.min() > 0 and read.max() < 110:
        return y  # in degC already, as a sensor of whole degrees shows them
    spread = float(np.ptp(read))
    return 62.0 + (y - float(np.median(read))) * min(1.0, _DEGREES / spread if spread else 1.0)


def _spanned(values: Floats, low: float, high: float) -> Floats:
    spread = float(np.ptp(values))
    return low + (high - low) * ((values - values.min()) / spread if spread else np.zeros_like(values))


def _modelled(
    signals: Signals, hz: float, rng: np.random.Generator, seed: int
) -> tuple[Floats, Floats, Columns]:
    """Return samples of the modelled GPU under full load, and its clock at every tick (1: full).

    Its fans hunt, so that it throttles three times a minute and what throttling does can be seen.
    """
    m = signals.x.size
    gpu = SimulatedGpu("restricted", seed=seed, device=DEVICE)
    fans = HuntingFans(gpu.part.target_c, int(rng.integers(2**32)))
    ticks = round(m / _MODEL_TICK_S)
    at = set((np.round(np.arange(0, int(m * hz + 1e-9) + 1) / hz / _MODEL_TICK_S).astype(int)).tolist())
    clock, rows, times = np.empty(ticks), [], []
    for tick in range(ticks + 1):
        if tick in at:
            rows.append(gpu.read())
            times.append(tick * _MODEL_TICK_S)
        if tick < ticks:
            gpu.airflow = fans.airflow(gpu.die_c, _MODEL_TICK_S)
            gpu.advance(_MODEL_TICK_S, 1.0)
            clock[tick] = gpu.clock_mhz / gpu.part.max_clock_mhz
    names = [name for name in column_names("sample") if rows[0].get(name) is not None]
    return np.array(times), clock, {name: [row[name] for row in rows] for name in names}


def _table(time_s: Floats, columns: Columns, begin_ns: int) -> pa.Table:
    return pa.table({"_time_ns": begin_ns + np.round(time_s * _NS).astype(np.int64)} | columns)


def _facts(
    truth: Mapping[str, Any], hz: float, begin_ns: int, end_ns: int, samples: Columns
) -> dict[str, Any]:
    part = PRESETS["dc"]
    device = {
        "model": "simulated GPU",
        "simulated": True,
        "rated_power_w": part.power_limit_w,
        "power_limit_w": part.power_limit_w,
        "temperature_limit_c": part.target_c,
        "slowdown_temperature_c": part.slowdown_c,
        **sensor_facts(samples),
    }
    # Neither host nor command is part of what is simulated.
    return dict.fromkeys(host_facts()) | {
        "source": "simulated",
        "simulated": True,
        "truth": dict(truth),
        "clock": "simulated",
        "seed": truth["seed"],
        "sampling_hz": hz,
        "thermograd_version": __version__,
        "versions": {"numpy": np.__version__},
        "started_time_ns": begin_ns,
        "ended_time_ns": end_ns,
        "devices": {DEVICE: device},
    }


class _Log:
    """The run's two writers: one of steps, samples and marks, one of what a stream layer finds in them."""

    def __init__(self, run: WholeRun) -> None:
        self._run = run
        self._events, self._findings = run.open("simulate", "simulator"), run.open("watch", "stream layer")
        self._now_ns = int(run.run.facts["started_time_ns"])

    def write(self, tables: Mapping[str, pa.Table]) -> Iterator[Event]:
        """Write events in the order of a replay and yield each as its readers will meet it."""
        nothing = {kind: dict.fromkeys(column_names(kind)) for kind in tables}
        for time_ns, kind, values in events_in_order(tables):
            self._now_ns = time_ns
            seq = self._run.append(self._events, time_ns, kind, values)
            at = {"seq": seq, "time_ns": time_ns, "monotonic_ns": time_ns}
            yield Event(kind, self._events, nothing[kind] | at | values)

    def append_now(self, kind: str, **values: Any) -> int | None:
        """Write what was found, at its own time or at that of the last event."""
        return self._run.append(self._findings, self._now_ns, kind, values)
