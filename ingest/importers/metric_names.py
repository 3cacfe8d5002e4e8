"""What trainers call loss, gradient norm and learning rate, and one row a step out of such values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.ingest.importers.recording import Recording, of_no_use
from thermograd.ingest.importers.text_files import LeftOutError, measure, whole_number
from thermograd.ingest.importers.timezones import Moment

# In order of preference: where a log has several, the first is the step's own value.
_TAGS: dict[str, tuple[str, ...]] = {
    "loss": (
        *("train/loss", "train/loss_step", "train_loss_step", "loss", "train_loss", "training/loss"),
        *("training_loss", "loss/train"),
    ),
    "grad_norm": (
        *("train/grad_norm", "grad_norm", "train/gradient_norm", "gradient_norm", "training/grad_norm"),
        *("grad_norm/train", "train/global_grad_norm", "global_grad_norm"),
    ),
    "learning_rate": (
        *("train/learning_rate", "learning_rate", "train/lr", "lr", "training/learning_rate"),
        "training/lr",
    ),
    "epoch": ("train/epoch", "epoch", "training/epoch"),
}
_PREFERENCE = {tag: (column, rank) for column, tags in _TAGS.items() for rank, tag in enumerate(tags)}
_LIGHTNING_RATE = re.compile(r"lr-\w+")  # lr-AdamW, of Lightning's LearningRateMonitor
STEP_TAGS = ("train/global_step", "trainer/global_step", "global_step")
_SIGNALS = ("loss", "grad_norm", "learning_rate")
NO_SIGNAL = "evaluation or summary row (no loss, grad_norm or learning_rate)"


def step_values(entry: Any) -> dict[str, Any]:
    """Return the step and signals of a JSON entry; a non-finite one is kept: it is what happened."""
    if not isinstance(entry, dict):
        raise LeftOutError("torn row: an entry that is not an object")
    step = whole_number(entry.get("step"))
    if step is None:
        raise LeftOutError("torn row: step is not a whole number >= 0", entry.get("step"))
    return {"step": step} | {name: measure(name, entry.get(name)) for name in _TAGS}


def require_norm(values: Mapping[str, Any]) -> None:
    """Refuse a gradient norm that is none."""
    if (values.get("grad_norm") or 0.0) < 0.0:
        raise LeftOutError("grad_norm below 0", values["grad_norm"])


def known_column(tag: str) -> tuple[str, int] | None:
    """Return the column that a tag is about, and how much it is to be preferred (less is more)."""
    if _LIGHTNING_RATE.fullmatch(tag):
        return "learning_rate", len(_TAGS["learning_rate"])
    return _PREFERENCE.get(tag.lower())


class _Row(NamedTuple):
    path: Path
    line: int
    moment: Moment
    step: int
    values: dict[str, float]  # by tag


@dataclass
class StepRows:
    """Collects (step, tag, value) and merges them into one row a step.

    A step that logs the same signal again (after a restart from a checkpoint) begins another row: both
    happened.
    """

    recording: Recording
    unknown: set[str] = field(default_factory=set)
    _rows: list[_Row] = field(default_factory=list)
    _latest: dict[int, _Row] = field(default_factory=dict)
    _known: dict[str, tuple[str, int]] = field(default_factory=dict)

    def put(self, line: int, moment: Moment, step: int, values: dict[str, float]) -> None:
        """Add what was logged for a step at one time; unknown tags are remembered by name only."""
        known = {tag: column for tag in values if (column := known_column(tag))}
        self.unknown.update(values.keys() - known.keys())
        self._known |= known
        if not known:
            return
        row = self._latest.get(step)
        signals = {tag for tag, (column, _) in known.items() if column in _SIGNALS}
        if row is None or not signals.isdisjoint(row.values):
            row = self._latest[step] = _Row(self.recording.reading, line, moment, step, {})
            self._rows.append(row)
        row.values.update({tag: values[tag] for tag in known})

    def finish(self) -> None:
        """Choose one tag for each column and give the rows to the recording."""
        chosen: dict[str, str] = {}
        for tag, (column, _) in sorted(self._known.items(), key=lambda known: known[1][1]):
            chosen.setdefault(column, tag)
        others = self.unknown | (self._known.keys() - chosen.values())
        self.recording.ignored += of_no_use("name", others)
        for row in self._rows:
            self.recording.reading = row.path
            with self.recording.row(row.line, f"step {row.step}", count=0):
                self.recording.add(row.line, row.moment, _columns(row, chosen))


def _columns(row: _Row, chosen: dict[str, str]) -> dict[str, float | int | None]:
    values: dict[str, float | int | None] = {column: row.values.get(tag) for column, tag in chosen.items()}
    if all(values.get(name) is None for name in _SIGNALS):
        raise LeftOutError(NO_SIGNAL)
    require_norm(values)
    return {"step": row.step} | values
