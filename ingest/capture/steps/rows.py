"""Rows of steps on their way to the log: in order, each when its values have come from the device."""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from thermograd.ingest.capture.by_hand import AFTER, BEFORE, Comparison, Constant, HandChanges
from thermograd.ingest.capture.gradients import combine
from thermograd.ingest.capture.layer_norms import LayerNorms, LayerReading
from thermograd.ingest.capture.readback import Readback
from thermograd.ingest.capture.steps.iteration import Iteration

_PARTS_EVERY, _MOST_PARTS = 1000, 10  # steps, and notes a run
_MOST_UNDECIDED = 4  # rows that wait until it is clear which norm counts
_NO_RATIOS = {"low": 1.0, "high": 0.0, "mean": 1.0}  # where there was nothing to compare


class _Row(NamedTuple):
    """A step whose values are on their way."""

    values: dict[str, Any]
    readback: Readback
    layers: list[LayerReading]
    changes: HandChanges | None
    parts: tuple[list[dict[str, Any]], Readback] | None

    def is_there(self) -> bool:
        if not self.readback.ready() or (self.parts is not None and not self.parts[1].ready()):
            return False
        return not self.layers or all(layers.ready() for layers in self.layers)


class Rows:
    """Numbers the steps and hands them to `emit`; `note` takes, once, what readers of them must know.

    Attributes
    ----------
    on_step
        Called with the number of each step that has ended, while its values may still be on their way.
    """

    on_step: Callable[[int | None], object] | None = None

    def __init__(
        self, emit: Callable[..., object], note: Callable[..., object], rank: int, layers: LayerNorms | None
    ) -> None:
        self._emit, self._note, self._rank, self._layers = emit, note, rank, layers
        self._queue: deque[_Row] = deque()
        self._held: _Row | None = None
        self._said: set[str] = set()
        self._constant = Constant()
        self._last_optimizer: int | None = None
        self.steps = 0
        self.epoch: float | None = None
        self.made = 0

    @property
    def is_holding(self) -> bool:
        """Whether a row waits for a callback that ends its step."""
        return self._held is not None

    @property
    def latest(self) -> int:
        """Number of the last step, also while its values are on their way."""
        number = self.steps
        for row in list(self._queue):
            if not row.values["is_measured_only"]:
                number = row.values["step"] if row.values["step"] is not None else number + 1
        return number

    def add(self, iteration: Iteration, is_held: bool) -> None:
        """Take an iteration; one that is held waits for `release`."""
        self._say_of(iteration)
        self.made += 1
        values = iteration.row()
        is_regular = self.made == 1 or self.made % _PARTS_EVERY == 0
        is_told = is_regular and self.made <= _PARTS_EVERY * _MOST_PARTS
        row = _Row(
            values,
            values.pop("readback"),
            values.pop("layers"),
            values.pop("changes"),
            iteration.parts_readback() if is_told else None,
        )
        if is_held:
            self._held = row
            return
        is_step = not values["is_measured_only"]
        self._deliver(row, None, self.epoch)
        if self.on_step is not None and is_step:
            self.on_step(self.latest)

    def release(self, step: int | None, epoch: float | None) -> None:
        """Let go of the row that is held."""
        row, self._held = self._held, None
        if row is not None:
            self._deliver(row, step, epoch)
            if self.on_step is not None:
                self.on_step(step if step is not None else self.latest)

    def _deliver(self, row: _Row, step: int | None, epoch: float | None) -> None:
        row.values.update(step=step, rank=self._rank, epoch=epoch)
        self._queue.append(row)
        self.drain(wait=False)

    def drain(self, wait: bool) -> None:
        """Emit the rows whose values are there, or, where it may `wait`, all."""
        while self._queue:
            row = self._queue[0]
            if not wait and not row.is_there():
                return
            comparison = _comparison(row)
            if comparison is not None and row.changes is not None and not row.changes.judge(comparison):
                self._look_ahead()
                if row.changes.is_open and not wait and len(self._queue) < _MOST_UNDECIDED:
                    return
                row.changes.give_up()
            self._queue.popleft()
            self._finish(row, comparison)

    def _look_ahead(self) -> None:
        """Judge rows that have come after one that cannot be judged by itself."""
        for row in list(islice(self._queue, 1, None)):
            if row.is_there() and row.changes is self._queue[0].changes and row.changes is not None:
                comparison = _comparison(row)
                if comparison is not None and row.changes.judge(comparison):
                    return

    def _finish(self, row: _Row, comparison: Comparison | None) -> None:
        values, read = row.values, row.readback.values()
        verdict = row.changes.verdict if row.changes is not None else None
        values["grad_norm"] = _norm(read, "before" if comparison and verdict == BEFORE else "norm")
        values["loss"] = read.get("loss")
        values["learning_rate"] = read.get("rate", values["learning_rate"])
        values["skipped"] = values["skipped"] or read.get("inf", 0.0) > 0
        is_replaced = row.changes is not None and row.changes.is_replaced
        if values.pop("was_dropped") and is_replaced:
            values["loss"] = None  # gradients of several passes were put together: of which loss is not known
        values.pop("is_gone")
        if values.pop("is_measured_only") and _is_finite(values["grad_norm"]):
            return  # a look at gradients that nobody stepped on
        self.steps = values["step"] = values["step"] if values["step"] is not None else self.steps + 1
        self._emit(**values)
        self._tell(row, verdict)

    # -- what readers must know ----------------------------------------------------------------------

    def _tell(self, row: _Row, verdict: str | None) -> None:
        step = row.values["step"]
        if verdict is not None:
            self._say(verdict, step=step, grad_norm="before" if verdict != AFTER else "after")
        constant = self._constant.follow(row.values["grad_norm"], row.values["loss"])
        if constant is not None:
            where = "the gradients are clipped where this cannot be seen, and the norm is not of before that"
            self._say(f"grad_norm sits on {constant:.6g}: {where}", "constant", step=step)
        if row.parts is not None:
            self._tell_parts(step, *row.parts)
        if self._layers is not None:
            self._layers.judge(row.values, row.layers)

    def _tell_parts(self, step: int, facts: list[dict[str, Any]], readback: Readback) -> None:
        norms = readback.values()
        parts = [{**fact, "grad_norm": norms.get(str(i))} for i, fact in enumerate(facts)]
        names = ", ".join(f"{part['optimizer']} {part['grad_norm']:.6g}" for part in parts)
        self._note(f"grad_norm by optimizer: {names}", step=step, parts=parts)

    def _say_of(self, iteration: Iteration) -> None:
        if iteration.is_shard:
            whole = "the whole is the root of the sum of the ranks' squares"
            text = f"grad_norm covers this rank's shard: {whole}"
            self._say(text, grad_norm="shard", rank=self._rank)
        parts = iteration.parts
        if len(parts) > 1:
            self._say("several optimizers make one step: grad_norm is of all", "several")
        elif self._is_another(parts[0].optimizer()):
            self._say("several optimizers step in turn; run.watch(optimizer) picks one", "several")

    def _is_another(self, optimizer: Any) -> bool:
        """Whether another optimizer has stepped than before."""
        before, self._last_optimizer = self._last_optimizer, optimizer and id(optimizer)
        return before != self._last_optimizer and None not in (before, self._last_optimizer)

    def _say(self, text: str, key: str = "", **detail: Any) -> None:
        if (key or text) not in self._said:
            self._said.add(key or text)
            self._note(text, **detail)


def _norm(read: dict[str, float], name: str) -> float | None:
    if (first := read.get(f"{name}0")) is None:
        return None
    parts = [value for key, value in read.items() if key.rstrip("0123456789") == name]
    return combine(parts) if len(parts) > 1 else first


def _comparison(row: _Row) -> Comparison | None:
    """Return what the two norms of a row are, where there are two."""
    read = row.readback.values()
    if "before0" not in read:
        return None
    before, seen = _norm(read, "before"), _norm(read, "norm")
    if before is None or seen is None:
        return None
    low, high, mean = (read.get(name, value) for name, value in _NO_RATIOS.items())
    return Comparison(before, seen, low, high, mean, row.values["is_gone"])


def _is_finite(value: float | None) -> bool:
    return value is not None and abs(value) < float("inf")
