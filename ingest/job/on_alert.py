"""What happens when the agent raises an alert: a callable of the user's, or a checkpoint.

Alerts arrive in a thread, on the process that holds the node's agent. A checkpoint must be written by
all processes of a job at the same step, for it may communicate: so the process that hears the alert
puts the step to save at into the job's store, far enough ahead that all have read it by then.
"""

import threading
from collections.abc import Callable
from typing import Any

from thermograd.store.failures import Guard, warn

_AHEAD_STEPS = 3  # gradients are reduced at every step: no process is two steps ahead of another
_LEAST_STEPS = 100  # between two checkpoints, so that a storm of alerts cannot fill the disk


class AlertTasks:
    """Calls everyone who wants to hear of alerts; what one raises, the guard keeps."""

    def __init__(self) -> None:
        self._tasks: list[Callable[[dict[str, Any]], object]] = []
        # what is called runs in a thread of ours, where an exit ends nothing but the hearing of alerts
        self.guard = Guard(
            "thermograd: what was to be called on an alert failed (%(error)r)", keeps=BaseException
        )

    def add(self, task: Callable[[dict[str, Any]], object]) -> None:
        """Let a callable hear of every alert from here on."""
        self._tasks.append(task)

    def __call__(self, alert: dict[str, Any]) -> None:
        """Tell everyone."""
        for task in list(self._tasks):
            with self.guard:  # a user's callable must not silence the next alerts
                task(dict(alert))

    def account(self) -> None:
        """Tell how often those failed of whom the first failure has been told."""
        if (failures := self.guard.failures) > 1:
            warn("thermograd: what was to be called on an alert failed %d times in all", failures)


class CheckpointRequest:
    """Asks for a checkpoint at a step that all processes of the job agree on.

    `store` is a key-value store of `torch.distributed` that all processes reach; None in a job of one.
    """

    def __init__(self, store: Any = None) -> None:
        self._store = store
        self._asked = threading.Event()
        self._why = ""
        self._at: int | None = None
        self._saved_at: int | None = None
        self._count = 0
        self._guard = Guard("thermograd cannot agree on checkpoints with the other processes (%(error)s)")

    def hear(self, alert: dict[str, Any]) -> None:
        """Take an alert (in any thread); one that only informs asks for nothing."""
        if alert.get("severity") != "info":
            self._why = str(alert.get("alert"))
            self._asked.set()

    def due(self, step: int) -> str | None:
        """Return, at the end of a step, why a checkpoint is to be written now; None where it is not."""
        recent = self._saved_at is not None and step - self._saved_at < _LEAST_STEPS
        if self._guard.failures or recent:
            self._asked.clear()
            return None
        if not (self._asked.is_set() if self._store is None else self._agreed(step)):
            return None
        self._asked.clear()
        self._saved_at, self._at = step, None
        self._count += 1
        return self._why or "an alert on another process"

    def _agreed(self, step: int) -> bool:
        key = f"thermograd/checkpoint/{self._count}"
        with self._guard:  # without agreement nobody may save: training goes on without
            if self._at is None and self._asked.is_set():
                self._at = int(self._store.compare_set(key, "", str(step + _AHEAD_STEPS)))
            elif self._at is None and self._store.check([key]):
                self._at = int(self._store.get(key))
        return self._at is not None and step >= self._at
