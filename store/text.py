"""Text from strangers as a terminal may show it: names, notes and values carry no control characters."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any

_LONGEST = 500


def printable(text: object, longest: int = _LONGEST) -> str:
    r"""Return text as one line without control characters, escape sequences or direction marks.

    White space becomes a space, every other character that does not print the replacement character;
    what is longer than `longest` characters ends with an ellipsis.

    Examples
    --------
    >>> printable("GPU\n\x1b[31m0")
    'GPU \ufffd[31m0'
    """
    text = str(text)
    shown = _without_controls(text[:longest])
    return shown if len(text) <= longest else shown[:-1] + "…"


def printable_lines(text: str) -> str:
    r"""Return text of several lines, each as `printable` has it but of any length.

    Examples
    --------
    >>> printable_lines("name \x9b2J\r\nnext")
    'name \ufffd2J \nnext'
    """
    return text if text.isprintable() else "\n".join(map(_without_controls, text.split("\n")))


def shortened(text: str, longest: int = 600) -> str:
    """Return text without its middle where it is longer than so many characters, and say so.

    Examples
    --------
    >>> shortened("a" * 100 + "z" * 100, 80)
    'aaaaaaaaaaaaaaaaaaaaaaaaaa ... (148 characters left out) ... zzzzzzzzzzzzzzzzzzzzzzzzzz'
    """
    if len(text) <= longest:
        return text
    half = longest // 3
    return f"{text[:half]} ... ({len(text) - 2 * half:,} characters left out) ... {text[-half:]}"


def slug(text: str, longest: int = 40, otherwise: str = "run") -> str:
    """Return text as a part of file names: letters, digits, dots, underscores and dashes.

    Examples
    --------
    >>> slug("../my run: 2/"), slug("?")
    ('my-run-2', 'run')
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:longest].rstrip("-.") or otherwise


def without_nan(value: Any) -> Any:
    """Return a document with null for numbers that are not finite, and numpy's scalars as Python's.

    Examples
    --------
    >>> without_nan({"loss": [1.0, float("inf")]})
    {'loss': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value


def _without_controls(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def nan_as_text(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for strict JSON: NaN and the infinities become the strings that Python reads back.

    Examples
    --------
    >>> nan_as_text({"loss": float("nan"), "grad_norm": float("-inf"), "step": 3})
    {'loss': 'nan', 'grad_norm': '-inf', 'step': 3}
    """
    return {
        name: repr(value) if isinstance(value, float) and not isfinite(value) else value
        for name, value in values.items()
    }


def strict_json(values: Mapping[str, Any]) -> str:
    """Return values as one line of JSON, non-finite numbers as in `nan_as_text`."""
    return json.dumps(nan_as_text(values), allow_nan=False, default=str)


_LONGEST_CELL = 128  # a run id is never cut


def table_text(header: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> str:
    """Lay rows out in aligned columns, numbers to the right."""
    names = [printable(name, _LONGEST_CELL) for name in header]
    cells = [[printable(cell_text(value), _LONGEST_CELL) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(names)]
    numeric = [
        name in right or (bool(cells) and all(_looks_numeric(row[i]) for row in cells))
        for i, name in enumerate(header)
    ]

    def line(values: Sequence[str]) -> str:
        parts = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(names), line(["-" * w for w in widths]), *map(line, cells)])


def cell_text(value: Any) -> str:
    """Return a value as one line that a terminal can show, not too long; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    return printable(value.isoformat(sep=" ") if isinstance(value, datetime) else value)


def _looks_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
