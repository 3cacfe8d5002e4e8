"""Shipping that a person asks for: one run or all, now, and what came of it in words."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.errors import PlaceError, RefusedError, RunNotFoundError
from thermograd.store.places.place import is_url, place_of
from thermograd.store.runs.catalogue import Run, find_run, list_runs
from thermograd.store.shipping.progress import progress_of
from thermograd.store.shipping.rounds import Say, ship_to_the_end
from thermograd.store.shipping.spool import canonical, spools, target_of
from thermograd.store.telling.quantities import counted, size_text


class Shipped(NamedTuple):
    """What shipping a run has come to: what was written this time, and whether all of it is there."""

    run_id: str
    url: str
    files: int
    bytes: int
    is_complete: bool
    is_live: bool = False
    is_busy: bool = False
    error: str | None = None
    path: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether all of it was there already."""
        return self.is_complete and not self.files and self.error is None

    @property
    def is_left(self) -> bool:
        """Whether something is not there that should be."""
        return not (self.is_complete or self.is_live or self.is_busy)

    def sentence(self) -> str:
        """Return it in a line."""
        if self.is_busy:
            return f"{self.run_id}: another process ships it"
        if self.error is not None:
            return f"{self.run_id}: {self.error}"
        told = f"{counted(self.files, 'file')}, {size_text(self.bytes)}" if self.files else "nothing to ship"
        return f"{self.run_id}: {told}" + ("; it is live: ship it again at its end" if self.is_live else "")


def choose(runs: Path, reference: str | None, url: str | None) -> list[tuple[Run, str]]:
    """Return the runs to ship, and where: one by its reference, or all there are.

    Without a URL they are those of the spool, each to its own. RunNotFoundError if there is none.
    """
    if url is not None:
        place_of(url)  # an address that is none is said at once
    kept = [(run, target) for target, folder in spools() for run in list_runs(folder)]
    if reference is None:
        kept = [(run, target) for run, target in kept if _is_of(run, target, url)]
        beside = [] if url is None or is_url(runs) else [(run, url) for run in list_runs(runs)]
        return kept + beside
    found = [(run, target) for run, target in kept if reference in (run.run_id, run.name, str(run.path))]
    if len(found) == 1:
        return [(found[0][0], url or found[0][1])]
    run = find_run(runs, reference)
    target = url or target_of(run.path)
    if target is None:
        raise RunNotFoundError(f"run {run.run_id} goes to no URL yet; name one: thermograd ship RUN URL")
    return [(run, target)]


def _is_of(run: Run, target: str, url: str | None) -> bool:
    """Return whether a run of a spool is to go to a URL; or is not all at one that was given since."""
    if url is not None:
        return target == canonical(url)
    progress = progress_of(run.path)
    return progress.url == target or not progress.is_complete


def ship_each(chosen: Iterable[tuple[Run, str]], say: Say) -> Iterator[Shipped]:
    """Ship runs one after the other; what fails is told in the answer, and the next one follows."""
    for run, url in chosen:
        yield _ship(run, canonical(url), say)


def _ship(run: Run, url: str, say: Say) -> Shipped:
    before = progress_of(run.path, url)
    try:
        place = place_of(url)
        place.probe()
        after = ship_to_the_end(run.path, url, say, 0.0, place, is_asked=True)
    except RefusedError as refused:
        return Shipped(run.run_id, url, 0, 0, False, error=str(refused), path=str(run.path))
    if after is None:
        return Shipped(run.run_id, url, 0, 0, False, is_busy=True)
    error = after.error
    if after.conflicts and error is None:
        error = f"{counted(len(after.conflicts), 'file')} there with another content; see above"
    written = after.files - before.files, after.bytes - before.bytes
    is_live = error is None and not after.is_complete and bool(run.live_writers())
    return Shipped(run.run_id, url, *written, after.is_complete, is_live, error=error, path=str(run.path))


def summary(results: list[Shipped]) -> str:
    """Return what came of all of them. PlaceError where something is not there that should be."""
    files, size = sum(r.files for r in results), sum(r.bytes for r in results)
    left = [r for r in results if r.is_left]
    if left:
        raise PlaceError(
            f"{counted(len(left), 'run')} of {len(results)} not shipped, see above; what is left stays here: "
            f"ship it again, or to another place: thermograd ship {left[0].run_id} URL, "
            f"or delete it: {left[0].path}"
        )
    nothing = [r for r in results if r.is_nothing]
    told = f"{counted(len(nothing), 'run')}: nothing to ship" if len(results) > 1 else "nothing to ship"
    if not files:
        return told
    sent = counted(len(results) - len(nothing), "run")
    more = f"; {told}" if nothing else ""
    return f"{sent}: {counted(files, 'file')}, {size_text(size)} shipped{more}"


def to_json(results: list[Shipped]) -> list[dict[str, Any]]:
    """Return the results as JSON knows them."""
    return [result._asdict() for result in results]
