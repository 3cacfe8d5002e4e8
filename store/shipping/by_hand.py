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
from thermograd.store.telling.quantities import counted


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
        told = (
            f"{counted(self.files, 'file')}, {self.bytes / 1e6:.1f} MB" if self.files else "nothing to ship"
        )
        return f"{self.run_id}: {told}" + ("; it is live: ship it again at its end" if self.is_live else "")


def choose(runs: Path, reference: str | None, url: str | None) -> list[tuple[Run, str]]:
    """Return the runs to ship, and where: one by its reference, or all there are.

    Without a URL they are those of the spool, each to its own. RunNotFoundError if there is none.
    """
    if url is not None:
        place_of(url)  # an address that is none is said at once
    kept = [(run, target) for target, folder in spools(url) for run in list_runs(folder)]
    if reference is None:
        beside = [] if url is None or is_url(runs) else [(run, url) for run in list_runs(runs)]
        return kept + beside
    found = [(run, target) for run, target in kept if reference in (run.run_id, run.name, str(run.path))]
    if len(found) == 1:
        return found
    run = find_run(runs, reference)
    target = url or target_of(run.path)
    if target is None:
        raise RunNotFoundError(f"run {run.run_id} goes to no URL yet; name one: thermograd ship RUN URL")
    return [(run, target)]


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
        return Shipped(run.run_id, url, 0, 0, False, error=str(refused))
    if after is None:
        return Shipped(run.run_id, url, 0, 0, False, is_busy=True)
    error = after.error
    if after.conflicts and error is None:
        error = f"{counted(len(after.conflicts), 'file')} there with another content; see above"
    written = after.files - before.files, after.bytes - before.bytes
    is_live = error is None and not after.is_complete and bool(run.live_writers())
    return Shipped(run.run_id, url, *written, after.is_complete, is_live, error=error)


def summary(results: list[Shipped]) -> str:
    """Return what came of all of them. PlaceError where something is not there that should be."""
    files, size = sum(r.files for r in results), sum(r.bytes for r in results)
    left = [r for r in results if r.is_left]
    if left:
        raise PlaceError(
            f"{counted(len(left), 'run')} of {len(results)} not shipped: {left[0].sentence()}; "
            "what is left stays here; ship it again"
        )
    if not files:
        return "nothing to ship"
    return f"{counted(len(results), 'run')}: {counted(files, 'file')}, {size / 1e6:.1f} MB shipped"


def to_json(results: list[Shipped]) -> list[dict[str, Any]]:
    """Return the results as JSON knows them."""
    return [result._asdict() for result in results]
