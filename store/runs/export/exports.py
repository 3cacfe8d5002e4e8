"""Writing a run's events for other tools, each by the format's own name."""

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thermograd.store.errors import ThermogradError, os_errors_as
from thermograd.store.files import whole_file
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.export.tables import write_step_log, write_tables
from thermograd.store.text import printable

_TABLES = ("grad_norm_log", "csv", "parquet")
_FILES = ("perfetto", "influx")
_FOLDERS = ("tensorboard", "wandb")  # that are new, or get one more file
_STORES = ("mlflow", "trackio")  # that may hold other runs
FORMATS = _TABLES + _FILES + _FOLDERS + _STORES

_LOOK = {
    "perfetto": "open it at https://ui.perfetto.dev (it stays in the browser)",
    "influx": "influx write --precision ns --file {output}",
    "tensorboard": "tensorboard --logdir {output}",
    "wandb": "wandb sync {output}/offline-run-*",
    "trackio": "TRACKIO_DIR={output} trackio show",
}


def export_run(run: Run, output_format: str, output: Path) -> list[Path]:
    """Write a run's events; each file appears whole or not at all.

    Parameters
    ----------
    run, output_format
        ``grad_norm_log``: a JSON list of {step, loss, grad_norm, learning_rate, epoch, timestamp}
        (timestamp in epoch seconds; NaN and infinities as Python's `json` writes them; null is not
        known); of several ranks the lowest. ``csv`` or ``parquet``: a directory with one file a kind,
        a `run_id` column first, times as integers in UTC epoch ns; CSV shows null as an empty cell.

        ``perfetto``: a trace (JSON): steps, alerts and marks as slices, sensors as counters. ``influx``:
        line protocol, ns, a measurement a kind. ``tensorboard``, ``wandb`` (an offline run), ``mlflow``
        and ``trackio``: by these programs' own libraries, with every value's own time and step.
    output
        The file (``grad_norm_log``, ``perfetto``, ``influx``) or directory to write; parents are created.
        Of ``mlflow`` a file store, or a SQLite database where it ends in ``.db``.

    Returns
    -------
    list of Path
        The files written; of a store the store.

    Raises
    ------
    NotEnoughDataError
        If a ``grad_norm_log`` is asked of a run that has no step.
    MissingExtraError
        If the program's own library is not installed.
    ThermogradError
        If the files cannot be written, or a store has this run already.
    ValueError
        If the format is not known.
    """
    if output_format not in FORMATS:
        raise ValueError(f"output_format is {output_format!r}; expected one of: {', '.join(FORMATS)}")
    _refuse_place(output, output_format)
    with os_errors_as(ThermogradError, f"cannot write {output}"):
        if output_format == "grad_norm_log":
            return [write_step_log(run, output)]
        if output_format in _TABLES:
            return write_tables(run, output_format, output)
        with _library_errors_as(f"cannot write {output}"):
            return _written(run, output_format, output)


def _refuse_place(output: Path, output_format: str) -> None:
    """Say, before a long log is read for nothing, what is wrong with a place that cannot take the export."""
    is_file = output_format in ("grad_norm_log", *_FILES)
    is_file = is_file or (output_format == "mlflow" and output.suffix == ".db")
    fault = None
    if not os.path.lexists(output):
        nearest = next(filter(os.path.lexists, output.absolute().parents), None)  # None: no such drive
        fault = None if nearest is None or os.path.isdir(nearest) else f"{nearest} is no directory"
    elif is_file and os.path.isdir(output):
        fault = f"it is a directory; {output_format} is one file: name one in it"
    elif not is_file and not os.path.isdir(output):
        fault = f"it is no directory; {output_format} is written to one, which may be new"
    if fault is not None:
        raise ThermogradError(f"cannot write {output}: {fault}")


def _written(run: Run, output_format: str, output: Path) -> list[Path]:
    writer = importlib.import_module(f"thermograd.store.runs.export.{output_format}")
    if output_format in _FILES:
        output.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(output) as file:
            writer.write(run, file)
        return [output]
    if output_format in _FOLDERS:
        return _made_apart(run, output, writer.write)
    writer.write(run, output)
    return [output]


@contextmanager
def _library_errors_as(what: str) -> Iterator[None]:
    """Turn what a tracker's own library raises into one sentence."""
    try:
        yield
    except (ThermogradError, OSError):
        raise
    except Exception as error:
        raise ThermogradError(f"{what}: its library refuses ({printable(error, 200)})") from error


def how_to_look(output_format: str, output: Path) -> str | None:
    """Return the command, or the place, that shows what was exported; None where there is no one such."""
    if output_format == "mlflow":
        return f"mlflow ui --backend-store-uri {'sqlite:///' * (output.suffix == '.db')}{output}"
    look = _LOOK.get(output_format)
    return look.format(output=output) if look else None


def _made_apart(run: Run, output: Path, write: Callable[[Run, Path], list[Path]]) -> list[Path]:
    """Let a library write into a folder of its own; what it made then takes the place of what was there."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export.", dir=output) as folder:
        made = write(run, Path(folder))
        for path in made:
            target = output / path.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            os.replace(path, target)
    return [output / path.name for path in made]
