"""The real server of the page, as a process of its own, for tests and browsers."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server_processes import DIE_WITH_PARENT

# The command, whose queries may take longer than ten seconds: on a busy machine their process begins late.
_PATIENT = """
from dataclasses import replace
from thermograd.store.query import sandbox
sandbox.FOR_STRANGERS = replace(sandbox.FOR_STRANGERS, timeout_s=120.0)
from thermograd.cli import main
main()
"""


class Served:
    """A server that answers: its address, which a token may follow, and its process."""

    def __init__(self, process: "subprocess.Popen[str]", told: str) -> None:
        self.process = process
        self.told = told
        self.url, _, query = told.partition("/?")
        self.url = self.url.rstrip("/")
        self.token = query.removeprefix("token=") or None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving(runs: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Give the server of a folder of runs as a process, until the block ends."""
    command = [sys.executable, "-c", _PATIENT, "--runs", str(runs), "serve", "--port", "0", *options]
    process = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", DIE_WITH_PARENT, str(os.getpid()), *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"https?://\S+", line):
                yield Served(process, found[0])
                return
        raise RuntimeError(f"the server did not start:\n{''.join(said)}")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@contextmanager
def served(runs_dir: Path) -> Iterator[str]:
    """Give the address of a server of a folder of runs, without a slash at its end."""
    with serving(runs_dir) as server:
        yield server.url
