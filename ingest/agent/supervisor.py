"""The agent as the training process holds it: started, watched, restarted once, told to finish.

All of it happens in threads of its own: the training thread starts the first agent and never waits for
anything again until `AgentProcess.stop`.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thermograd.ingest.agent.footprint import FRUGAL
from thermograd.store.failures import Guard

_log = logging.getLogger("thermograd")
_AGENT_END_S = 10.0
_MOST_STARTS = 2


class AgentProcess:
    """The node's agent as a subprocess: samples the devices, watches the log, prints alerts.

    An agent that dies is started again once; the second death is final. Both are told to `on_gap`, with a
    sentence, and said in one line on stderr. OSError is raised if it cannot be started at all.

    In threads of their own, `on_alert` is called with the columns of each alert as it is raised, and
    `on_line` with each other line that the agent prints (by default they go to stderr); what they raise is
    counted by `guard` and said once. `simulate` is the preset of a simulated GPU to sample beside the real
    devices.
    """

    def __init__(
        self,
        run_dir: Path,
        hz: float,
        simulate: str | None,
        on_line: Callable[[str], None] | None,
        on_alert: Callable[[dict[str, Any]], None] | None = None,
        on_gap: Callable[[str], object] | None = None,
    ) -> None:
        self._command = [sys.executable, "-P", "-m", "thermograd.cli", "agent", str(run_dir.absolute())]
        self._command += ["--hz", str(hz), "--parent", str(os.getpid())]
        if simulate:
            self._command += ["--simulate", simulate]
        if on_alert is not None:
            self._command.append("--alerts-json")
        self._on_line, self._on_alert, self._on_gap = on_line, on_alert, on_gap
        self._owner = os.getpid()
        self._starts = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None
        self.guard = Guard("thermograd: what was to be called on an alert failed (%(error)r)")
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch, name="thermograd-agent", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """Process id of the agent that was started last."""
        return self._process.pid

    def _start(self) -> "subprocess.Popen[bytes]":
        self._starts += 1
        ours = self._on_line is not None or self._on_alert is not None
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if ours else sys.stderr.fileno() if _has_fileno(sys.stderr) else None,
            start_new_session=True,  # Ctrl-C in the terminal is for the training, not for the agent
            env=os.environ | FRUGAL,
        )
        if ours:
            self._reader = threading.Thread(target=self._read_lines, args=(process,), daemon=True)
            self._reader.start()
        return process

    def _read_lines(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for raw in process.stdout:
                with self.guard:  # a user's callable; must not end the reading
                    self._pass_on(raw.decode("utf-8", "replace").rstrip("\n"))

    def _pass_on(self, line: str) -> None:
        if self._on_alert is not None and (alert := _alert_of(line)) is not None:
            self._on_alert(alert)
        elif self._on_line is not None:
            self._on_line(line)
        else:
            sys.stderr.write(line + "\n")

    def _watch(self) -> None:
        """Wait for the agent's death; start it again once."""
        while True:
            code = self._process.wait()
            with self._lock:
                if self._stopping.is_set():
                    return
                again = self._starts < _MOST_STARTS and self._restart()
            if self._process.stdin is not None and not again:
                self._process.stdin.close()
            end = "it was started again" if again else "no device samples from here"
            self._tell(f"the agent ended early with exit code {code}; {end}")
            if not again:
                return

    def _restart(self) -> bool:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process = self._start()
        except OSError as error:
            _log.warning("thermograd could not start its agent again: %s", error)
            return False
        return True

    def _tell(self, text: str) -> None:
        _log.warning("thermograd: %s", text)
        with Guard("thermograd could not mark the gap: %(error)r"):  # the watcher has nobody to raise to
            if self._on_gap is not None:
                self._on_gap(text)

    def stop(self) -> None:
        """Tell the agent to finish (samples, alerts, sealing) and wait for it a while."""
        if os.getpid() != self._owner:  # a forked worker's copy: the agent is not its child
            return
        with self._lock:
            self._stopping.set()
            process = self._process
        try:  # by a word, since forked workers may keep our end of the pipe open
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.write(b"stop\n")
                process.stdin.close()
        except OSError as error:  # it has ended already
            _log.debug("thermograd's agent: %s", error)
        try:
            process.wait(_AGENT_END_S)
        except subprocess.TimeoutExpired:
            _log.warning("thermograd's agent is still busy; it goes on by itself (pid %d)", process.pid)
        if self._reader is not None:
            self._reader.join(timeout=2)


def _alert_of(line: str) -> dict[str, Any] | None:
    """Return the alert that a line of the agent is, or None for a line meant for a person."""
    try:
        value = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _has_fileno(stream: Any) -> bool:
    try:
        return isinstance(stream.fileno(), int)
    except (AttributeError, OSError, ValueError):  # notebooks and test runners replace stderr
        return False
