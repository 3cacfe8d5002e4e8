"""Simulated runs for tests, with a fixed end so that all but the run id repeats."""

from pathlib import Path

import numpy as np
from scale_runs import write_events
from thermograd.analysis.calibration.scenarios import draw
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.result import Analysis
from thermograd.ingest.simulate.write import Signals, StreamLayer, simulate_run
from thermograd.store.files import write_json
from thermograd.store.runs.catalogue import Run

END_NS = 1_790_000_000 * 10**9


def simulated(
    runs_dir: Path,
    scenario: str | None = None,
    rho: float | None = None,
    lag_s: float | None = None,
    minutes: float = 20.0,
    seed: int = 0,
    hz: float = 1.0,
    stream_layer: StreamLayer | None = None,
) -> Run:
    """Draw a scenario and write it, as the command line does, which gives it a stream layer."""
    drawn = draw(scenario, rho, lag_s, minutes, seed)
    signals = Signals(**drawn.shown())
    return simulate_run(runs_dir, signals, drawn.truth, hz, END_NS, stream_layer)


def with_processor(run: Run, minutes: float, seed: int = 0) -> Run:
    """Add a processor to a simulated run, read once a second: a temperature in whole degrees, and a clock."""
    count, rng = round(60 * minutes) + 1, np.random.default_rng(seed)
    load = np.clip(35 + 10 * rng.normal(size=count), 0, 100)
    heat = np.convolve(rng.normal(size=count), np.exp(-np.arange(300) / 50))[:count]
    elapsed_ns = np.arange(count) * 10**9
    columns = {
        "seq": np.arange(count),
        "time_ns": END_NS - elapsed_ns[-1] + elapsed_ns,
        "monotonic_ns": elapsed_ns,
        "device": ["cpu"] * count,
        "utilization_pct": load,
        "temperature_c": np.round(55 + load / 10 + heat / 2),
        "sm_clock_mhz": 3200 - 4 * load + 20 * rng.normal(size=count),
    }
    write_events(run, "processor", "sample", columns)
    sensors = ["sm_clock_mhz", "temperature_c", "utilization_pct"]
    processor = {"model": "Example CPU", "sensors": sensors, "missing": {"power_w": "no sensor"}}
    write_json(run.path / "run.json", run.facts | {"devices": run.facts["devices"] | {"cpu": processor}})
    return Run(run.path)


def slow_answer(analysis: Analysis) -> Pair:
    """Return the pair of the norm and the temperature whose answer is slow, the training leading."""
    pairs = [p for p in analysis.pairs if (p.x, p.y, p.family) == ("grad_norm", "temperature_c", "forward")]
    return next(pair for pair in pairs if pair.memory_s is not None)
