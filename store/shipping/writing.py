"""What a command writes for a URL: into a folder here first, then shipped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thermograd.store.places.place import is_url, place_of


@contextmanager
def written_to(runs: Path, say: Callable[[str], object]) -> Iterator[Path]:
    """Give the local folder that new runs of a folder, or of a URL, are written to; then ship these.

    What cannot be shipped now stays, and is said with how to finish it. What is refused for good is
    RefusedError: before anything is written where the place says so when asked, else after it, and kept.
    """
    if not is_url(runs):
        yield Path(runs)
        return
    from thermograd.store.errors import RefusedError
    from thermograd.store.runs.catalogue import list_runs
    from thermograd.store.shipping.rounds import ship_to_the_end
    from thermograd.store.shipping.spool import canonical, spool_for

    url = canonical(str(runs))
    place_of(url).probe()  # what cannot be is said before anything is recorded
    folder = spool_for(url)
    before = {run.run_id for run in list_runs(folder)}
    yield folder
    for run in list_runs(folder):
        if run.run_id not in before:
            later = f"{run.run_id} is kept here; ship it later: thermograd ship {run.run_id} {url}"
            try:
                progress = ship_to_the_end(run.path, url, say, is_asked=True)
            except RefusedError as error:
                raise RefusedError(f"{error}; {later}") from None
            except KeyboardInterrupt:
                say(later)
                raise
            is_there = progress is not None and progress.is_complete
            say(f"{run.run_id} is at {url}" if is_there else later)
