"""What a step log has by name and is no column of ours: rows of the kind `metric`, in little memory."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from thermograd.ingest.importers.timezones import Moment
from thermograd.store.secrets import without_secrets

MOST_NAMES = 10_000  # as of a script's own values: more are keys of something else
LONGEST_NAME = 512  # characters
LONGEST_TEXT = 4096
NO_STEP, NOT_KEPT = -1, -2
_MOST_LEVELS = 16
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
        self._lines, self._times_ns, self._steps = array("q"), array("q"), array("q")
        self._codes, self._naive, self._values = array("i"), array("b"), array("d")
        self._texts: dict[int, str] = {}  # by row
        self.no_values: set[str] = set()  # names that held something else than a number or a text
        self.cut: set[str] = set()  # names of texts that were too long

    def __len__(self) -> int:
        return len(self._times_ns)

    def add(self, line: int, moment: Moment, step: int, values: Mapping[str, Any]) -> int:
        """Keep what a row has by name, at its step or NO_STEP; return how many values that is."""
        before = len(self)
        for name, value in values.items():
            for full, plain in plain_values(name, value):
                code = self._code(full) if plain is not None else None
                if code is None:
                    self.no_values.add(full)
                elif plain is not None:
                    self._append(line, moment, step, code, self._fitting(full, plain))
        return len(self) - before

    def put_at(self, steps: NDArray[np.int64]) -> None:
        """Replace every step, so far a number of something, by what `steps` has there; NOT_KEPT drops it."""
        if len(self):
            self._steps = array("q", steps[np.frombuffer(self._steps, np.int64)].tobytes())

    def counts(self) -> dict[str, int]:
        """Return how many values each name has."""
        codes = np.frombuffer(self._codes, np.int32)[self._is_kept()] if len(self) else ()
        found = Counter(dict(enumerate(np.bincount(codes, minlength=len(self._names)).tolist())))
        return {_plain_text(name): found[code] for name, code in sorted(self._names.items()) if found[code]}

    def table(self) -> pa.Table:
        """Return all rows: ``_line``, ``_time_ns``, ``_naive``, and the columns of the kind."""
        steps, kept = np.frombuffer(self._steps, np.int64), self._is_kept()
        names = pa.array(map(_plain_text, self._names), pa.string())
        texts = map(self._texts.get, range(len(self))) if self._texts else [None] * len(self)
        is_text = np.zeros(len(self), bool)
        is_text[list(self._texts)] = True
        table = pa.table(
            {
                "_line": np.frombuffer(self._lines, np.int64),
                "_time_ns": np.frombuffer(self._times_ns, np.int64),
                "_naive": np.frombuffer(self._naive, np.int8).astype(bool),
                "step": pa.array(steps, mask=steps < 0),
                "name": pa.DictionaryArray.from_arrays(np.frombuffer(self._codes, np.int32), names),
                "value": pa.array(np.frombuffer(self._values, np.float64), mask=is_text),
                "text": pa.array(texts, pa.string()),
            }
        )
        return table if kept.all() else table.filter(pa.array(kept))

    def _is_kept(self) -> NDArray[np.bool_]:
        kept: NDArray[np.bool_] = np.frombuffer(self._steps, np.int64) != NOT_KEPT
        return kept

    def _append(self, line: int, moment: Moment, step: int, code: int, value: float | str) -> None:
        if isinstance(value, str):
            self._texts[len(self)] = value
        self._values.append(value if isinstance(value, float) else np.nan)
        self._lines.append(line)
        self._times_ns.append(moment.ns)
        self._naive.append(moment.naive)
        self._steps.append(step)
        self._codes.append(code)

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


def _plain_text(text: str) -> str:
    """Return a text without secrets, and without halves of characters, which JSON may have."""
    return without_secrets(text if text.isascii() else text.encode("utf-8", "replace").decode())
