"""A run's events as they are: a JSON step log, CSV files, or Parquet files."""

import json
from pathlib import Path
from typing import Any

from thermograd.store.errors import NotEnoughDataError
from thermograd.store.events import KINDS
from thermograd.store.files import whole_file, write_file
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run


def write_tables(run: Run, suffix: str, output: Path) -> list[Path]:
    """Write one file a kind (``csv`` or ``parquet``) into a directory."""
    return [_write_table(run, kind, output / f"{kind}s.{suffix}") for kind in KINDS]


def write_step_log(run: Run, output: Path) -> Path:
    """Write a JSON list of the steps of the lowest rank; NotEnoughDataError where there is none."""
    import pyarrow.compute as pc

    table = read_kind(run.path, "step")
    if not len(table):
        raise NotEnoughDataError(
            f"run {run.run_id} has no steps, so there is no grad_norm_log of it; "
            "export its other events with --format csv or parquet"
        )
    table = table.sort_by([("time_ns", "ascending"), ("seq", "ascending")])
    ranks = table["rank"].fill_null(-1)
    rows = table.filter(pc.equal(ranks, pc.min(ranks))).to_pylist()
    text = "[\n" + ",\n".join(json.dumps(_entry(row)) for row in rows) + "\n]\n"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_file(output, text.encode())
    return output


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    names = ("step", "loss", "grad_norm", "learning_rate", "epoch")
    return {name: row[name] for name in names} | {"timestamp": row["time_ns"] / 10**9}


def _write_table(run: Run, kind: str, path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    table = read_kind(run.path, kind)
    table = table.add_column(0, "run_id", pa.repeat(pa.scalar(run.run_id), len(table)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        if path.suffix == ".csv":
            pa_csv.write_csv(table, file)
        else:
            pq.write_table(table, file, compression="zstd")
    return path
