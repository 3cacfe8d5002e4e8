"""The agent as the training process holds it: started, watched, restarted once, told to finish.

All of it happens in threads of its own: the training thread starts the first agent and never waits for
anything again until `AgentProcess.stop`.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.ingest.agent.footprint import FRUGAL
from thermograd.ingest.agent.silent_agent import AgentSilence, is_stopped
from thermograd.store.failures import Guard, warn

_log = logging.getLogger("thermograd")
_AGENT_END_S = 10.0
_HELD_S = 1.0  # of that, for one that a debugger holds
_LAST_LINES_S = 2.0  # for what an agent that has ended has printed
_MOST_STARTS = 2
_BUSY = "thermograd's agent is still busy; it goes on by itself (pid %d)"
_STOPPED = "thermograd's agent is stopped, or held by a debugger: kill -CONT %d lets it end the run"


class AgentProcess:
    """The node's agent as a subprocess: samples the devices, watches the log, prints alerts.

    An agent that dies is started again once, in the directory and with the environment of the first,
    whatever the training has changed since; the second death is final. Both are told to `on_gap`, with a
    sentence, and said in one line on stderr. OSError is raised if it cannot be started at all.

    In threads of their own, `on_alert` is called with the columns of each alert as it is raised, and
    `on_line` with each other line that the agent prints (by default they go to stderr); what they raise is
    counted by `guard` and said once. `simulate` is the preset of a simulated GPU to sample beside the real
    devices. With `card` the agent ends with the run's card, on stderr. `silence`, where given, is told of a
    death instead of `on_gap`, and of an agent that is stopped.
    """

    def __init__(
        self,
        run_dir: Path,
        hz: float,
        simulate: str | None,
        on_line: Callable[[str], None] | None,
        on_alert: Callable[[dict[str, Any]], None] | None = None,
        on_gap: Callable[[str], object] | None = None,
        card: bool = False,
        silence: AgentSilence | None = None,
    ) -> None:
        told = {
            "run_dir": str(run_dir.absolute()),
            "hz": hz,
            "parent": os.getpid(),
            "simulate": simulate,
            "alerts_json": on_alert is not None,
            "card": card,
        }
        self._command = [sys.executable, "-P", "-m", "thermograd.commands.agent", "agent", json.dumps(told)]
        self._on_line, self._on_alert, self._on_gap = on_line, on_alert, on_gap
        self._owner = os.getpid()
        self._directory = _working_directory()
        self._environment = os.environ | FRUGAL
        self._silence = silence
        self._starts = 0
        self._stopping = threading.Event()
        self._waits_until_s: float | None = None
        self._reader: threading.Thread | None = None
        # an exit of what is called would end the reading, and the agent would wait for a reader
        self.guard = Guard(
            "thermograd: what was to be called on an alert failed (%(error)r)", keeps=BaseException
        )
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch, name="thermograd-agent", daemon=True)
        self._watcher.start()
        if silence is not None:
            silence.follow(lambda: self._process, self._stopping)

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
            stdout=subprocess.PIPE if ours else _number_of(sys.stderr),
            start_new_session=True,  # Ctrl-C in the terminal is for the training, not for the agent
            cwd=self._directory if self._directory is not None and self._directory.is_dir() else None,
            env=self._environment,
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
        told = _object_of(line)
        if told is not None and "card" in told:
            _show(told["card"])
        elif told is not None and "shown" in told:  # by the agent, while we were stopped
            if self._on_line is not None:
                self._on_line(str(told["shown"]))
        elif told is not None and self._on_alert is not None:
            self._on_alert(told)
        elif self._on_line is not None:
            self._on_line(line)
        else:
            _show([line])

    def _watch(self) -> None:
        """Wait for the agent's death; start it again once."""
        while True:
            code = self._process.wait()
            if self._stopping.is_set():
                return
            _close(self._process)
            again = self._starts < _MOST_STARTS and self._restart()
            if self._stopping.is_set():  # `stop` may have met the one that had died
                _end(self._process)
                if again:
                    self._process.wait()
                return
            end = "it was started again" if again else "no device samples from here"
            self._tell(f"the agent ended early with exit code {code}; {end}", lasts=not again)
            if not again:
                return

    def _restart(self) -> bool:
        try:
            self._process = self._start()
        except Exception as error:  # noqa: BLE001 - no process, no thread, no memory: the training goes on without
            warn("thermograd could not start its agent again: %s", error)
            return False
        return True

    def _tell(self, text: str, lasts: bool) -> None:
        warn("thermograd: %s", text)
        with Guard("thermograd could not mark the gap: %(error)r"):  # the watcher has nobody to raise to
            if self._silence is not None:
                self._silence.ended(text, lasts)
            elif self._on_gap is not None:
                self._on_gap(text)

    def stop(self) -> None:
        """Tell the agent to finish (samples, alerts, sealing) and wait for it a while.

        Repeatable: it waits once, and no longer where Ctrl-C has ended that.
        """
        if os.getpid() != self._owner:  # a forked worker's copy: the agent is not its child
            return
        self._stopping.set()
        process = self._process
        _end(process)
        _let_go_on(process)
        try:
            self._wait(process)
        except BaseException:  # Ctrl-C ends the waiting, and is passed on
            self._waits_until_s = 0.0
            raise

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        if self._waits_until_s is None:
            waits_s = _HELD_S if is_stopped(process.pid) else _AGENT_END_S + _ship_wait_s()
            self._waits_until_s = time.monotonic() + waits_s
        if not self._has_ended(process, max(0.0, self._waits_until_s - time.monotonic())):
            warn(_STOPPED if is_stopped(process.pid) else _BUSY, process.pid)
        elif self._reader not in (None, threading.current_thread()):  # a listener may close the run
            self._reader.join(_LAST_LINES_S)

    def _has_ended(self, process: "subprocess.Popen[bytes]", within_s: float) -> bool:
        """Wait for the agent, or for the one that is just being started in place of one that died."""
        if threading.current_thread() is not self._watcher:
            self._watcher.join(within_s)
            return not self._watcher.is_alive()
        with suppress(subprocess.TimeoutExpired):  # told of a gap, a listener closes the run
            process.wait(within_s)
        return process.returncode is not None


def _show(lines: list[str]) -> None:
    if sys.stderr is not None:
        sys.stderr.write("\n".join(lines) + "\n")


def _object_of(line: str) -> dict[str, Any] | None:
    """Return the alert, or the card, that a line of the agent is; None for a line meant for a person."""
    try:
        value = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Tell an agent to end, by a word: forked workers may keep our end of the pipe open."""
    try:
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.write(b"stop\n")
            process.stdin.close()
    except (OSError, ValueError) as error:  # it has ended already, or been told
        _log.debug("thermograd's agent: %s", error)


def _let_go_on(process: "subprocess.Popen[bytes]") -> None:
    """Let an agent that somebody has stopped go on: it could not end the run, and we would wait for it."""
    if hasattr(signal, "SIGCONT"):
        process.send_signal(signal.SIGCONT)


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it is gone
        return None


def _ship_wait_s() -> float:
    """Return how long the exit may wait for the shipping; without that setting it does not."""
    if not os.environ.get("THERMOGRAD_SHIP_WAIT_S"):
        return 0.0
    from thermograd.store.shipping.pace import exit_wait_s

    return exit_wait_s()


def _number_of(stream: Any) -> int | None:
    """Return a stream's file descriptor; None where it has none that is open."""
    try:
        number = int(stream.fileno())
        os.fstat(number)
    except (AttributeError, OSError, TypeError, ValueError):  # notebooks and test runners replace stderr
        return None
    return number
