"""What lies beside the runs of a URL: the findings of analyses of all of them, for whoever reads there."""

import re
from pathlib import Path

from thermograd.store.errors import PlaceError
from thermograd.store.places.mirror import Mirror, mirror_at

FOLDER = "_fleet"
FINDINGS = "findings"  # as what a query needs
_FILE = re.compile(rf"{FOLDER}/[0-9A-Za-z][0-9A-Za-z-]*/findings-[0-9]{{5}}\.parquet")


def bring_findings(mirror: Mirror) -> None:
    """Bring the findings that are at a URL into its mirror, each file once. PlaceError if they cannot be."""
    mirror.fetch_files(entry for entry in mirror.place.list(FOLDER) if _FILE.fullmatch(entry.name))


def give_findings(path: Path) -> str | None:
    """Write a file of findings in a mirror to its URL, too; return why that could not be.

    Keys that may only read are no reason for an analysis to fail: its findings stay in the mirror.
    """
    root = path.parents[2]
    mirror = mirror_at(root)
    if mirror is None:
        return None
    try:
        mirror.place.put(path.relative_to(root).as_posix(), path.read_bytes(), create_only=True)
    except PlaceError as error:
        return f"the findings are only on this machine, in {path.parent}: {error}"
    return None
