"""What W&B says of a run as a whole, and the folders that it keeps runs in."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.steps.configuration_files import plain_configuration, yaml_configuration
from thermograd.ingest.importers.stores.runs import StoredRun, chosen_run
from thermograd.ingest.importers.stores.told import ToldOfRun
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.runs.own_values.configuration import merged

_FOLDER = re.compile(r"(?:offline-)?run-(?P<began>\d{8}_\d{6})-(?P<id>.+)")
_OWN = ("_wandb", "wandb_version")  # W&B's own part of a configuration


class RunFacts:
    """Gathers what the records of a run say of it, in their order."""

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}
        self._config: dict[str, Any] = {}

    def take(self, kind: str | None, record: Any) -> None:
        """Take a record, if it is one of the run as a whole."""
        if kind == "run":
            self._run(record.run)
        elif kind == "config":
            self._configure(record.config)
        elif kind == "exit":
            code = record.exit.exit_code
            self._facts |= {"state": "finished" if code == 0 else "failed", "exit_code": code}
        elif kind == "environment" and record.environment.host:
            self._facts["host"] = record.environment.host

    def _run(self, run: Any) -> None:
        began = Moment(run.start_time.seconds * 10**9 + run.start_time.nanos, naive=False)
        known = {"id": run.run_id, "name": run.display_name, "host": run.host}
        self._facts |= {name: value for name, value in known.items() if value}
        if began.is_likely:
            self._facts["began_ns"] = began.ns
        self._configure(run.config)

    def _configure(self, config: Any) -> None:
        for item in config.update:
            keys = [item.key] if item.key else list(item.nested_key)
            if keys and keys[0] not in _OWN:
                self._config = merged(self._config, _nested(keys, item.value_json))

    def require(self, path: Path, wanted: str | None) -> ToldOfRun:
        """Return what the run says of itself, or refuse it where a person wants another."""
        if _FOLDER.fullmatch(path.parent.name):
            self._facts.setdefault("name", path.parent.name)
        told = ToldOfRun("W&B", **self._facts)
        if wanted not in (None, path.parent.name, path.stem.removeprefix("run-")):
            chosen_run(path, [StoredRun(told.id or path.stem, told.name)], wanted)
        return told

    def config(self, path: Path) -> dict[str, Any]:
        """Return the configuration, of the records or else of the file beside them, without secrets."""
        if not self._config:
            return file_config(path.parent / "files" / "config.yaml")
        return plain_configuration(self._config)


def _nested(keys: list[str], text: str) -> dict[str, Any]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def file_config(path: Path) -> dict[str, Any]:
    """Return the configuration in W&B's ``config.yaml``, whose values stand under `value`."""
    if not path.is_file() or path.is_symlink():
        return {}
    values, _ = yaml_configuration(path)
    inner = {name: item.get("value") for name, item in values.items() if isinstance(item, dict)}
    return {name: value for name, value in inner.items() if name not in _OWN}


def stored_runs(folder: Path) -> list[StoredRun]:
    """Return the runs in a folder of W&B: itself, or those in it, the oldest first."""
    own = _run_file(folder)
    if own is not None:
        return [_stored(folder.resolve().name, own)]
    names = sorted(_inside(folder), key=lambda path: _began(path.name))
    files = ((path.name, _run_file(path)) for path in names)
    return [_stored(name, file) for name, file in files if file is not None]


def run_file(folder: Path, hints: Hints) -> tuple[Path, ...]:
    """Return the file of the run that is meant in a folder of W&B; none of any other folder."""
    runs = stored_runs(folder)
    path = chosen_run(folder, runs, hints.run).path if runs else None
    return () if path is None else (path,)


def _stored(name: str, file: Path) -> StoredRun:
    match = _FOLDER.fullmatch(name)
    said = f"began {_began(name)}, {file.stat().st_size:,} bytes"
    return StoredRun(match["id"] if match else file.stem.removeprefix("run-"), name, said, file)


def _began(name: str) -> str:
    match = _FOLDER.fullmatch(name)
    return match["began"] if match else ""


def _inside(folder: Path) -> Iterable[Path]:
    """Yield the folders of runs in a folder; ``latest-run`` is a link to one of them."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    folders = (path for path in entries if path.is_dir() and not path.is_symlink())
    return [path for path in folders if _FOLDER.fullmatch(path.name)]


def _run_file(folder: Path) -> Path | None:
    """Return the only file of a run in a folder."""
    if not (_FOLDER.fullmatch(folder.resolve().name) or (folder / "files").is_dir()):
        return None
    found = [path for path in folder.glob("run-*.wandb") if path.is_file() and not path.is_symlink()]
    return found[0] if len(found) == 1 else None
