"""A copy on this disk of runs at a URL: of those that were asked for, of these what was asked for.

::

    <cache>/<url>/<run_id>/             a run as any; what is sealed never changes, all else goes by its etag
    <cache>/<url>/<run_id>/mirror.json  the etags; its own time says when the run was last used
    <cache>/<url>/_catalogue/           compacted events
    <cache>/<url>/.mirror/              the URL, and the runs that it held when they were last listed

Every file is written beside its place and renamed: several processes may use a mirror, one that is killed
leaves nothing half. Nothing is written to the URL but findings.
"""

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.errors import NotThereError, PlaceError, os_errors_as
from thermograd.store.events import KINDS
from thermograd.store.files import WRITER, read_json, write_file, write_json
from thermograd.store.places.cache import RUN_STATE, mirror_root, sweep, url_of
from thermograd.store.places.place import Entry, Place, place_of
from thermograd.store.places.shipped import manifests, shipped_files

FINDINGS_FOLDER = "_fleet"
_FINDINGS_FILE = re.compile(rf"{FINDINGS_FOLDER}/[0-9A-Za-z][0-9A-Za-z-]*/findings-[0-9]{{5}}\.parquet")
_AT_ONCE = 8  # requests
_ATTEMPTS = 3
_SEALED = re.compile(
    rf"sealed/(?P<kind>{'|'.join(KINDS)})/(?P<writer>{WRITER.pattern})"
    r"-(?P<first>[0-9]{12})-(?P<last>[0-9]{12})\.parquet"
)
_FACTS = re.compile(rf"(run|tags)\.json|(writers|shipped)/{WRITER.pattern}\.json")
_NO_RUN = re.compile(r"[._].*|.*[\\/:*?\"<>|\0-\x1f].*|", re.DOTALL)


class _Plan(NamedTuple):
    """What of a run is to be fetched, by its names in the run; and the etags of what changes."""

    run_id: str
    files: list[Entry]
    etags: dict[str, str]


class Mirror:
    """The mirror of one place.

    Attributes
    ----------
    place, root
        What is mirrored, and the folder in which: a folder of runs as any.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.root = place, mirror_root(place.url)

    def fetch(self, run_ids: Iterable[str], kinds: Iterable[str] | None = None) -> list[Path]:
        """Bring runs up to date, of their events those of some kinds; return the folders of those there are.

        A run that is not at the URL any more goes from the mirror.
        """
        wanted = None if kinds is None else frozenset(kinds)
        left, is_more = list(filter(may_be_run, run_ids)), False
        found: dict[str, _Plan | None] = {}
        for _ in range(_ATTEMPTS):
            plans = _each(partial(self._plan, kinds=wanted), left)
            found |= dict(zip(left, plans, strict=True))
            files = [(plan.run_id, entry) for plan in plans if plan is not None for entry in plan.files]
            came = _each(self._fetch_file, files)
            is_more |= any(came)
            # A part of which the log's own file is there now was removed since it was listed.
            vanished = {run_id for (run_id, e), here in zip(files, came, strict=True) if not here and e.etag}
            left = [run_id for run_id in left if run_id in vanished]
            if not left:
                break
        if is_more:
            sweep()
        return [self._marked(plan) for plan in found.values() if plan is not None]

    def fetch_files(self, entries: Iterable[Entry]) -> None:
        """Bring files that never change, by their names at the place, unless they are here."""
        missing = [("", entry) for entry in entries if _size_of(self.root / entry.name) != entry.size_bytes]
        _each(self._fetch_file, missing)
        if missing:
            sweep()

    def contents(self, names: Iterable[str]) -> list[bytes | None]:
        """Return the contents of files as they are at the place; None of one that is gone."""

        def content(name: str) -> bytes | None:
            with suppress(NotThereError):
                return self.place.get(name)
            return None

        return _each(content, names)

    def _plan(self, run_id: str, kinds: frozenset[str] | None) -> _Plan | None:
        """Bring the facts of a run, and return what else is to be fetched; None where it is gone."""
        folder, prefix, asked_s = self.root / run_id, len(run_id) + 1, time.time()
        listed = [entry._replace(name=entry.name[prefix:]) for entry in self.place.list(run_id)]
        there = {e.name: e for e in listed if _FACTS.fullmatch(e.name) or _SEALED.fullmatch(e.name)}
        if not there:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        known = read_json(folder / RUN_STATE).get("etags")
        etags = {name: entry.etag for name, entry in there.items() if _FACTS.fullmatch(name)}
        for name in etags:
            is_same = isinstance(known, dict) and known.get(name) == etags[name]
            if not (is_same and (folder / name).is_file()):
                self._fetch_file((run_id, there[name]))
        for name in _sealed_shipped(folder).keys() - there.keys():
            there[name] = Entry(name, -1, "", 0)  # it came since the listing, or is lost
        _drop_others(folder, there, asked_s)
        wanted = [there[name] for name in _in_turn(folder, there) if _is_of(name, kinds)]
        return _Plan(run_id, [e for e in wanted if _size_of(folder / e.name) != e.size_bytes], etags)

    def _marked(self, plan: _Plan) -> Path:
        folder = self.root / plan.run_id
        with os_errors_as(PlaceError, f"cannot write the mirror {folder}"):
            write_json(folder / RUN_STATE, {"etags": plan.etags})
        return folder

    def _fetch_file(self, file: tuple[str, Entry]) -> bool:
        """Bring a file, whole or not at all; return whether it was still there."""
        run_id, entry = file
        name = f"{run_id}/{entry.name}" if run_id else entry.name
        for _ in range(_ATTEMPTS):
            try:
                data = self.place.get(name)
            except NotThereError:
                (self.root / name).unlink(missing_ok=True)
                return False
            if _FACTS.fullmatch(entry.name) or entry.size_bytes in (-1, len(data)):
                self._write(self.root / name, data)
                return True
        raise PlaceError(
            f"{self.place.url}: {name} has {len(data):,} bytes, not {entry.size_bytes:,}: it broke off"
        )

    def _write(self, path: Path, data: bytes) -> None:
        with os_errors_as(PlaceError, f"cannot write the mirror {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, data)


def may_be_run(name: str) -> bool:
    """Return whether a name at a place can be a run's: not hidden, no ``_``-folder, leading nowhere else."""
    return _NO_RUN.fullmatch(name) is None


def mirror_at(root: Path) -> Mirror | None:
    """Return the mirror that a folder is; None where it is none."""
    url = url_of(root)
    return None if url is None else Mirror(place_of(url))


def bring_findings(mirror: Mirror) -> None:
    """Bring the findings that are at a URL into its mirror, each file once. PlaceError if they cannot be."""
    mirror.fetch_files(
        entry for entry in mirror.place.list(FINDINGS_FOLDER) if _FINDINGS_FILE.fullmatch(entry.name)
    )


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


def _each(function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
    """Call a function for several items at once; the first error, or Ctrl-C, ends what has not begun."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return -2


def _is_of(name: str, kinds: frozenset[str] | None) -> bool:
    return kinds is None or _SEALED.fullmatch(name)["kind"] in kinds  # type: ignore[index]


def _sealed_shipped(folder: Path) -> dict[str, str]:
    """Return the sealed files that shippers say they have brought, and whose they are."""
    return {
        file.name: writer
        for writer, manifest in manifests(folder).items()
        for file in shipped_files(manifest)
        if _SEALED.fullmatch(file.name)
    }


def _in_turn(folder: Path, there: Iterable[str]) -> Iterator[str]:
    """Yield the sealed files; of a writer that is being shipped none beyond one that is still on its way."""
    shipping = {name for name, told in manifests(folder).items() if told.get("ended") is not True}
    brought = _sealed_shipped(folder)
    next_seq: dict[tuple[str, str], int] = defaultdict(int)
    for match in sorted(filter(None, map(_SEALED.fullmatch, there)), key=lambda match: match[0]):
        key = match["writer"], match["kind"]
        if match["writer"] in shipping and match[0] not in brought and int(match["first"]) > next_seq[key]:
            continue
        next_seq[key] = max(next_seq[key], int(match["last"]) + 1)
        yield match[0]


def _drop_others(folder: Path, there: Iterable[str], asked_s: float) -> None:
    """Remove from a run's mirror what was not at the URL, unless another process has brought it since."""
    kept = set(there)
    for part in ("sealed", "writers", "shipped"):
        for path in [*(folder / part).rglob("*"), folder / "tags.json"]:
            if path.relative_to(folder).as_posix() not in kept and path.name[0] != ".":
                with suppress(OSError):
                    if path.is_file() and path.stat().st_ctime < asked_s:
                        path.unlink()
