"""What a training process writes of its run: marks, and the steps that a tap sees or a script logs."""

import itertools
import time
from collections.abc import Callable, Iterable
from operator import index
from pathlib import Path
from typing import Any, Literal

from thermograd.ingest.job.metrics import Metrics
from thermograd.ingest.job.rank import cuda_device
from thermograd.ingest.restarts import Restarts, last_step
from thermograd.store.events import COMMON, KINDS
from thermograd.store.failures import Guard, is_the_users, warn
from thermograd.store.log.fitting import fit
from thermograd.store.log.plain import plain_json, said
from thermograd.store.log.writer import EventWriter
from thermograd.store.secrets import hidden_values, without_secrets

# what a step's column takes as it is; a user's count may be too large, so it is always looked at
_EXACT = {
    column.name: {"float64": float, "bool": bool, "int64": int}.get(column.type)
    for column in (*COMMON, *KINDS["step"])
    if column.name != "tokens"
}


class Recorder:
    """Writes marks and steps to this process's file; where it has none (`writer` is None), nothing.

    A tap that is there because of `thermograd run`, not because the script asked for it, may see the steps
    of a script that logs them by hand. Where such a script holds the run, the tap's first step is therefore
    held back until the second: by then it has logged one, and the tap's steps end.
    """

    def __init__(self, writer: EventWriter | None, rank: int) -> None:
        self.writer, self._rank = writer, rank
        self._is_over, self._why_off = False, ""
        self.steps = 0
        self._counts: Literal["tap", "not clear", "tap so far", "hand"] = "tap"
        self._held: dict[str, Any] | None = None
        self._device: str | None = None
        self._numbers = itertools.count(1)  # counts in one step, also where a signal handler logs steps
        self._last_step_ns: int | None = None
        self.last_number: int | None = None
        self._restarts = Restarts()
        self.left_out = Guard("a value was left out: %(error)s", self._say_left_out)
        self.metrics = Metrics(self, rank)

    def mark(self, mark: Any, step: Any, text: Any, detail: dict[str, Any]) -> bool:
        """Write a mark; the detail becomes JSON. Return whether it is in the log."""
        if self.is_off():
            return False
        document = None
        if detail:
            document, missing = plain_json(detail, lambda plain: hidden_values(plain, []))
            if missing:
                what = f"the detail of the mark {said(mark)} has what JSON cannot hold"
                self.left_out.count(what, "mark detail", missing)
        mark, text = (without_secrets(told) if type(told) is str else told for told in (mark, text))
        row = self._fitted("mark", {"mark": mark, "step": step, "text": text})
        assert self.writer is not None
        return self.writer.append("mark", **row, detail=document) is not None

    @property
    def is_losing(self) -> bool:
        """Whether events cannot be written just now."""
        return self.writer is not None and self.writer.is_losing

    def log(self, values: Any, step: Any, tapped: int | None) -> None:
        """Write numbers by name, at a step that is given, or the last one: of the tap, or logged by hand."""
        if self.is_off():
            return
        if step is None:
            step = (tapped if self._counts != "hand" else None) or self.last_number
        else:
            given, step = step, _step_number(step)
            if step is None:
                what = f"step is {said(given)}; allowed: a whole number from 0"
                self.left_out.count(what, "metric step")
        self.metrics.log(values, step)

    def end(self) -> None:
        """Record nothing any more: the run has ended."""
        self._is_over = True
        self._why_off = "thermograd: the run has been closed; what is logged from here on is not recorded"

    def abandon(self) -> None:
        """Record nothing any more: in a forked child, whose parent goes on."""
        self.writer = None
        self._why_off = "thermograd records nothing in a forked process; the run is its parent's"

    def is_off(self) -> bool:
        """Whether nothing is recorded here; why not, where that may surprise, is said once."""
        if self.writer is not None and not self._is_over:
            return False
        why, self._why_off = self._why_off, ""
        if why:
            warn(why)
        return True

    def note(self, text: str, *, step: int | None = None, **detail: Any) -> None:
        """Write a `note` mark."""
        self.mark("note", step, text, detail)

    def _fitted(self, kind: str, row: dict[str, Any]) -> dict[str, Any]:
        """Return what of a row can be written; a value that its column cannot hold is counted instead."""
        exact = _EXACT if kind == "step" else {}
        fitted: dict[str, Any] = {}
        for name, value in row.items():
            if value is None:
                continue
            if type(value) is not exact.get(name):
                value, lost = fit(kind, name, value)
                if lost is not None:
                    self.left_out.count(lost, f"{kind} {name}")
                if value is None:
                    continue
            fitted[name] = value
        return fitted

    def _say_left_out(self, text: str) -> None:
        """Tell the first value of a column that is left out, in the log too: a crash may leave no account."""
        warn("thermograd: %s; training goes on", text)
        if self.writer is not None:
            self.writer.append("mark", mark="gap", text=without_secrets(text))

    def say_if_empty(self) -> None:
        """Warn, at the end, that the script has not said what its steps are."""
        if self.writer is not None and not (self.steps or self.metrics.names or self._rank):
            how = "call run.watch(optimizer) before the loop, or run.step(loss=...) in it"
            warn("thermograd: no step was logged: %s", how)

    def account(self) -> None:
        """Write what was still on its way, and mark what was left out of events, at the end."""
        self.metrics.collect(wait=True)
        if self.left_out.failures > len(self.left_out.counts):
            text = f"{self.left_out.failures} values were left out of events"
            self.mark("gap", None, text, {"values_left_out": self.left_out.counts})

    def begin(self, run_dir: Path, facts_left_out: int) -> None:
        """Count what is missing in ``run.json``; go on after the steps of an earlier process of this rank."""
        if facts_left_out:
            self.left_out.count("the facts have what JSON cannot hold", "facts", facts_left_out)
        ours = self.writer.writer if self.writer is not None else ""
        writers = (run_dir / "writers").glob(f"*-r{self._rank}-*.json")
        if any(path.stem != ours for path in writers):  # the job is restarted
            with Guard("thermograd cannot read how far an earlier process came: %(error)s"):
                if (last := last_step(run_dir, self._rank)) is not None:
                    self._restarts.follow(*last)

    # -- whose steps count ---------------------------------------------------------------------------

    def doubt_tap(self) -> None:
        """Let the tap's steps count only until a step is logged by hand: the script has not asked for it."""
        self._counts = "not clear"

    def believe_tap(self) -> None:
        """Hold no step back: no script holds the run yet that could log it by hand."""
        if self._counts == "not clear":
            self._counts = "tap so far"
            self.release()

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

    def take_over(self, stop_tap: Callable[[], object]) -> None:
        """Let only steps that are logged by hand count from here on, whoever has asked for the tap."""
        if self._counts == "hand":
            return
        is_doubtful = self.drop_tap()
        stop_tap()
        if not is_doubtful:  # what it has seen until now has been written
            self._counts = "hand"
            text = "steps are logged by hand from here on: those of what is watched are not recorded any more"
            warn("thermograd: %s", text)
            self.mark("gap", self.last_number, text, {})

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
        self._numbers = itertools.count((self.last_number or 0) + 1)

    def end_tap(self, failures: int, never_stepped: Iterable[str]) -> None:
        """Write the step that was held back, and say what the tap could not see."""
        self.release()
        if failures:
            self.mark("gap", None, f"{failures} readings of training steps failed", {})
        for name in never_stepped if self._counts != "hand" else ():
            text = f"{name} was watched and has not stepped: none of its steps is recorded"
            warn("thermograd: %s", text)
            self.mark("gap", None, text, {})

    def release(self) -> None:
        """Write the step that was held back."""
        held, self._held = self._held, None
        if held is not None:
            self._append(held)

    def by_hand(self, step: Any, step_time_s: Any, **values: Any) -> None:
        """Take a step that the script logs; number and time are counted where not given."""
        now_ns = time.monotonic_ns()
        last_ns, self._last_step_ns = self._last_step_ns, now_ns
        if step_time_s is None and last_ns is not None:
            step_time_s = (now_ns - last_ns) / 1e9
        values |= {"step": self._number(step), "rank": self._rank, "step_time_s": step_time_s}
        self._append({"monotonic_ns": now_ns} | values)

    def skip_time(self, duration_ns: int) -> None:
        """Take time out of the step under way that is not the training's, where the script logs its steps."""
        if self._last_step_ns is not None:
            self._last_step_ns += duration_ns

    def _number(self, given: Any) -> int | None:
        """Return a step's number: the given one, null where that is none, the next where none is given."""
        counted = next(self._numbers)
        if given is None:
            return counted
        number = _step_number(given)
        if number is None:
            self.left_out.count(f"step is {said(given)}; allowed: a whole number from 0", "step step")
        else:
            self._numbers = itertools.count(number + 1)
        return number

    def _append(self, row: dict[str, Any]) -> None:
        if self.is_off():
            return
        if self._device is None and (device := cuda_device()) is not None:
            self._device = device
            self.note(f"rank {self._rank} computes on {device}", rank=self._rank, device=device)
        row = self._fitted("step", row)
        step = row.get("step")
        restart = self._restarts.follow(step, row.setdefault("time_ns", time.time_ns()))
        if restart is not None:
            self.mark("gap", step, restart.text, restart.detail)
        assert self.writer is not None
        self.writer.append("step", **row)
        self.steps += 1
        self.last_number = step
        if self.metrics.is_waiting:
            self.metrics.collect()


def _step_number(value: Any) -> int | None:
    """Return a number of steps, also of numpy or torch; None for what is none."""
    try:
        number = int(index(value))
    except Exception as error:  # a value may raise anything; a tensor of several does
        if is_the_users(error):
            raise
        return None
    return number if 0 <= number < 2**63 else None
