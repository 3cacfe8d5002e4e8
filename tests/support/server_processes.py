"""Servers as processes of their own that end with the tests, however these end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HOST = "127.0.0.1"
_START_S = 120.0

# Runs before the server, in its process: Linux kills it with the process of the tests, also at SIGKILL.
DIE_WITH_PARENT = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class ServerProcess:
    """One server on one port, which a test may kill, freeze and start again.

    Parameters
    ----------
    command
        Program and arguments; the program as a path.
    port
        Where it listens: it is up when this takes connections.
    output
        The file for what it writes; shown when it does not start.
    environment
        Added to that of the tests.
    """

    def __init__(
        self, command: Sequence[str], port: int, output: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._command = list(command)
        self.output = output
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def pid(self) -> int:
        """Return the process ID of the server."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, again if it was killed, and return once it takes connections."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-E", "-c", DIE_WITH_PARENT, str(os.getpid()), *self._command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the tests, whose fixtures then end it
            )
        self._wait_until_up()

    def is_up(self) -> bool:
        """Return whether it takes connections."""
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=5.0):
            return True
        return False

    def kill(self) -> None:
        """Kill it with SIGKILL: nothing is written, said or closed by it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop it for as long as this lasts: it keeps connections and answers nothing (not on Windows)."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def _wait_until_up(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < end:
            if self.is_up():
                return
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"{self._command[0]} did not start:\n{self.output.read_text()[-4000:]}")


@contextlib.contextmanager
def running(server: ServerProcess) -> Iterator[ServerProcess]:
    """Keep a server running for as long as this lasts."""
    try:
        server.start()
        yield server
    finally:
        server.kill()
