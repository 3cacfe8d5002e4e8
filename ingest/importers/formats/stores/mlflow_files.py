"""Reading MLflow's file store: ``mlruns``, one of its experiments, or the folder of one run.

A metric is a file of lines ``time_ms value step``, in folders where its name has slashes. Nothing outside the
folder is read, whatever the files say: not where links in it lead, nor the artifacts that they name.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from thermograd.ingest.importers.formats.stores.mlflow_run import Described, Point, read_points, told_of
from thermograd.ingest.importers.recording import Format, Hints, Recording
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run
from thermograd.ingest.importers.text_files import LeftOutError, readable
from thermograd.store.errors import ImportFormatError

_META = "meta.yaml"
_LONGEST_META = 1 << 16
_LONGEST_VALUE = 8000
_PAIR = re.compile(r"(?P<name>\w+): ?(?P<value>.*)")
_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_TRASH = ".trash"
_FIELDS = (2, 3, 5)  # of a line: before steps; now; with a data set


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run: its description names one, and it has metrics."""
    meta = _meta(folder)
    return ("run_id" in meta or "run_uuid" in meta) and (folder / "metrics").is_dir()


def is_store(folder: Path) -> bool:
    """Whether a folder is a run of MLflow, an experiment, or all of them."""
    if is_run(folder):
        return True
    return any(is_run(inner) for outer in (folder, *_folders(folder)) for inner in _folders(outer))


def stored_runs(folder: Path) -> list[StoredRun]:
    """Return the runs in a folder, the oldest first; deleted ones are marked."""
    outer = _folders(folder)
    found = [folder] if is_run(folder) else [*filter(is_run, outer)]
    found = found or [inner for experiment in outer for inner in _folders(experiment) if is_run(inner)]
    listed = [(_meta(path).get("start_time", ""), _stored(path)) for path in found]
    return [run for _, run in sorted(listed, key=lambda pair: (pair[0], pair[1].id))]


def _stored(folder: Path) -> StoredRun:
    meta, experiment = _meta(folder), _meta(folder.parent).get("name")
    parent = _text(folder / "tags" / "mlflow.parentRunId")
    said = [f"experiment {experiment}"] if experiment else []
    said += [f"nested in {parent}"] if parent else []
    said.append(f"{len(_metric_files(folder))} metrics")
    name = _text(folder / "tags" / "mlflow.runName") or meta.get("run_name") or None
    is_deleted = meta.get("lifecycle_stage") == "deleted" or folder.parent.name == _TRASH
    return StoredRun(_id(meta), name, ", ".join(said), folder, is_deleted)


def _folder(path: Path, hints: Hints) -> tuple[Path, ...]:
    """Return the files of the run that is meant: its description, then its metrics."""
    if not is_store(path):
        return ()
    folder = chosen_run(path, stored_runs(path), hints.run).path or path
    return (folder / _META, *_metric_files(folder))


def _read(paths: tuple[Path, ...], hints: Hints) -> list[Recording]:
    folder = paths[0].parent
    meta, run = _meta(folder), _stored(folder)
    status = _STATUS.get(meta.get("status", ""), meta.get("status", ""))
    told = told_of(run.id, run.name, status, _whole(meta.get("start_time")), _whole(meta.get("end_time")))
    described = Described(told, _texts(folder / "params"), _texts(folder / "tags"))
    torn: list[tuple[Path, int, str]] = []
    points = list(_points(folder, paths[1:], torn))
    log = read_points(paths, MLFLOW_FILES.name, hints, described, points, "line")
    for path, number, line in torn:
        log.steps.account.reading = path
        with log.steps.row(number, line):
            raise LeftOutError("torn row: no time, value and step")
    return log.finish()


def _points(folder: Path, files: tuple[Path, ...], torn: list[tuple[Path, int, str]]) -> Iterator[Point]:
    order = 0
    for path in files:
        name = path.relative_to(folder / "metrics").as_posix()
        with readable(path), path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                order += 1
                point = _point(line, order, path, number, name)
                if point is None:
                    torn.append((path, number, line[:200]))
                else:
                    yield point


def _point(line: str, order: int, path: Path, number: int, name: str) -> Point | None:
    """Return the point in a line; None of one that is torn, as the last line without an end may be."""
    fields = line.split()
    try:
        step = int(fields[2]) if len(fields) > 2 else 0
        if len(fields) in _FIELDS and line.endswith("\n") and "_" not in line[:40] and abs(step) < 2**63:
            return Point(int(fields[0]), order, path, number, name, float(fields[1]), step)
    except (ValueError, IndexError):
        pass
    return None


def _metric_files(folder: Path) -> list[Path]:
    """Return the files of a run's metrics; none that a link leads to."""
    root = folder / "metrics"
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if path.resolve().is_relative_to(root.resolve())]


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder; none that a link leads to."""
    try:
        return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []


def _texts(folder: Path) -> dict[str, str]:
    """Return what the files of a folder hold, by their names, which may have slashes."""
    if not folder.is_dir() or folder.is_symlink():
        return {}
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): _text(path) or "" for path in files}


def _text(path: Path) -> str | None:
    if not path.is_file() or path.is_symlink():
        return None
    with readable(path), path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST_VALUE).strip()


def _meta(folder: Path) -> dict[str, str]:
    """Return the values of a description, which is YAML of one level."""
    path = folder / _META
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            matches = (_PAIR.fullmatch(line.rstrip("\r\n")) for line in file.read(_LONGEST_META).split("\n"))
    except OSError as error:
        raise ImportFormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    return {match["name"]: _unquoted(match["value"]) for match in matches if match is not None}


def _unquoted(text: str) -> str:
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            value = json.loads(text)
        except ValueError:
            return text.strip('"')
        return value if isinstance(value, str) else text
    return "" if text == "null" else text


def _id(meta: dict[str, str]) -> str:
    return meta.get("run_id") or meta.get("run_uuid") or ""


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 19 else None


MLFLOW_FILES = Format(
    "an MLflow file store",
    ("step", "sample"),
    lambda _: False,
    _read,
    hints=frozenset({"run"}),
    folder=_folder,
    runs=stored_runs,
)
