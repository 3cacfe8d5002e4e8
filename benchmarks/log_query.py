"""SQL over the log: one aggregate over 10 M steps, and many runs.

The aggregate is asked through `query`, from opening the connection to the result, of a run with 8 writers
whose newest events are still live; and of DuckDB alone over one Parquet file of the same events, once as
pyarrow writes it by default (zstd) and once as thermograd seals. In turn, A B C C B A, in one process
and with as many threads as DuckDB takes; the answers must be equal.

The 1,000 runs are made through the real code too: each with a sealed file a kind; five of them live.
"""

import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rows import HEADER, load, paired, parser, row
from thermograd.store.events import arrow_schema
from thermograd.store.files import write_json, writer_file
from thermograd.store.log.segments import write_parquet
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, create_run, list_runs

WRITERS = 8
SQL = (
    "SELECT rank, count(*), avg(loss), max(grad_norm), min(step_time_s) FROM {source} "
    "GROUP BY rank ORDER BY rank"
)


def steps_of(rank: int, first: int, count: int, seed: int) -> pa.Table:
    """Draw the step events of one writer from a given `seq`; loss and grad_norm are float32 widened."""
    rng = np.random.default_rng([seed, rank, first])
    seq = np.arange(first, first + count)
    time_ns = 1_780_000_000_000_000_000 + seq * 100_000_000 + rng.integers(0, 1_000_000, count)
    columns: dict[str, Any] = {
        "seq": seq,
        "time_ns": time_ns,
        "monotonic_ns": time_ns - 1_779_000_000_000_000_000,
        "step": seq + 1,
        "rank": np.full(count, rank),
        "epoch": seq / 1000,
        "loss": (2 + rng.normal(0, 0.1, count)).astype(np.float32).astype(np.float64),
        "grad_norm": rng.lognormal(0, 0.3, count).astype(np.float32).astype(np.float64),
        "max_grad_norm": np.ones(count),
        "learning_rate": 1e-4 * (1 + np.cos(seq * 1e-6)),
        "step_time_s": rng.integers(90_000_000, 110_000_000, count) / 1e9,
    }
    schema = arrow_schema("step")
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema
    ]
    return pa.table(arrays, schema=schema)


def write_sealed(run: Run, writer: str, table: pa.Table) -> None:
    """Write a sealed file under its proper name, with its proper metadata."""
    first, last = table.column("seq")[0].as_py(), table.column("seq")[-1].as_py()
    path = run.path / "sealed" / "step" / f"{writer}-{first:012}-{last:012}.parquet"
    schema = arrow_schema("step", run.run_id, writer)
    write_parquet(path, table.replace_schema_metadata(schema.metadata), "step")


def append_live(run: Run, writer: str, table: pa.Table) -> EventWriter:
    """Append a table's events through an `EventWriter`, which stays open."""
    log = EventWriter(run.path, run.run_id, writer, kinds=("step",))
    for values in table.drop_columns(["seq"]).to_pylist():
        log.append("step", **values)
    return log


def build_big(folder: Path, events: int, live: int, files: int, seed: int) -> tuple[list[EventWriter], Path]:
    """Make a run of sealed files and live tails, and the same events as single Parquet files."""
    run = create_run(folder / "big", "big", run_id="big")
    parts, open_logs = [], []
    each = events // WRITERS // files
    for rank in range(WRITERS):
        for number in range(files):
            table = steps_of(rank, number * each, each, seed)
            write_sealed(run, f"host-r{rank}", table)
            parts.append(table)
        table = steps_of(rank, 0, live // WRITERS, seed + 1)
        open_logs.append(append_live(run, f"host-r{rank}-live", table))
        parts.append(table)
    whole = pa.concat_tables(parts)
    pq.write_table(whole, folder / "default.parquet", compression="zstd")
    write_parquet(folder / "sealed.parquet", whole, "step")
    return open_logs, folder


def timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    """Return wall seconds and the answer."""
    begun = time.perf_counter()
    answer = ask()
    return time.perf_counter() - begun, answer


def alone(path: Path) -> list[tuple[Any, ...]]:
    """Ask DuckDB alone of one Parquet file."""
    with contextlib.closing(duckdb.connect()) as connection:
        return connection.execute(SQL.format(source=f"read_parquet('{path}')")).fetchall()


def ours(runs: Path) -> list[tuple[Any, ...]]:
    """Ask through `query`, connection and snapshot of the live part included."""
    return [tuple(r.values()) for r in query(SQL.format(source="steps"), runs).to_pylist()]


def same(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> bool:
    """Compare answers; the mean may differ in the last digits, as its sum is taken in another order."""
    return len(a) == len(b) and all(np.allclose(x, y, rtol=1e-12, atol=0) for x, y in zip(a, b, strict=True))


def print_big(folder: Path, events: int, live: int, files: int, rounds: int, seed: int) -> None:
    """Print the rows of the large aggregate."""
    logs, _ = build_big(folder, events, live, files, seed)
    asks: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(folder / "big"),
        "default": lambda: alone(folder / "default.parquet"),
        "sealed": lambda: alone(folder / "sealed.parquet"),
    }
    answers = {name: ask() for name, ask in asks.items()}  # unmeasured: imports, page cache
    if not same(answers["ours"], answers["default"]):
        raise RuntimeError(f"the answers differ: {answers}")
    times: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(rounds):
        for name in asks if turn % 2 == 0 else reversed(asks):
            times[name].append(timed(asks[name])[0])
    for log in logs:
        log.close()
    total = sum(r[1] for r in answers["ours"])
    what = f"aggregate over {total:,} steps, {WRITERS * files} sealed files + {live:,} live"
    for name, title in (("default", "pyarrow's zstd default"), ("sealed", "the log's encodings")):
        ratio, text = paired(times[name], times["ours"])
        mine, peer = statistics.median(times["ours"]), statistics.median(times[name])
        goal = f">= 0.8x DuckDB on one Parquet file, {title}"
        shown = f"{mine:.3f} s ({total / mine / 1e6:.1f} M/s)", f"{peer:.3f} s ({total / peer / 1e6:.1f} M/s)"
        print(row(what, goal, *shown, text, ratio >= 0.8))


def build_many(folder: Path, runs: int, steps: int, seed: int) -> list[EventWriter]:
    """Make many finished runs and five live ones."""
    logs = []
    for number in range(runs):
        run = create_run(folder, f"run {number}", run_id=f"run-{number:05}")
        writer = f"host-r0-{number}"
        if number >= runs - 5:
            logs.append(append_live(run, writer, steps_of(0, 0, steps, number)))
            continue
        write_sealed(run, writer, steps_of(0, 0, steps, seed + number))
        facts = {"writer": writer, "role": "training", "host": "host", "pid": 1, "closed_time_ns": 1}
        write_json(writer_file(run.path, writer), facts)
    return logs


def print_many(folder: Path, runs: int, steps: int, rounds: int, seed: int) -> None:
    """Print the rows of many runs."""
    logs = build_many(folder, runs, steps, seed)
    sql = "SELECT run_id, count(*), avg(loss), max(grad_norm) FROM steps GROUP BY run_id"
    asks = {
        "`runs` with the summary of each": lambda: [run.summary() for run in list_runs(folder)],
        "one aggregate over all": lambda: query(sql, folder).to_pylist(),
        "SELECT * FROM runs": lambda: query("SELECT * FROM runs", folder).to_pylist(),
    }
    for what, ask in asks.items():
        times = []
        for _ in range(rounds):
            seconds, answer = timed(ask)
            times.append(seconds)
            if len(answer) != runs:
                raise RuntimeError(f"{what}: {len(answer)} of {runs} runs")
        shown = f"median {statistics.median(times):.2f} s, worst {max(times):.2f} s"
        print(row(f"{runs:,} runs of {steps:,} steps: {what}", "2 s", shown, "-", "-", max(times) <= 2.0))
    for log in logs:
        log.close()


def main() -> None:
    """Build, ask, print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=None, help="sealed ones")
    arguments.add_argument("--live", type=int, default=None, help="events that are not sealed yet")
    arguments.add_argument("--files", type=int, default=5, help="sealed files of each writer")
    arguments.add_argument("--runs", type=int, default=None)
    options = arguments.parse_args()
    events = options.events or (1_000_000 if options.quick else 10_000_000)
    live = options.live or (8_000 if options.quick else 80_000)
    runs = options.runs or (50 if options.quick else 1_000)
    rounds = options.rounds or (3 if options.quick else 9)
    folder = Path(tempfile.mkdtemp())
    try:
        print(f"{rounds} rounds, {load()}, Python {sys.version.split()[0]}\n\n{HEADER}")
        print_big(folder, events, live, options.files, rounds, options.seed)
        print_many(folder / "many", runs, 1_000, min(rounds, 5), options.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
