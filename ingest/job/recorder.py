"""What a training process writes of its run: marks, and the steps that a tap sees or a script logs."""

import json
import operator
import time
from pathlib import Path
from typing import Any, Literal

from thermograd.ingest.job.rank import cuda_device
from thermograd.ingest.restarts import Restarts, last_step
from thermograd.store.log.writer import EventWriter


class Recorder:
    """Writes marks and steps to this process's file; where it has none (`writer` is None), nothing.

    A tap that is there because of `thermograd run`, not because the script asked for it, may see the steps
    of a script that logs them by hand. Its first step is therefore held back until the second: by then such
    a script has logged one, and the tap's steps end.
    """

    def __init__(self, writer: EventWriter | None, rank: int) -> None:
        self.writer, self._rank = writer, rank
        self._counts: Literal["tap", "not clear", "tap so far", "hand"] = "tap"
        self._held: dict[str, Any] | None = None
        self._device: str | None = None
        self._steps = 0
        self._last_step_ns: int | None = None
        self._restarts = Restarts()

    def mark(self, mark: str, step: int | None = None, text: str | None = None, **detail: Any) -> None:
        """Write a mark; the detail becomes JSON."""
        if self.writer is not None:
            extra = json.dumps(detail, default=str) if detail else None
            self.writer.append("mark", mark=mark, step=step, text=text, detail=extra)

    def note(self, text: str, *, step: int | None = None, **detail: Any) -> None:
        """Write a `note` mark."""
        self.mark("note", step, text, **detail)

    def continue_after(self, run_dir: Path) -> None:
        """Go on after the last step that an earlier process of this rank left, where a job is restarted."""
        last = last_step(run_dir, self._rank)
        if last is not None:
            self._restarts.follow(*last)

    # -- whose steps count ---------------------------------------------------------------------------

    def doubt_tap(self) -> None:
        """Let the tap's steps count only until a step is logged by hand: the script has not asked for it."""
        self._counts = "not clear"

    def trust_tap(self) -> None:
        """Let the tap's steps count for good: the script has asked for it."""
        if self._counts != "hand":
            self._counts = "tap"

    def drop_tap(self) -> bool:
        """Return whether a step logged by hand ends the tap's steps here."""
        if self._counts not in ("not clear", "tap so far"):
            return False
        self._counts, self._held = "hand", None
        return True

    def tapped(self, **row: Any) -> None:
        """Take a step that the tap has seen."""
        if self._counts == "hand":
            return
        if self._counts == "not clear":
            if self._held is None:
                self._held = row
                return
            self._counts = "tap so far"
        self.release()
        self._append(row)

    def release(self) -> None:
        """Write the step that was held back."""
        held, self._held = self._held, None
        if held is not None:
            self._append(held)

    def by_hand(self, step: Any, step_time_s: float | None, **values: Any) -> None:
        """Take a step that the script logs; number and time are counted where not given."""
        now_ns = time.monotonic_ns()
        last_ns, self._last_step_ns = self._last_step_ns, now_ns
        number = self._steps + 1 if step is None else _step_number(step)
        if number is None:
            if self.writer is not None:
                self.writer.count_lost("step", f"step is {step!r}; allowed: a whole number from 0")
            return
        self._steps = number
        if step_time_s is None and last_ns is not None:
            step_time_s = (now_ns - last_ns) / 1e9
        values |= {"step": number, "rank": self._rank, "step_time_s": step_time_s}
        self._append({"monotonic_ns": now_ns} | values)

    def _append(self, row: dict[str, Any]) -> None:
        if self._device is None and (device := cuda_device()) is not None:
            self._device = device
            self.note(f"rank {self._rank} computes on {device}", rank=self._rank, device=device)
        if self.writer is None:
            return
        restart = self._restarts.follow(row["step"], row.setdefault("time_ns", time.time_ns()))
        if restart is not None:
            self.mark("gap", row["step"], restart.text, **restart.detail)
        self.writer.append("step", **row)


def _step_number(value: Any) -> int | None:
    """Return a number of steps, also of numpy or torch; None for what is none."""
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # the last two: a tensor of several
        return None
    return number if 0 <= number < 2**63 else None
