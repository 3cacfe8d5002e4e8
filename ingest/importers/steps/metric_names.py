"""What trainers call step, loss, gradient norm and learning rate: which of a log's names is taken."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thermograd.ingest.importers.hints.units import COLUMNS
from thermograd.ingest.importers.recording import Recording, listed_names
from thermograd.ingest.importers.text_files import LeftOutError, whole_number
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.errors import ImportFormatError

# In order of preference: where a log has several equally often, the first is the step's own value. In lower
# case, with _ for - and blanks.
_TAGS: dict[str, tuple[str, ...]] = {
    "loss": (
        *("train/loss", "train/loss_step", "train_loss_step", "loss", "train_loss", "training/loss"),
        *("training_loss", "loss/train", "lm_loss", "train/total_loss", "total_loss"),
        *("loss_metrics/global_avg_loss", "train/crossentropyloss"),
    ),
    "grad_norm": (
        *("train/grad_norm", "grad_norm", "train/gradient_norm", "gradient_norm", "training/grad_norm"),
        *("grad_norm/train", "train/global_grad_norm", "global_grad_norm", "total_grad_norm"),
        *("train/total_grad_norm", "optim/total_grad_norm", "optim/grad_norm", "grad_norm/total", "gradnorm"),
    ),
    "learning_rate": (
        *("train/learning_rate", "learning_rate", "train/lr", "lr", "training/learning_rate"),
        *("training/lr", "optim/learning_rate_group0", "optim/lr", "lr/pg0", "x/lr0"),
    ),
    "epoch": ("train/epoch", "epoch", "training/epoch"),
}
_PREFERENCE = {tag: (column, rank) for column, tags in _TAGS.items() for rank, tag in enumerate(tags)}
_PATTERNS = (  # names that Lightning makes: of LearningRateMonitor, and of its norms
    ("learning_rate", re.compile(r"lr-\w+(-\d+)?(/[\w.]+)?", re.I)),
    ("grad_norm", re.compile(r"grad_\d+(\.\d+)?_norm(_|/)total", re.I)),
)
STEP_TAGS = (
    *(
        "train/global_step",
        "trainer/global_step",
        "global_step",
        "train/step",
        "train_step",
        "iteration",
        "iter",
    ),
    *("iter_num", "train/iter", "train/iteration", "step", "optimizer_step", "num_updates", "update"),
)
_OWN = {name: name for name in COLUMNS["step"] if name != "step" and name not in _TAGS}
_OWN |= {"global_rank": "rank"}
_SIGNALS = ("loss", "grad_norm", "learning_rate")
_NAMES = ("step", *_TAGS)
_ENOUGH = 0.9  # of the rows of the most frequent name: a last one may be missing
NO_SIGNAL = "a row without a number or text"


class ColumnNames:
    """Which of a log's names are about which column, and the one that is taken for each.

    `own_names`: a column that has the name of one of ours is it, as in a table that somebody made for us.
    """

    def __init__(self, named: Sequence[tuple[str, str]], own_names: bool = False) -> None:
        self._named = {name: tag for name, tag in named if name in COLUMNS["step"]}
        own = {tag: (name, 0) for tag, name in _OWN.items() if own_names and name not in self._named}
        self._by_tag = own | {tag: (column, -1) for column, tag in self._named.items()}

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """The columns of steps whose names a person says, with those."""
        return tuple(self._named.items())

    def column_of(self, tag: str) -> tuple[str, int] | None:
        """Return the column that a tag is about, and how much it is to be preferred (less is more)."""
        if tag in self._by_tag:
            return self._by_tag[tag]
        known = _known(tag)
        return known if known is not None and known[0] not in self._named else None

    def step_tags(self, otherwise: str) -> tuple[str, ...]:
        """Return the names of the step, in order of preference."""
        return (self._named["step"],) if "step" in self._named else (*STEP_TAGS, otherwise)

    def chosen(self, rows: Counter[str]) -> dict[str, str]:
        """Return the tag of each column: of those that are about as frequent as any, the preferred one."""
        tags: dict[str, list[tuple[int, str]]] = {}
        for tag in rows:
            if column := self.column_of(tag):
                tags.setdefault(column[0], []).append((column[1], tag))
        return {column: _most_frequent(sorted(found), rows) for column, found in tags.items()}

    def require(self, recording: Recording, names: Collection[str]) -> None:
        """Refuse a tag that a person named and the log has not."""
        for column, tag in self._named.items():
            if tag not in names:
                raise ImportFormatError(
                    f"{recording.path}: --column {column}={tag}, but this step log has no {tag}; allowed is "
                    f"one of: {listed_names(names, most=40) or '(it has none)'}"
                )


@lru_cache(maxsize=4096)  # asked of every value
def _known(tag: str) -> tuple[str, int] | None:
    return _PREFERENCE.get(re.sub("[- ]", "_", tag.lower())) or _by_pattern(tag)


def _most_frequent(ranked: list[tuple[int, str]], rows: Counter[str]) -> str:
    most = max(rows[tag] for _, tag in ranked)
    return next(tag for _, tag in ranked if rows[tag] >= _ENOUGH * most)


def _by_pattern(tag: str) -> tuple[str, int] | None:
    return next(
        ((column, len(_TAGS[column])) for column, pattern in _PATTERNS if pattern.fullmatch(tag)), None
    )


class EntryReader:
    """Reads the steps and signals of JSON entries."""

    def __init__(
        self, recording: Recording, named: Sequence[tuple[str, str]], aside: Collection[str] = ()
    ) -> None:
        self._recording = recording
        self._aside = frozenset(aside)  # names that are no values: clocks, counters of entries
        self._seen: set[str] = set()
        own = {name: tag for name, tag in named if name in COLUMNS["step"]}
        self._keys = {name: name for name in _NAMES} | own
        self._names = ColumnNames(named)

    def values(self, entry: Any) -> dict[str, Any]:
        """Return the step and signals of an entry; a non-finite one is kept: it is what happened."""
        if not isinstance(entry, dict):
            raise LeftOutError("torn row: an entry that is not an object")
        self._seen.update(entry)
        self._recording.sources |= {name: key for name, key in self._keys.items() if key in entry}
        step = whole_number(entry.get(self._keys["step"]))
        if step is None:
            raise LeftOutError("torn row: step is not a whole number >= 0", entry.get(self._keys["step"]))
        return {"step": step} | {
            name: self._recording.value(name, entry.get(key))
            for name, key in self._keys.items()
            if name != "step"
        }

    def give(self, number: int, moment: Moment, values: dict[str, Any], entry: dict[str, Any]) -> None:
        """Keep an entry's step, where its loss or norm is known, and what else it has by name as metrics."""
        is_step = values["loss"] is not None or values["grad_norm"] is not None
        if is_step:
            self._recording.add(number, moment, values)
        others = self.others(entry, is_step)
        if not self._recording.add_metrics(number, moment, values["step"], others) and not is_step:
            raise LeftOutError(NO_SIGNAL)

    def others(self, entry: dict[str, Any], is_step: bool) -> dict[str, Any]:
        """Return what an entry has by name and is a metric: of one that is no step, its signals as well."""
        taken = {*self._aside, *(self._keys.values() if is_step else (self._keys["step"],))}
        return {name: value for name, value in entry.items() if name not in taken}

    def finish(self) -> None:
        """Refuse names that a person gave and no entry has."""
        self._names.require(self._recording, self._seen)


def has_signal(values: Mapping[str, Any]) -> bool:
    """Whether any of a step's signals is known."""
    return any(values.get(name) is not None for name in _SIGNALS)


def choose_step(tags: Sequence[str], numbers: Mapping[str, NDArray[np.signedinteger]], rows: int) -> str:
    """Return the name that counts the steps: the first that nearly all rows have and that goes up.

    `numbers`: those that rows have by each name, in order. The last of `tags`, a counter of log calls, is
    taken where no other does.
    """
    return next((tag for tag in tags[:-1] if tag in numbers and _counts(numbers[tag], rows)), tags[-1])


def _counts(numbers: NDArray[np.signedinteger], rows: int) -> bool:
    """Whether numbers of nearly all rows go up, but for restarts from a checkpoint in the middle."""
    if not len(numbers) or len(numbers) < _ENOUGH * rows:
        return False
    back = numbers[1:][numbers[1:] < numbers[:-1]]
    starts_over = bool((back == numbers.min()).any())
    return len(numbers) == 1 or (
        bool(numbers[0] < numbers.max()) and not starts_over and len(back) <= len(numbers) / 10
    )
