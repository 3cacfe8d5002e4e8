"""Sealing what is complete of a run that is being written, in a process of its own.

To seal takes Arrow: 40 MB that a process would keep which otherwise only follows and samples.
"""

import math
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

from thermograd.store.errors import LogError
from thermograd.store.files import open_segments
from thermograd.store.log.place import is_live

_MODULE = "thermograd.store.log.following.sealing"
_TOLD_TO_END = tuple(
    -number for name in ("SIGTERM", "SIGINT", "SIGHUP") if (number := getattr(signal, name, 0))
)


class SealingApart:
    """Seals, where there is something, once: what a process has left as it was is not tried again.

    Processes are started so far apart at least: many writers have complete files at other times. One that
    takes longer than `most_s` is killed, which loses nothing: a disk of the network may answer never more.
    """

    def __init__(self, least_apart_s: float = 300.0, most_s: float = 600.0) -> None:
        self._least_apart_s, self._most_s, self._last_s = least_apart_s, most_s, -math.inf
        self._done: set[Path] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def seal(self, run_dir: Path, run_id: str, live_writers: Collection[str]) -> None:
        """Seal as `thermograd.store.log.seal.seal_run` does. Raises LogError where that fails.

        A signal that ends a job ends the sealing, too, which is no failure; Ctrl-C does not reach it.
        """
        now_s = time.monotonic()
        if now_s - self._last_s < self._least_apart_s:
            return
        found = complete_files(run_dir, live_writers)
        if found <= self._done:
            return
        self._last_s = now_s
        code, said = self._ended([sys.executable, "-P", "-m", _MODULE, str(run_dir), run_id, *live_writers])
        if code in _TOLD_TO_END:
            return
        if code:
            lines = said.decode("utf-8", "replace").strip().splitlines() or [f"exit code {code}"]
            raise LogError(lines[-1].removeprefix(f"{LogError.__module__}.{LogError.__name__}: "))
        self._done = found

    def _ended(self, command: list[str]) -> tuple[int, bytes]:
        """Run a process; return its exit code and what it said. LogError where it does not end.

        A killed one is not waited for: what waits for a disk that is gone cannot be ended either. No other is
        started beside it.
        """
        if self._process is not None and self._process.poll() is None:
            raise LogError("the process that was to seal has been killed, and still hangs in the file system")
        process = self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # of a recording in a terminal Ctrl-C is for that alone
        )
        try:
            said = process.communicate(timeout=self._most_s)[1]
        except subprocess.TimeoutExpired:
            raise LogError(f"it was not done within {self._most_s:g} s, and is tried again later") from None
        finally:
            if process.returncode is None:
                process.kill()
                assert process.stderr is not None
                process.stderr.close()
        return process.returncode, said


def complete_files(run_dir: Path, live_writers: Collection[str]) -> set[Path]:
    """Return the live files that will not change: streams with a successor, and all of a dead writer."""
    streams = open_segments(run_dir, "arrows")
    found = {a.path for a, b in pairwise(streams) if (a.writer, a.kind) == (b.writer, b.kind)}
    files = streams + open_segments(run_dir, "tail")
    gone = {
        name for name in {file.writer for file in files} - set(live_writers) if not is_live(run_dir, name)
    }
    return found | {file.path for file in files if file.writer in gone}


def seal_here() -> None:
    """Seal the run that this process's arguments name: its directory, its id, writers that still run."""
    from thermograd.store.lazy_names import keep_pandas_out

    keep_pandas_out()
    from thermograd.store.log.seal import seal_run

    directory, run_id, *live_writers = sys.argv[1:]
    seal_run(Path(directory), run_id, frozenset(live_writers))


if __name__ == "__main__":
    seal_here()
