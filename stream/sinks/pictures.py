"""Pictures of critical alerts: made by a process of their own, one at a time, and never waited for for long.

A message is never lost for its picture: one that is late or fails is left out, and counted.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from thermograd.store.failures import Guard

WAIT_S = 10.0  # that a message waits for its picture
_LIMIT_S = 20.0  # that a picture may take, for the messages that come after
_AT_END_S = 0.5
_PAUSE_S = 60.0  # after one that failed
_SAME_MOMENT_NS = 30 * 10**9
_MOST_BYTES = 1 << 20
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_EXTRA = 3  # exit code of the process where a package is not installed


class Picture:
    """A picture that is being made."""

    def __init__(self, wait_s: float) -> None:
        self._until_s, self._done = time.monotonic() + wait_s, threading.Event()
        self._png: bytes | None = None

    def settle(self, png: bytes | None) -> None:
        """Take the picture, or that there will be none."""
        self._png = png
        self._done.set()

    def png(self) -> bytes | None:
        """Return it, once it is there; None where that takes too long."""
        self._done.wait(max(0.0, self._until_s - time.monotonic()))
        return self._png


class Pictures:
    """Has pictures made of critical alerts; asking for one never waits.

    Alerts of one moment share a picture. While another is made, and for a minute after one has failed, there
    is none. `command` says which process makes one, from the alert as JSON on its stdin; `on_trouble` is told
    once, from a thread, that there are none, and once that there are again. `made` and `failed` count.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        on_trouble: Callable[[str], object],
        wait_s: float = WAIT_S,
        limit_s: float = _LIMIT_S,
    ) -> None:
        self._command, self._wait_s, self._limit_s = command, wait_s, limit_s
        self._guard = Guard(
            "alerts go out without a picture: %(error)s",
            on_trouble,
            "alerts have pictures again, after %(count)d failures",
        )
        self._lock = threading.Lock()
        self._now: tuple[int, Picture] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._cut_short = False  # by the end of the run
        self._not_before_s = 0.0
        self.made = self.failed = 0

    def of(self, alert: Mapping[str, Any]) -> Picture | None:
        """Return the picture of an alert's moment, which may still be in the making; None for none."""
        if alert["severity"] != "critical":
            return None
        time_ns = int(alert["time_ns"])
        with self._lock:
            if self._now is not None:
                began_ns, picture = self._now
                return picture if abs(time_ns - began_ns) <= _SAME_MOMENT_NS else None
            if time.monotonic() < self._not_before_s:
                return None
            picture = Picture(self._wait_s)
            self._now = time_ns, picture
        values = {name: value for name, value in alert.items() if name != "definition"}
        threading.Thread(target=self._make, args=(values, picture), daemon=True).start()
        return picture

    def finish(self) -> None:
        """Begin no more, and let the one that is made have little time yet."""
        with self._lock:
            self._not_before_s = float("inf")
            busy = self._now is not None
        if busy:
            timer = threading.Timer(_AT_END_S, self._end_at_end)
            timer.daemon = True
            timer.start()

    def _make(self, alert: Mapping[str, Any], picture: Picture) -> None:
        png, why = None, ""
        try:
            png = self._made_by_child(json.dumps(alert, default=str).encode())
        except _NoPictureError as error:
            why, pause_s = str(error), error.pause_s
        except Exception as error:  # noqa: BLE001 - whatever hinders the picture, its alert goes out; told once
            why, pause_s = f"{type(error).__name__}: {error}", _PAUSE_S
        picture.settle(png)
        with self._lock:
            self._now = None
            self.made, self.failed = self.made + (png is not None), self.failed + (png is None)
            if png is None:
                self._not_before_s = max(self._not_before_s, time.monotonic() + pause_s)
        if png is None:
            self._guard.count(why)
        else:
            self._guard.works()

    def _made_by_child(self, alert: bytes) -> bytes:
        with subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as child:
            self._child = child
            if self._cut_short:  # before there was a process to end
                self._end_child()
            try:
                png, _ = child.communicate(alert, self._limit_s)
            except subprocess.TimeoutExpired:
                raise _NoPictureError(f"it takes longer than {self._limit_s:g} s") from None
            finally:
                self._end_child()
        if child.returncode == _NO_EXTRA:
            raise _NoPictureError("it needs: pip install 'thermograd[report]'", float("inf"))
        if child.returncode < 0 and self._cut_short:
            raise _NoPictureError("the run ended before it was drawn")
        if child.returncode or not png.startswith(_PNG) or len(png) > _MOST_BYTES:
            raise _NoPictureError(f"the process that draws it ended with exit code {child.returncode}")
        return png

    def _end_at_end(self) -> None:
        self._cut_short = True
        self._end_child()

    def _end_child(self) -> None:
        child = self._child
        if child is not None and child.poll() is None:
            child.kill()


class _NoPictureError(Exception):
    def __init__(self, reason: str, pause_s: float = _PAUSE_S) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def drawn_for(run_dir: str) -> list[str]:
    """Return the process that draws an alert of a run; the room that draws is not loaded here."""
    return [sys.executable, "-P", "-m", "thermograd.cli", "moment", run_dir]
