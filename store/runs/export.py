"""Writing a run's events for other tools: a JSON step log, CSV files, or Parquet files."""

import json
from pathlib import Path
from typing import Any

from thermograd.store.errors import NotEnoughDataError, ThermogradError, os_errors_as
from thermograd.store.events import KINDS
from thermograd.store.files import whole_file, write_file
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run

FORMATS = ("grad_norm_log", "csv", "parquet")


def export_run(run: Run, output_format: str, output: Path) -> list[Path]:
    """Write a run's events; each file appears whole or not at all.

    Parameters
    ----------
    run, output_format
        ``grad_norm_log``: a JSON list of {step, loss, grad_norm, learning_rate, epoch, timestamp}
        (timestamp in epoch seconds; NaN and infinities as Python's `json` writes them; null is not
        known); of several ranks the lowest. ``csv`` or ``parquet``: a directory with one file a kind,
        a `run_id` column first, times as integers in UTC epoch ns; CSV shows null as an empty cell.
    output
        The file (``grad_norm_log``) or directory to write; parents are created.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    NotEnoughDataError
        If a ``grad_norm_log`` is asked of a run that has no step.
    ThermogradError
        If the files cannot be written.
    ValueError
        If the format is not known.
    """
    if output_format not in FORMATS:
        raise ValueError(f"output_format is {output_format!r}; expected one of: {', '.join(FORMATS)}")
    with os_errors_as(ThermogradError, f"cannot write {output}"):
        if output_format == "grad_norm_log":
            return [_write_step_log(run, output)]
        return [_write_table(run, kind, output / f"{kind}s.{output_format}") for kind in KINDS]


def _write_step_log(run: Run, output: Path) -> Path:
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
