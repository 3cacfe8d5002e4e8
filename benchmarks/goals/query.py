"""SQL over runs: counts over three runs and over 1,000, an aggregate over 10 M steps, computed views.

The aggregate is asked through `query`, from opening the connection to the result, of a run with 8 writers
whose newest events are live; and of DuckDB alone over one Parquet file of the same events with the log's
encodings, in turns, in one process, with as many threads as DuckDB takes. Ours looks at the checksum of every
page, DuckDB's own reader at none. The answers must be equal.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))
from goals.goal import CLI, Goal, Taken, against, in_turns, main, take, times
from log_query import alone, build_big, build_many, ours, same
from query_views import make_run
from thermograd.store.efficiency.columns import efficiency_of
from thermograd.store.query.connection import query

COUNT = "SELECT count(*) FROM steps"
HZ = 5


def measure(quick: bool) -> Iterator[Goal]:
    """Measure each part; `quick`: a tenth of it."""
    rounds = 2 if quick else 9
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _few(folder / "few", rounds)
        yield from _many(folder, 50 if quick else 1_000, rounds)
        yield from _large(folder, 1_000_000 if quick else 10_000_000, rounds)
    yield _efficiency(20_000 if quick else 200_000)


def _few(folder: Path, rounds: int) -> Iterator[Goal]:
    for seed in ("1", "2", "3"):
        take(*CLI, "--runs", str(folder), "simulate", "--minutes", "1", "--seed", seed)
    taken = in_turns(
        rounds,
        duckdb=(sys.executable, "-c", "import duckdb"),
        query=(*CLI, "--runs", str(folder), "query", COUNT),
    )
    yield against(
        "query.count_few", "count of 3 runs against `import duckdb`", 2.5, taken["query"], taken["duckdb"]
    )


def _many(folder: Path, runs: int, rounds: int) -> Iterator[Goal]:
    logs = build_many(folder / "many", runs, 1_000, 0)
    taken = in_turns(rounds, count=(*CLI, "--runs", str(folder / "many"), "query", COUNT))
    for log in logs:
        log.close()
    yield _seconds("query.count_many", f"count of {runs:,} runs of 1,000 steps, 5 live", 1.2, taken["count"])
    for number in range(runs):
        make_run(folder / "aligned", f"20261127-120000-run-number-{number:04}", 1_000, 500, 1, number)
    ask = (*CLI, "--runs", str(folder / "aligned"), "query", "SELECT count(dt_s) FROM aligned")
    taken = in_turns(min(rounds, 3), aligned=ask)
    what = f"`aligned` of {runs:,} runs of 1,000 steps and 500 samples"
    yield _seconds("query.aligned_many", what, None, taken["aligned"])


def _seconds(key: str, what: str, limit: float | None, taken: list[Taken]) -> Goal:
    wall_s, cpu_s = ([getattr(each, of) for each in taken] for of in ("wall_s", "cpu_s"))
    measured = f"{min(wall_s):.2f} to {max(wall_s):.2f} s; processor time {statistics.median(cpu_s):.2f} s"
    return Goal(key, what, statistics.median(wall_s), limit, "s", measured)


def _large(folder: Path, events: int, rounds: int) -> Iterator[Goal]:
    live = events // 125
    logs, _ = build_big(folder, events, live, 5, 0)
    asks: dict[str, Callable[[], list[tuple[Any, ...]]]] = {
        "ours": lambda: ours(folder / "big"),
        "sealed": lambda: alone(folder / "sealed.parquet"),
    }
    answers = {name: ask() for name, ask in asks.items()}  # unmeasured: imports, page cache
    if not same(answers["ours"], answers["sealed"]):
        raise RuntimeError(f"the answers differ: {answers}")
    wall_s: dict[str, list[float]] = {name: [] for name in asks}
    cpu_s: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(rounds):
        for name in asks if turn % 2 == 0 else reversed(asks):
            begun, worked = time.perf_counter(), time.process_time()
            asks[name]()
            wall_s[name].append(time.perf_counter() - begun)
            cpu_s[name].append(time.process_time() - worked)
    for log in logs:
        log.close()
    speed, _ = times(wall_s["sealed"], wall_s["ours"])
    work, _ = times(cpu_s["sealed"], cpu_s["ours"])
    _, shown = times(wall_s["ours"], wall_s["sealed"])
    what = f"aggregate over {events + live:,} steps against DuckDB on one Parquet file, speed"
    yield Goal(
        *("query.aggregate", what, speed, 0.9, "x"), f"{shown}; by processor time {work:.2f}x", at_least=True
    )
    asked = [_timed(lambda: query("SELECT writer, avg(loss) FROM steps GROUP BY ALL", folder / "big"))]
    asked += [_timed(lambda: query("SELECT writer, avg(loss) FROM steps GROUP BY ALL", folder / "big"))]
    yield Goal("query.by_writer", "mean by writer of the same", min(asked), None, "s", "the better of two")


def _timed(ask: Callable[[], object]) -> float:
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


def _efficiency(samples: int) -> Goal:
    rng = np.random.default_rng(0)
    columns = {
        "time_ns": np.arange(samples) * (10**9 // HZ) + rng.integers(0, 2_000_000, samples),
        "utilization_pct": rng.uniform(60, 100, samples),
        "power_w": rng.uniform(100, 300, samples),
        "temperature_c": 60 + rng.normal(0, 2, samples),
    }
    table, facts = pa.table(columns), {"rated_power_w": 300.0, "temperature_limit_c": 83.0}
    taken_us = []
    for _ in range(3):
        worked = time.process_time()
        rows = sum(len(part) for part in efficiency_of(facts, table))
        taken_us.append(1e6 * (time.process_time() - worked) / rows)
    shown = f"{min(taken_us):.2f} to {max(taken_us):.2f} us of processor time"
    return Goal(
        "query.efficiency", f"the view `efficiency`, a sample at {HZ} Hz", min(taken_us), 4.0, "us", shown
    )


if __name__ == "__main__":
    main(measure)
