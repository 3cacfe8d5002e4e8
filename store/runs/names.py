"""Names of runs that stay unique, a second "baseline" of a directory is "baseline-2"; folders to write to."""

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from thermograd.store.errors import LogError
from thermograd.store.files import is_folder, read_json
from thermograd.store.text import slug

BUILDER = "builder"  # the lock of who builds a run out of sight
_BUILDING_S = 86_400.0
_MOST_ASKED = 200  # run.json files: of 10,000 runs of one name the newest hold the highest number


def unique_name(runs_dir: Path, name: str, own: str = "") -> str:
    """Return the name, with a number at its end where another run of the directory has it.

    Only directories whose own names fit are opened; `own` is the directory that gets the name.
    """
    taken = {other for path in _alike(runs_dir, name, own) if (other := read_json(path).get("name"))}
    if name not in taken:
        return name
    numbered = re.compile(re.escape(name) + r"-(\d{1,9})")
    numbers = [int(found[1]) for other in taken if (found := numbered.fullmatch(str(other)))]
    return f"{name}-{max([1, *numbers]) + 1}"


def _alike(runs_dir: Path, name: str, own: str) -> list[Path]:
    """List the ``run.json`` of the newest runs whose id has the name's harmless characters."""
    without_number = re.sub(r"(-\d{1,9})+$", "", slug(name))
    pattern = re.compile(rf"\d{{8}}-\d{{6}}-{re.escape(without_number)}(-\d{{1,9}})*-[0-9a-f]+(-\d+)?")
    try:
        found = [other for other in os.listdir(runs_dir) if pattern.fullmatch(other) and other != own]
    except OSError:  # there is no run yet
        return []
    return [runs_dir / other / "run.json" for other in sorted(found)[-_MOST_ASKED:]]


def result_dir(run_dir: Path, name: str) -> Path:
    """Return a directory of a run that results are written to; LogError where a link leads elsewhere.

    Of a run at a URL it is in the working directory: what is in its mirror may be removed.
    """
    from thermograd.store.places.shipped import is_mirrored

    if is_mirrored(run_dir):
        return Path(f"{run_dir.name}-{name}")
    path = run_dir / name
    if os.path.lexists(path) and not is_folder(path):
        raise LogError(f"{path} is not a directory of the run; give another place with -o")
    return path


def writable_folder(runs: Path | str) -> Path:
    """Return the local folder that runs are written to. Raises LogError for an object store."""
    from thermograd.store.places.place import folder_of

    folder = folder_of(runs)
    if folder is None:
        raise LogError("runs are written to a local folder, and shipped to a URL from there: --runs FOLDER")
    return folder


def remove_abandoned(runs_dir: Path) -> None:
    """Remove the half-built runs whose builder is dead; where that cannot be told, so after a day."""
    from thermograd.store.locks import is_held

    for path in runs_dir.glob(".*.partial"):
        with suppress(OSError):
            held = is_held(path / f"{BUILDER}.lock", _BUILDING_S)
            if held is None:
                held = time.time() - path.stat().st_mtime < _BUILDING_S
            if not held:
                shutil.rmtree(path, ignore_errors=True)
