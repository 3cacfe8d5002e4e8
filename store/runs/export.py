"""Writing a run's events for other tools: a JSON step log, CSV files, or Parquet files."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.store.errors import NotEnoughDataError, ThermogradError
from thermograd.store.events import KINDS
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run

if TYPE_CHECKING:
    import pyarrow as pa


FORMATS = ("grad_norm_log", "csv", "parquet")
_MEASURES = ("loss", "grad_norm", "learning_rate", "epoch")


def export_run(run: Run, output_format: str, output: Path) -> list[Path]:
    """Write a run's events; each file appears whole or not at all.

    Parameters
    ----------
    run
        The run.
    output_format
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
    try:
        if output_format == "grad_norm_log":
            return [_write_step_log(run, output)]
        return [_write_table(run, kind, output / f"{kind}s.{output_format}") for kind in KINDS]
    except OSError as error:
        raise ThermogradError(f"cannot write {output}: {error.strerror or error}") from error


def _write_step_log(run: Run, output: Path) -> Path:
    table = read_kind(run.path, "step")
    if not len(table):
        raise NotEnoughDataError(
            f"run {run.run_id} has no steps, so there is no grad_norm_log of it; "
            "export its other events with --format csv or parquet"
        )
    names = ["time_ns", "step", "rank", *_MEASURES]
    rows = table.sort_by([("time_ns", "ascending"), ("seq", "ascending")]).select(names).to_pylist()
    rank = min(-1 if row["rank"] is None else row["rank"] for row in rows)
    entries = [_entry(row) for row in rows if (-1 if row["rank"] is None else row["rank"]) == rank]
    text = "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"
    return _atomically(output, lambda path: path.write_text(text, encoding="utf-8"))


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    measures = {name: row[name] for name in _MEASURES}
    return {"step": row["step"], **measures, "timestamp": row["time_ns"] / 10**9}


def _write_table(run: Run, kind: str, path: Path) -> Path:
    table = _with_run_id(run, read_kind(run.path, kind))
    return _atomically(path, lambda temporary: _write_as(path.suffix, table, temporary))


def _with_run_id(run: Run, table: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    return table.add_column(0, "run_id", pa.repeat(pa.scalar(run.run_id), len(table)))


def _write_as(suffix: str, table: "pa.Table", path: Path) -> None:
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    if suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path, compression="zstd")


def _atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Write beside the place and move there: a reader sees the old file or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        write(temporary)
        temporary.replace(path)
    return path
