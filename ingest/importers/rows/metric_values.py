"""What a step log has by name and is no column of ours: rows of the kind `metric`, in little memory."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thermograd.ingest.importers.rows.spill import Spill
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.secrets import without_secrets

MOST_NAMES = 10_000  # as of a script's own values: more are keys of something else
LONGEST_NAME = 512  # characters
LONGEST_TEXT = 4096
NO_STEP, NOT_KEPT = -1, -2
_MOST_LEVELS = 16
_BATCH_VALUES = 1 << 16
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = {  # as JSON that knows no such numbers has them
    sign + word: float(sign + word) for sign in ("", "-", "+") for word in ("nan", "inf", "infinity")
}


def plain_values(name: str, value: Any, level: int = 0) -> Iterator[tuple[str, float | str | None]]:
    """Yield a JSON value as numbers and texts by name, None for what is neither: a list, an image, a table.

    What is nested has ``/`` between its names; a dictionary with a `_type` describes something else.

    Examples
    --------
    >>> list(plain_values("eval", {"loss": 2, "best": True, "by": [1], "of": None}))
    [('eval/loss', 2.0), ('eval/best', 1.0), ('eval/by', None)]
    """
    if isinstance(value, dict) and "_type" not in value and level < _MOST_LEVELS:
        for key, item in value.items():
            yield from plain_values(f"{name}/{key}", item, level + 1)
    elif isinstance(value, str):
        if text := value.strip():
            yield name, _of_text(text)
    elif isinstance(value, int | float):
        yield name, _float(value)
    elif value is not None:
        yield name, None


def _of_text(text: str) -> float | str:
    """Return the number that a text is, as cells of a table and JSON without NaN have it; else the text."""
    return float(text) if _NUMBER.fullmatch(text) else _NOT_FINITE.get(text.lower(), text)


def _float(value: float) -> float | None:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return None


class MetricValues:
    """Numbers and texts by name, each with where it stands, its time, and its step."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._found: Counter[int] = Counter()  # how many values are put away, by the number of their name
        self._spill = Spill()
        self._steps: NDArray[np.signedinteger] | None = None  # by the number of what was logged
        self.no_values: set[str] = set()  # names that held something else than a number or a text
        self.cut: set[str] = set()  # names of texts that were too long
        self._begin()

    def _begin(self) -> None:
        # Of each row: what is the same for all of its values, and how many there are.
        self._lines, self._times_ns, self._at = array("q"), array("q"), array("q")
        self._naive, self._each, self._ranks = array("b"), array("q"), array("q")
        # Of each value: its name, and itself.
        self._codes, self._values = array("i"), array("d")
        self._texts: dict[int, str] = {}

    def __len__(self) -> int:
        return self._found.total() + len(self._codes)

    def add(
        self, line: int, moment: Moment, step: int, values: Mapping[str, Any], rank: int = NO_STEP
    ) -> int:
        """Keep what a row has by name, at its step or NO_STEP; return how many values that is."""
        before = len(self._codes)
        for name, value in values.items():
            code = self._names.get(name) if type(value) is float else None
            if code is not None:
                self._codes.append(code)
                self._values.append(value)
            else:
                self._add_any(name, value)
        count = len(self._codes) - before
        if count:
            self._note(line, moment, step, count, rank)
        return count

    def add_event(
        self, line: int, moment: Moment, step: int, rank: int, name: str, value: float | str
    ) -> bool:
        """Keep a value as it is, of a rank or NO_STEP; return whether there was room for its name."""
        code = self._code(name)
        if code is None:
            self.no_values.add(name)
            return False
        self._append(code, self._fitting(name, value))
        self._note(line, moment, step, 1, rank)
        return True

    def _add_any(self, name: str, value: Any) -> None:
        for full, plain in plain_values(name, value):
            code = self._code(full) if plain is not None else None
            if code is None:
                self.no_values.add(full)
            elif plain is not None:
                self._append(code, self._fitting(full, plain))

    def _append(self, code: int, value: float | str) -> None:
        if isinstance(value, str):
            self._texts[len(self._codes)] = value
        self._codes.append(code)
        self._values.append(value if isinstance(value, float) else np.nan)

    def _note(self, line: int, moment: Moment, step: int, count: int, rank: int = NO_STEP) -> None:
        self._lines.append(line)
        self._times_ns.append(moment.ns)
        self._naive.append(moment.naive)
        self._at.append(step)
        self._ranks.append(rank)
        self._each.append(count)
        if len(self._codes) >= _BATCH_VALUES:
            self._flush()

    def _flush(self) -> None:
        """Put away the values that have come."""
        if not self._codes:
            return
        each = np.frombuffer(self._each, np.int64)
        texts = map(self._texts.get, range(len(self._codes)))
        batch = {
            "_line": np.repeat(np.frombuffer(self._lines, np.int64), each),
            "_time_ns": np.repeat(np.frombuffer(self._times_ns, np.int64), each),
            "_naive": np.repeat(np.frombuffer(self._naive, np.int8).astype(bool), each),
            "step": np.repeat(np.frombuffer(self._at, np.int64), each),
            "name": np.frombuffer(self._codes, np.int32),
            "value": np.frombuffer(self._values, np.float64),
            "text": pa.array(texts, pa.string()) if self._texts else pa.nulls(len(self._codes), pa.string()),
        }
        ranks = np.frombuffer(self._ranks, np.int64)
        if (ranks >= 0).any():
            batch["rank"] = np.repeat(ranks, each)
        self._found.update(_counted(batch["name"]))
        self._spill.put(pa.record_batch(batch))
        self._begin()

    def put_at(self, steps: NDArray[np.signedinteger]) -> None:
        """Replace every step, so far a number of something, by what `steps` has there; NOT_KEPT drops it."""
        self._flush()
        self._steps = steps
        if (steps == NOT_KEPT).any():
            for batch in self._batches():
                gone = self._steps_of(batch) == NOT_KEPT
                self._found.subtract(_counted(batch["name"].to_numpy()[gone]))

    def counts(self) -> dict[str, int]:
        """Return how many values each name has."""
        self._flush()
        names = sorted(self._names.items())
        return {_plain_text(name): self._found[code] for name, code in names if self._found[code]}

    def tables(self) -> Iterator[pa.Table]:
        """Yield all rows, many at a time: ``_line``, ``_time_ns``, ``_naive``, and the kind's columns."""
        self._flush()
        names = pa.array(map(_plain_text, self._names), pa.string())
        for batch in self._batches():
            steps, values = self._steps_of(batch), batch["value"]
            columns = {
                "step": pa.array(steps, pa.int64(), mask=steps < 0),
                "name": pa.DictionaryArray.from_arrays(batch["name"], names),
                "value": pc.if_else(batch["text"].is_valid(), pa.scalar(None, pa.float64()), values),
            }
            if "rank" in batch.schema.names:
                ranks = batch["rank"].to_numpy()
                columns["rank"] = pa.array(ranks, pa.int64(), mask=ranks < 0)
            own = dict(zip(batch.schema.names, batch.columns, strict=True))
            table, kept = pa.table(own | columns), steps != NOT_KEPT
            if kept.any():
                yield table if kept.all() else table.filter(pa.array(kept))

    def close(self) -> None:
        """Give up all values."""
        self._spill.close()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        return (self._spill.get(number) for number in range(len(self._spill)))

    def _steps_of(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        steps = batch["step"].to_numpy()
        if self._steps is not None and len(self._steps):
            steps = np.where(steps < 0, steps, self._steps[steps])
        return np.asarray(steps, np.int64)

    def _code(self, name: str) -> int | None:
        """Return the number of a name; None for one that is none, or too many."""
        code = self._names.get(name)
        if code is None and 0 < len(name) <= LONGEST_NAME and len(self._names) < MOST_NAMES:
            self._names[name] = code = len(self._names)
        return code

    def _fitting(self, name: str, value: float | str) -> float | str:
        if isinstance(value, float):
            return value
        if len(value) > LONGEST_TEXT:
            self.cut.add(name)
        return _plain_text(value[:LONGEST_TEXT])


def _counted(codes: NDArray[np.int32]) -> dict[int, int]:
    """Return how often each number is there."""
    return {code: count for code, count in enumerate(np.bincount(codes).tolist()) if count}


def _plain_text(text: str) -> str:
    """Return a text without secrets, and without halves of characters, which JSON may have."""
    return without_secrets(text if text.isascii() else text.encode("utf-8", "replace").decode())
