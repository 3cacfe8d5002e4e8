"""Telling where a training began again inside one log: step numbers that go back."""

from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.store.telling.quantities import duration_text

_MOST_TOLD = 20  # a log in which two sequences of numbers are interleaved goes back at every other step
_LONG_PAUSE_S = 60.0
_LONG_PAUSE_STEPS = 20.0
_REMEMBERED = 32


class Restart(NamedTuple):
    """A place in a log where the numbers of its steps go back."""

    last_step: int
    step: int
    pause_s: float

    @property
    def text(self) -> str:
        """One sentence for the `gap` mark."""
        if self.step == self.last_step:
            repeated = f"step {self.step} is"
        else:
            repeated = f"what it logs again of steps {self.step} to {self.last_step} is"
        where = f"at step {self.step}, {duration_text(self.pause_s)} after step {self.last_step}"
        return f"the training began again {where}: {repeated} there twice"

    @property
    def detail(self) -> dict[str, Any]:
        """What programs read of the mark."""
        return {"last_step": self.last_step, "again_from": self.step, "pause_s": round(self.pause_s, 3)}


class Restarts:
    """Follows the steps of one rank in the order in which they were made.

    A restart is a number that is lower than the last by two or more, or not above it after a long pause (a
    minute, and twenty times what a step takes): a number repeated at once, or two that changed places, is
    how some loops log. At most 20 are told.

    Examples
    --------
    >>> steps = Restarts()
    >>> [steps.follow(step, step * 10**9) for step in (138, 139, 140)]
    [None, None, None]
    >>> steps.follow(100, 620 * 10**9)
    Restart(last_step=140, step=100, pause_s=480.0)
    """

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._durations_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._told = 0

    def follow(self, step: int | None, time_ns: int) -> Restart | None:
        """Take the next step; return the restart that it is the first step of."""
        if step is None:
            return None
        before, self._last = self._last, (step, time_ns)
        if before is None or self._told >= _MOST_TOLD:
            return None
        last_step, last_ns = before
        pause_s = max(0, time_ns - last_ns) / 1e9  # a clock that was set back tells nothing
        if step > last_step or not (last_step - step > 1 or self._is_long(pause_s)):
            self._durations_s.append(pause_s)
            return None
        self._told += 1
        return Restart(last_step, step, pause_s)

    def _is_long(self, pause_s: float) -> bool:
        durations_s = sorted(self._durations_s)
        usual_s = durations_s[len(durations_s) // 2] if durations_s else 0.0
        return pause_s > max(_LONG_PAUSE_S, _LONG_PAUSE_STEPS * usual_s)


def last_step(run_dir: Path, rank: int) -> tuple[int, int] | None:
    """Return number and time of the last step that any process has logged for a rank, None without one."""
    import pyarrow.compute as pc  # a run that goes on after nothing needs no Arrow
    from thermograd.store.log.present.one_file import conform, read_segment
    from thermograd.store.log.present.snapshots import snapshot

    current = snapshot(run_dir, "step")
    newest = {segment.writer: segment for segment in current.sealed}  # in order of their first event
    tables = [*current.live.values(), *(conform(read_segment(s)[0], "step") for s in newest.values())]
    rows = [
        row
        for table in tables
        for row in table.filter(pc.field("rank") == rank).select(["time_ns", "step"]).to_pylist()[-1:]
    ]
    known = [(row["time_ns"], row["step"]) for row in rows if row["step"] is not None]
    return max(known)[::-1] if known else None
