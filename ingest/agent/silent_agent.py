"""The silence of the agent itself, told by the training that has started it: nobody else on the node can.

A thread looks once a second whether the agent's process is stopped. Of one that is, or is gone for good, the
training writes mark and alert; of one that is started again the mark, of which the new agent makes the alert.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from thermograd.store.failures import Guard, warn
from thermograd.store.log.writer import EventWriter
from thermograd.store.telling.quantities import moment_text

_LOOK_S = 1.0
_LOOKS = 2
_DEFINITION = f"silent.agent/1(look_s={_LOOK_S!r},looks={_LOOKS!r})"

Process = subprocess.Popen[bytes]


class AgentSilence:
    """Writes to the training's log that its agent is silent; `on_alert` hears of each alert that is written.

    `writer` is the training's. Nothing here raises; what fails is said once.
    """

    def __init__(
        self, writer: EventWriter, on_alert: Callable[[dict[str, Any]], object] | None = None
    ) -> None:
        self._writer, self._on_alert = writer, on_alert
        self._pid, self._seen_ns = 0, time.time_ns()
        self._onset_ns: int | None = None
        self._guard = Guard("thermograd could not look after its agent: %(error)r")

    def follow(self, process: Callable[[], Process], stopping: threading.Event) -> None:
        """Look at the agent's process, in a thread, until `stopping` is set."""
        self._pid = process().pid
        threading.Thread(
            target=self._guard(self._follow), args=(process, stopping), name="thermograd-look", daemon=True
        ).start()

    def ended(self, text: str, lasts: bool) -> None:
        """Write that the agent is gone; with the alert, where no other agent will find it in the log."""
        onset_ns, self._onset_ns = self._onset_ns or self._seen_ns, None
        self._tell(text, "critical" if lasts else "warning", onset_ns, with_alert=lasts)
        if not lasts:
            self._end(onset_ns)

    def _follow(self, process: Callable[[], Process], stopping: threading.Event) -> None:
        looks, last_s = 0, time.monotonic()
        while not stopping.wait(_LOOK_S):
            is_awake = time.monotonic() - last_s < 2 * _LOOK_S
            last_s = time.monotonic()
            self._pid = process().pid
            if not is_stopped(self._pid):
                looks, self._seen_ns = 0, time.time_ns()
                self._is_back()
                continue
            looks = looks + 1 if is_awake else 1
            if looks == _LOOKS:
                text = (
                    "the agent is stopped (SIGSTOP, or a scheduler): no device samples, no alerts; "
                    f"kill -CONT {self._pid} lets it go on"
                )
                warn("thermograd: %s", text)
                self._onset_ns = self._seen_ns
                self._tell(text, "warning", self._onset_ns, with_alert=True)

    def _is_back(self) -> None:
        onset_ns, self._onset_ns = self._onset_ns, None
        if onset_ns is not None:
            warn("thermograd: the agent goes on")
            self._end(onset_ns)

    def _tell(self, text: str, severity: Any, onset_ns: int, with_alert: bool) -> None:
        from thermograd.store.telling.silences import (  # takes milliseconds of a start
            Silence,
            silence_alert,
            silence_of,
        )

        silence = Silence("silent.agent", severity, onset_ns, _DEFINITION, writers=self._writers())
        text = f"{text}; it ran last at {moment_text(onset_ns, with_date=False)}"
        mark = silence.mark(text) | {"time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        if with_alert and (told := silence_of(mark)) is not None:
            alert = silence_alert(mark, told)
            self._writer.append("alert", **alert)  # before the mark: who finds that knows of this
            if self._on_alert is not None:
                self._on_alert(alert)
        self._writer.append("mark", **mark)

    def _writers(self) -> tuple[str, ...]:
        """Return the agent's name in the log: the gap in its samples is then told."""
        paths = (self._writer.run_dir / "writers").glob(f"*-agent-{self._pid}-*.json")
        return tuple(sorted(path.stem for path in paths))

    def _end(self, onset_ns: int) -> None:
        from thermograd.store.telling.episodes import ended_mark

        at = {"time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self._writer.append("mark", **ended_mark(at, "silent.agent", None, onset_ns, at["time_ns"]))


def is_stopped(pid: int) -> bool:
    """Return whether a process is stopped, or held by a debugger."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))
    except psutil.Error:
        return False
