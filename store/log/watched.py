"""What the agents' monitors make of a run so far, as each leaves it beside the log: no event, and no record.

A monitor bets second by second, so its evidence cannot be worked out anew in a moment by who opens a run of
days. It is written over as the run goes on; what stands there last is what the agent knew at its end.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermograd.store.files import WRITER, is_folder, is_plain_file, read_json, write_file
from thermograd.store.text import without_nan

_FOLDER = "watched"


def leave_watched(run_dir: Path, writer: str, state: Mapping[str, Any]) -> None:
    """Leave what a writer's monitor makes of a run; OSError where that cannot be written."""
    (run_dir / _FOLDER).mkdir(exist_ok=True)
    write_file(
        run_dir / _FOLDER / f"{writer}.json", json.dumps(without_nan(dict(state)), default=str).encode()
    )


def read_watched(run_dir: Path) -> list[dict[str, Any]]:
    """Return what each agent has left, the newest first; garbage is left out."""
    folder = run_dir / _FOLDER
    paths = sorted(folder.glob("*.json")) if is_folder(folder) else []
    read = [read_json(path) for path in paths if WRITER.fullmatch(path.stem) and is_plain_file(path)]
    return sorted((each for each in read if _is_whole(each)), key=lambda each: -each["time_ns"])


def _is_whole(state: Mapping[str, Any]) -> bool:
    return type(state.get("time_ns")) is int and isinstance(state.get("devices"), dict)
