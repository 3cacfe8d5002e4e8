"""Where the summaries of a directory's runs are kept."""

from pathlib import Path

_FILE = ("_fleet", "population", "summaries.parquet")


def kept_path(runs_dir: Path) -> Path:
    """Return the path of the file, which need not be there."""
    return runs_dir.joinpath(*_FILE)
