"""Readings that a receiver of OTLP has acknowledged and not written yet: they wait beside the log."""

import json
from contextlib import suppress
from pathlib import Path

from thermograd.store.files import read_file

HELD_FOLDER = "otlp"
_LONGEST_FILE_BYTES = 256 << 20


def held_files(run_dir: Path) -> list[Path]:
    """Return the files of a run that readings may wait in, those without any left out."""
    found = sorted((run_dir / HELD_FOLDER).glob("held-*.jsonl"))
    return [path for path in found if path.stat().st_size > 0]


def held_lines(path: Path) -> list[str]:
    """Return the whole lines of such a file; a torn one at the end was not acknowledged."""
    try:
        text = read_file(path, _LONGEST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return text.split("\n")[:-1]


def held_count(run_dir: Path) -> int:
    """Return how many readings wait; some of them may be in the log already."""
    return sum(map(_count, held_files(run_dir)))


def _count(path: Path) -> int:
    count = 0
    for line in held_lines(path):
        with suppress(ValueError, TypeError):  # after a write that a full disk had cut
            count += len(json.loads(line))
    return count
