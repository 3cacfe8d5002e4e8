"""Writing the event log: one writer per file, nothing acknowledged is lost to a kill.

An event is acknowledged when `EventWriter.append` returns. By then one ``write`` has put it into the
kernel's page cache, where it survives SIGKILL of the process; a background thread syncs it to the
disk once a second, turns every `batch_rows` events into one Arrow record batch, and starts a new
segment when one is large or old. `append` never raises: what cannot be written is counted. It takes no
lock and may be interrupted anywhere, see `thermograd.store.log.tail`.
"""

import json
import logging
import os
import queue
import shlex
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.events import KINDS
from thermograd.store.failures import is_the_users, warn
from thermograd.store.files import writer_file
from thermograd.store.log.fitting import fit_values
from thermograd.store.log.pauses import Pauses
from thermograd.store.log.place import WriterPlace
from thermograd.store.log.tail_codec import Rows
from thermograd.store.log.tail_stream import TailStream

_log = logging.getLogger("thermograd")
_time_ns, _monotonic_ns = time.time_ns, time.monotonic_ns
_SYNC_PERIOD_S = 1.0
_CLOSE_WAIT_S = 10.0
_HURRIED_WAIT_S = 1.0
_BEAT_PERIOD_S = 10.0
_SPACE_PERIOD_S = 10.0
_LITTLE_SPACE_BYTES = 256 << 20
_UNFINISHED = "thermograd could not finish its log (%s); its events stay in the tail files"

_open_writers: "weakref.WeakSet[EventWriter]" = weakref.WeakSet()


class EventWriter:
    """Appends events of one process to the log of one run.

    Parameters
    ----------
    run_dir
        The run's directory; must exist.
    run_id, writer
        Identity of the run and of this writer; the writer's name must be new in the run.
    kinds
        Kinds whose files are opened now, so that their first `append` is as cheap as any other.
    batch_rows
        Rows of an Arrow batch.
    role
        What this process is in the run, for ``writers/<writer>.json``.
    labels
        How the host is called (`thermograd.store.labels.given`), for the same file.

    Attributes
    ----------
    lost, unfit
        Events that could not be written, and values that did not fit their column and are null.

    Raises
    ------
    LogError
        If the files cannot be created.

    Notes
    -----
    After a fork the child's copy is inert: it writes nothing and owns nothing.
    """

    def __init__(
        self,
        run_dir: Path,
        run_id: str,
        writer: str,
        kinds: tuple[str, ...] = ("step", "mark"),
        batch_rows: int = 1024,
        role: str = "training",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        from thermograd.store.processes import process_facts

        self.run_id, self.writer = run_id, writer
        self.lost = self.unfit = 0
        self._lost_before = self._lost_reported = 0
        self._lost_by_kind: dict[str, int] = {}
        self._kinds_reported: dict[str, int] = {}
        self._process = f"{role} process {writer}"
        self._lost_said = self._unfit_said = self._space_said = self._unfinished_said = False
        self._ended: Mapping[str, object] | None = None
        self._space_at = self._beat_at = 0.0
        self._is_hurried = False  # somebody did not want to wait for its end
        self._batch_rows = batch_rows
        self._streams: dict[str, TailStream] = {}
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closing = self._closed = False
        self._pause = Pauses()
        with os_errors_as(LogError, f"cannot start a log in {run_dir}"):
            facts = {"writer": writer, "role": role} | ({"labels": dict(labels)} if labels else {})
            self._place = WriterPlace(run_dir, writer, facts | process_facts())
            for kind in kinds:
                self._stream(kind)
        _open_writers.add(self)
        self._thread = threading.Thread(target=self._work, name="thermograd-log", daemon=True)
        self._thread.start()

    @property
    def run_dir(self) -> Path:
        """The run's directory, absolute; where it is now, if it has been moved."""
        return self._place.run_dir

    @property
    def is_losing(self) -> bool:
        """Whether events are being lost: one was, and none has been reported as written again."""
        return self._lost_said

    def append(
        self, kind: str, time_ns: int | None = None, monotonic_ns: int | None = None, /, **values: Any
    ) -> int | None:
        """Append one event; return its `seq`, or None where it could not be written (and was counted).

        Never raises and waits for nobody; what a signal handler raises meanwhile passes. Columns that are
        not given are null, but for `time_ns` and `monotonic_ns` (by name or place), which are now; so is,
        counted as `unfit`, a value that does not fit its column.
        """
        if self._closed:
            return None
        # Python would compare the names of all values with those of parameters: a tenth of the time of all
        if "time_ns" in values:
            time_ns = values.pop("time_ns")
        if "monotonic_ns" in values:
            monotonic_ns = values.pop("monotonic_ns")
        if time_ns is None:
            time_ns = _time_ns()
        if monotonic_ns is None:
            monotonic_ns = _monotonic_ns()
        try:
            try:
                try:
                    stream = self._streams[kind]
                except KeyError:
                    stream = self._stream(kind)
                return stream.append(time_ns, monotonic_ns, values)
            except (ValueError, TypeError) as error:
                return self._append_fitted(kind, time_ns, monotonic_ns, values, error)
        except RecursionError:  # no call may be made here
            self.lost += 1
            return None
        except Exception as error:  # the training loop must not see it: counted, reported
            if is_the_users(error):
                raise
            self.count_lost(kind, error)
            return None

    def append_rows(
        self, kind: str, rows: Rows, time_ns: int | None = None, monotonic_ns: int | None = None
    ) -> int | None:
        """Append events of one moment in one write; return the `seq` of the first, as `append` does.

        Their values have to fit their columns: where one does not, all of these events are lost and counted.
        """
        if self._closed or not rows.rows:
            return None
        try:
            stream = self._streams.get(kind) or self._stream(kind)
            moment = time_ns or time.time_ns(), monotonic_ns or time.monotonic_ns()
            return stream.append(*moment, rows)
        except RecursionError:
            self.lost += len(rows.rows)
            return None
        except Exception as error:  # as in `append`
            if is_the_users(error):
                raise
            self.count_lost(kind, error, len(rows.rows))
            return None

    def _append_fitted(
        self, kind: str, time_ns: int, monotonic_ns: int, values: dict[str, Any], error: Exception
    ) -> int:
        """Append what fits of values of which something does not; raise what else the error was."""
        if is_the_users(error) or kind not in KINDS:
            raise error
        fitted, said = fit_values(kind, values)
        self.unfit += max(len(said), 1)
        if not self._unfit_said:
            self._unfit_said = True
            warn("thermograd: %s; its column stays empty, training goes on", "; ".join(said))
        return self._streams[kind].append(time_ns, monotonic_ns, fitted)

    def _stream(self, kind: str) -> TailStream:
        if kind not in KINDS:
            raise ValueError(f"event kind {kind!r} is not known; allowed: {', '.join(KINDS)}")
        stream = TailStream(
            self._place.directory,
            kind,
            self._batch_rows,
            self.run_id,
            self.writer,
            self._call,
            self._place.moved_directory,
        )
        return self._streams.setdefault(kind, stream)

    def _call(self) -> None:
        """Call the log's own thread."""
        self._wake.put(None)

    def count_lost(self, kind: str, error: object, times: int = 1) -> None:
        """Count events that could not be written; said once, until it has been over."""
        self.lost += times
        named = kind if type(kind) is str and kind in KINDS else "unknown"
        self._lost_by_kind[named] = self._lost_by_kind.get(named, 0) + times
        if not self._lost_said:
            self._lost_said = True
            warn("thermograd could not write a %s event (%s); training goes on", kind, error)

    # -- background ------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing:
            with suppress(queue.Empty):
                self._wake.get(timeout=_SYNC_PERIOD_S)
                while True:
                    self._wake.get_nowait()
            if not self._closing:
                self._tidy()
        self._finish()

    def _tidy(self) -> None:
        """Open spare tails, emit full batches, sync what was written, report what was lost."""
        self._harmless(self._settle)
        for stream in list(self._streams.values()):
            self._harmless(stream.prepare)
            self._harmless(stream.emit)
            if not self._harmless(stream.sync) and not stream.is_behind:
                self._harmless(stream.leave)
        self._harmless(self._report)
        self._harmless(self._watch_space)

    def _harmless(self, step: Callable[[], object]) -> bool:
        """Do one step of the work, and pause; whether it went well. Else it comes again: all is in tails."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - keeps the thread alive for the steps after it
            _log.debug("thermograd log thread: %s", error)
            return False
        finally:
            if not self._closing:
                self._pause()
        return True

    def _settle(self) -> None:
        """Go where the run's directory has gone; give a sign of life."""
        said = self._place.settle()
        for stream in list(self._streams.values()):
            if said:
                stream.move(self._place.directory)
            if not stream.is_there():
                stream.leave()
                said = said or f"a file of the log was taken away from {self._place.directory}; it goes on"
        if said:
            warn("thermograd: %s", said)
            self.append("mark", mark="gap", text=said)
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + _BEAT_PERIOD_S
            self._place.beat()

    def _watch_space(self) -> None:
        """Warn once that the disk is filling up, before events are lost."""
        if self._space_said or time.monotonic() < self._space_at:
            return
        self._space_at = time.monotonic() + _SPACE_PERIOD_S
        free = shutil.disk_usage(self.run_dir).free
        if free < _LITTLE_SPACE_BYTES:
            self._space_said = True
            amount = f"{free >> 20} MB" if free >= 1 << 20 else f"{free >> 10} kB"
            text = f"only {amount} are free on the disk of {self.run_dir}; older runs can be deleted"
            runs = shlex.quote(str(self.run_dir.parent))
            prune = f"thermograd --runs {runs} runs --prune-older-than 30d --yes"
            warn("thermograd: %s: %s (without --yes it only lists them)", text, prune)
            self.append("mark", mark="note", text=text)

    def _report(self) -> None:
        """Once no more events are lost, say in the log, and to people, how many were."""
        lost, before = self.lost, self._lost_before
        self._lost_before = lost
        missing = lost - self._lost_reported
        if missing and (lost == before or self._closing):
            text, detail = f"{_events(missing)} could not be written", json.dumps({"lost": missing})
            by_kind = dict(self._lost_by_kind)
            values = {"mark": "gap", "text": f"{text} ({self._lost_of(by_kind)})", "detail": detail}
            stream = self._streams.get("mark") or self._stream("mark")
            stream.append(time.time_ns(), time.monotonic_ns(), values)
            self._lost_reported, self._kinds_reported = lost, by_kind
            if not self._closing and self._lost_said:
                warn("thermograd writes its log again; %s", text)
            self._lost_said = False
        if self.unfit and self._closing:
            count = "1 value" if self.unfit == 1 else f"{self.unfit} values"
            text = f"{count} did not fit the column, which is null there"
            self.append("mark", mark="gap", text=text, detail=json.dumps({"unfit": self.unfit}))

    def _lost_of(self, by_kind: Mapping[str, int]) -> str:
        """Return how many of each kind were lost since that was last reported, and whose they are."""
        new = {kind: count - self._kinds_reported.get(kind, 0) for kind, count in by_kind.items()}
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(new.items()) if count)
        return f"{kinds}; {self._process}" if kinds else self._process

    # -- end -------------------------------------------------------------------------------------

    def close(self, ended: Mapping[str, object] | None = None) -> None:
        """Write what is left as a last batch, sync, and end the streams. Never raises; repeatable.

        The log's own thread does it: Ctrl-C meanwhile ends the waiting, not the work. `ended`, what the
        process says of its end (`thermograd.store.runs.ends`), stands among the facts about the writer.
        """
        self._ended = self._ended or ended
        self._closing = True
        self._wake.put(None)
        if self not in _open_writers:
            return
        if self._thread.is_alive():
            self._wait()
        if self._thread.is_alive():
            warn(_UNFINISHED, f"the disk has not answered for {self._patience_s():g} s")
        _open_writers.discard(self)

    def _wait(self) -> None:
        try:
            self._thread.join(self._patience_s())
        except BaseException:  # Ctrl-C ends the waiting, and is passed on
            self._is_hurried = True
            raise

    def _patience_s(self) -> float:
        return _HURRIED_WAIT_S if self._is_hurried else _CLOSE_WAIT_S

    def _finish(self) -> None:
        self._harmless(self._settle)
        self._harmless(self._report)
        self._closed = True
        for stream in list(self._streams.values()):
            self._say_if_unfinished(stream.finish)
        whole = not self._unfinished_said
        self._say_if_unfinished(lambda: self._place.leave(time.time_ns(), self._account(), whole))
        for stream in list(self._streams.values()):
            stream.let_go()
        if self.lost:
            warn("thermograd could not write %s of this run", _events(self.lost))

    def amend(self, ended: Mapping[str, object]) -> None:
        """Say more of the end, after it: what has become known since. Nothing where the files are gone."""
        self._ended = ended
        if writer_file(self.run_dir, self.writer).exists():
            self._harmless(lambda: self._place.tell_end(self._account()))

    def _account(self) -> dict[str, object] | None:
        if self._ended is None or not self.lost:
            return dict(self._ended) if self._ended is not None else None
        return {**self._ended, "lost": self.lost}

    def _say_if_unfinished(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever the disk or Arrow says, nothing is lost by it
            if not self._unfinished_said:
                self._unfinished_said = True
                warn(_UNFINISHED, error)


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _abandon_all() -> None:
    """In a forked child: these copies own nothing and write nothing."""
    for writer in list(_open_writers):
        writer._closed = True
    _open_writers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
