"""Simulated runs for tests, with a fixed end so that all but the run id repeats."""

from pathlib import Path

from thermograd.analysis.calibration.scenarios import draw
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.result import Analysis
from thermograd.ingest.simulate.write import Signals, StreamLayer, simulate_run
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


def slow_answer(analysis: Analysis) -> Pair:
    """Return the pair of the norm and the temperature whose answer is slow, the training leading."""
    pairs = [p for p in analysis.pairs if (p.x, p.y, p.family) == ("grad_norm", "temperature_c", "forward")]
    return next(pair for pair in pairs if pair.memory_s is not None)
