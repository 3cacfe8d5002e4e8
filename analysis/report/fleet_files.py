"""The files of ``analyze --all -o`` and ``compare --all -o``: the text, and its numbers."""

import json
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import write_file
from thermograd.store.text import printable_lines, without_nan


def write_fleet(found: Any, text: str, folder: Path) -> list[Path]:
    """Write ``fleet.md`` and ``fleet.json`` into a directory, and return where they are."""
    numbers = json.dumps(without_nan(found.to_json()), indent=2, default=str, allow_nan=False)
    page = f"# All runs\n\n```\n{printable_lines(text)}\n```\n"
    written = {folder / "fleet.md": page, folder / "fleet.json": f"{numbers}\n"}
    with os_errors_as(LogError, f"cannot write into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in written.items():
            write_file(path, content.encode())
    return list(written)
