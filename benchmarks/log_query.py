"""Logs that queries are asked of: one of 10 M steps, and 1,000 small ones; and DuckDB alone beside us.

`goals/query.py` and `goals/startup.py` measure with them. The 1,000 runs are made through the real code: each
with a sealed file a kind; five of them live.
"""

import contextlib
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from thermograd.store.events import arrow_schema
from thermograd.store.files import write_json, writer_file
from thermograd.store.log.segments import write_parquet
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, create_run

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
    """Make a run of sealed files and live tails, and the same events as a single Parquet file."""
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
    write_parquet(folder / "sealed.parquet", whole, "step")
    return open_logs, folder


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
