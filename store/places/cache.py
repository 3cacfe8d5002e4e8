"""The folder of this machine in which mirrors of runs at a URL lie: where, how large, who has to go.

Beside them, small, what commands have found in files of runs: `store.log.reading.kept`.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.errors import ConfigError, PlaceError, os_errors_as
from thermograd.store.files import is_folder, read_json, write_file
from thermograd.store.telling.quantities import age_text, counted, size_text
from thermograd.store.text import slug

STATE = ".mirror"  # of a mirror: what it knows of its URL
RUN_STATE = "mirror.json"  # of a run in a mirror
_DEFAULT_GB = 20.0
_SPARED_S = 600.0  # so long after its last use a run is not taken away: another process may be reading it
_SWEPT_EVERY_S = 600.0
_URL_FILE = "url.json"


class MirrorSize(NamedTuple):
    """What a mirror takes of the disk."""

    url: str
    path: str
    runs: int
    size_bytes: int
    used_s_ago: float


def cache_dir() -> Path:
    """Return ``$THERMOGRAD_CACHE``, or a folder in the user's cache of this platform.

    Raises PlaceError where that is in a home directory that there is not: none is made.
    """
    given = os.environ.get("THERMOGRAD_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home()) / "thermograd" / "cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "thermograd"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "thermograd"


def _home() -> Path:
    with suppress(RuntimeError):  # a user that this system does not know
        if os.path.isdir(home := Path.home()):  # False also of one that may not be looked at
            return home
    raise PlaceError("there is no home directory to keep anything in; THERMOGRAD_CACHE names another place")


def most_bytes() -> int:
    """Return how much the mirrors may take together: ``$THERMOGRAD_CACHE_GB``, or 20 GB."""
    text = os.environ.get("THERMOGRAD_CACHE_GB", "")
    try:
        size_gb = float(text or _DEFAULT_GB)
        if not 0 < size_gb < 1e9:
            raise ValueError
    except ValueError:
        raise ConfigError(f"THERMOGRAD_CACHE_GB is {text!r}; allowed: a number of GB above 0") from None
    return int(size_gb * 1e9)


def kept_folder() -> Path:
    """Return the folder of what commands have found in files, which may not be there."""
    return cache_dir() / "kept"


def mirror_root(url: str) -> Path:
    """Return the folder of a URL's mirror, made where it is missing, private to its user."""
    from hashlib import sha256

    root = cache_dir() / f"{slug(url.partition('://')[2])[:60]}-{sha256(url.encode()).hexdigest()[:16]}"
    with os_errors_as(PlaceError, f"cannot write the mirror {root} (THERMOGRAD_CACHE names another place)"):
        (root / STATE).mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (root / STATE / _URL_FILE).exists():
            write_file(root / STATE / _URL_FILE, f'{{"url": {_quoted(url)}}}\n'.encode())
    return root


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


def url_of(root: Path) -> str | None:
    """Return the URL that a folder mirrors; None where it is no mirror."""
    url = read_json(root / STATE / _URL_FILE).get("url")
    return url if isinstance(url, str) else None


def mirrors() -> Iterator[MirrorSize]:
    """Iterate over the mirrors that there are."""
    for root in _roots():
        runs = _runs(root)
        size = sum(_size(path) for path in root.iterdir())
        used_s = max((_used_s(path) for path in (*runs, root / STATE)), default=0.0)
        yield MirrorSize(url_of(root) or "", str(root), len(runs), size, max(0.0, time.time() - used_s))


def cache_shown() -> dict[str, Any]:
    """Return what ``thermograd cache --json`` tells."""
    found = [mirror._asdict() for mirror in mirrors()]
    return {
        "path": str(cache_dir()),
        "size_bytes": sum(mirror["size_bytes"] for mirror in found) + _size(kept_folder()),
        "most_bytes": most_bytes(),
        "mirrors": found,
    }


def cache_text(shown: Mapping[str, Any]) -> str:
    """Return what ``thermograd cache`` prints."""
    lines = [f"{shown['path']}: {size_text(shown['size_bytes'])} of {shown['most_bytes'] / 1e9:g} GB"]
    if "freed_bytes" in shown:
        lines.append(f"  {size_text(shown['freed_bytes'])} were removed")
    for mirror in shown["mirrors"]:
        lines.append(
            f"  {mirror['url']}: {counted(mirror['runs'], 'run')}, {size_text(mirror['size_bytes'])}, "
            f"used {age_text(mirror['used_s_ago'])} ago"
        )
    return "\n".join(lines)


def clear() -> int:
    """Remove every mirror, and what was found in files; return how many bytes that frees."""
    freed = 0
    for root in (*_roots(), kept_folder()):
        freed += _size(root)
        shutil.rmtree(root, ignore_errors=True)
    return freed


def sweep(now: bool = False) -> None:
    """Remove the runs that were used longest ago until the mirrors fit into their bound.

    A run that was used within ten minutes stays. Looks every ten minutes at most, unless `now`.
    """
    stamp, limit = cache_dir() / ".swept", most_bytes()
    with suppress(OSError):
        if not now and time.time() - stamp.stat().st_mtime < _SWEPT_EVERY_S:
            return
    with suppress(OSError):
        write_file(stamp, b"")
    runs = [(_used_s(path), _size(path), path) for root in _roots() for path in _runs(root)]
    total = sum(_size(root) for root in _roots())
    for used_s, size, path in sorted(runs):
        if total <= limit or time.time() - used_s < _SPARED_S:
            return
        shutil.rmtree(path, ignore_errors=True)
        total -= size


def _roots() -> list[Path]:
    try:
        return [path for path in sorted(cache_dir().iterdir()) if is_folder(path / STATE)]
    except OSError:
        return []


def _runs(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if (path / RUN_STATE).is_file()]


def _used_s(path: Path) -> float:
    with suppress(OSError):
        return (path / RUN_STATE if (path / RUN_STATE).exists() else path).stat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
