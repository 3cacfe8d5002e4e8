"""Folded files of a URL that may be damaged, there or in the mirror: which of them can be read."""

from functools import lru_cache
from pathlib import Path

from thermograd.store.errors import NotThereError
from thermograd.store.failures import warn
from thermograd.store.files import whole_content
from thermograd.store.places.catalogue import DamagedCatalogueError, Known, Listing, decoded
from thermograd.store.places.interface import Entry
from thermograd.store.places.mirror import Mirror


@lru_cache(maxsize=1024)
def tell_damage(sentence: str) -> None:
    """Warn, once a process."""
    warn("%s", sentence)


def newest_readable(mirror: Mirror, found: Listing, takes_older: bool) -> tuple[int, dict[str, Known]]:
    """Return the number and the runs of the newest catalogue that can be read; 0 and nothing for none."""
    files = found.folded[::-1] if takes_older else found.folded[-1:]
    for at, file in enumerate(files, 1):
        try:
            return int(Path(file.name).stem), _catalogue(mirror, file)
        except DamagedCatalogueError as error:
            instead = "an older catalogue is used" if at < len(files) else "the runs are opened"
            tell_damage(f"{error}; {instead} instead")
    return 0, {}


def _catalogue(mirror: Mirror, file: Entry) -> dict[str, Known]:
    """Return a catalogue; one that is damaged is fetched once more, for it may be so in the mirror alone."""
    try:
        return _read(mirror, file)
    except DamagedCatalogueError:
        (mirror.root / file.name).unlink(missing_ok=True)
        return _read(mirror, file)


def _read(mirror: Mirror, file: Entry) -> dict[str, Known]:
    mirror.fetch_files([file])
    path = mirror.root / file.name
    if not path.is_file():
        raise NotThereError(f"{path.name} has a successor")
    return {run.run_id: run for run in decoded(whole_content(path), f"{mirror.place.url}/{file.name}")}


def has_whole_events(mirror: Mirror, file: Entry) -> bool:
    """Return whether a file of folded events can be read; fetched once more where not, then told."""
    path = mirror.root / file.name
    if _is_whole(path):
        return True
    path.unlink(missing_ok=True)
    mirror.fetch_files([file])
    if not (is_whole := _is_whole(path)):
        tell_damage(f"{mirror.place.url}/{file.name} is damaged; the runs are opened instead")
    return is_whole


def _is_whole(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return _can_be_read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _can_be_read(path: Path, _size_bytes: int, _modified_ns: int) -> bool:
    """Return whether every page of a file is whole; looked at once, unless it changes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for number in range(file.num_row_groups):
                file.read_row_group(number)
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError):
        return False
    return True
