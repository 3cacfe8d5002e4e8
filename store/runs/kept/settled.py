"""Answers about runs that have ended, while no file of theirs changes and no process of theirs lives."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thermograd.store.files import WRITER
from thermograd.store.log.place import is_live
from thermograd.store.log.reading.kept import Kept, identity
from thermograd.store.runs.catalogue import Run

_FILES = ("run.json", "tags.json", "report/verdict.json")
_FOLDERS = ("writers", "open", "sealed")


class SettledAnswers:
    """Answers of one topic about the runs of one folder.

    Whether a process lives shows in no file: of writers that have not closed their log that is asked each
    time. Of a run that lives nothing is kept.
    """

    def __init__(self, folder: Path, topic: str) -> None:
        self._kept = Kept(folder, topic)

    def answer(
        self,
        run: Run,
        name: str,
        find: Callable[[], Any],
        also: Iterable[str] = (),
        fits: Callable[[Any], bool] = lambda answer: True,
    ) -> Any:
        """Return the answer of a name about a run: as it was found, or else what `find` returns.

        Parameters
        ----------
        run, name
            What the answer is about; JSON can hold it.
        find
            Gives it, by the run's small files, those of its log, and those named in `also`.
        also
            Paths, from the run's directory on.
        fits
            Whether an answer is to be kept. One that a warning was told with is not: it is told each time.
        """
        found = self._kept.get_with_files(name, run.path)
        if found is not None and not any(is_live(run.path, writer) for writer in found["unclosed"]):
            return found["answer"]
        files = [*also, *files_of(run.path)]
        now = identity(os.path.join(run.path, file) for file in files)
        unclosed = _unclosed(run)  # before it is told: what dies meanwhile may be told to live
        with _warnings() as told:
            answer = find()
        if unclosed is not None and not told and fits(answer):
            self._kept.put_with_files(name, files, now, {"unclosed": unclosed, "answer": answer})
        return answer

    def save(self) -> None:
        """Write what was found anew, where that is possible."""
        self._kept.save()


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Give a list of what we log within the block; where it goes does not change."""
    told: list[str] = []

    def look(record: logging.LogRecord) -> bool:
        told.append(record.getMessage())
        return True

    logger = logging.getLogger("thermograd")
    logger.addFilter(look)
    try:
        yield told
    finally:
        logger.removeFilter(look)


def files_of(run_dir: Path) -> list[str]:
    """Return the files and folders of a run that its row is told by, also those that are not there."""
    files = [*_FILES, *_FOLDERS]
    for top in _FOLDERS:
        for folder, folders, names in os.walk(run_dir / top):
            files += [os.path.relpath(os.path.join(folder, name), run_dir) for name in (*folders, *names)]
    return files


def _unclosed(run: Run) -> list[str] | None:
    """Return the writers that have not closed their log and do not live; None where the run may go on."""
    told = [str(facts.get("writer")) for facts in run.writers() if "closed_time_ns" not in facts]
    unclosed = [writer for writer in told if WRITER.fullmatch(writer)]
    return None if run.live_writers() else unclosed
