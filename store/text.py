"""Text from strangers as a terminal may show it: names, notes and values carry no control characters."""

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
    shown = _without_controls(str(text))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def printable_lines(text: str) -> str:
    r"""Return text of several lines, each as `printable` has it but of any length.

    Examples
    --------
    >>> printable_lines("name \x9b2J\r\nnext")
    'name \ufffd2J \nnext'
    """
    return text if text.isprintable() else "\n".join(map(_without_controls, text.split("\n")))


def without_nan(value: Any) -> Any:
    """Return a document with null for numbers that are not finite: JSON has none.

    Examples
    --------
    >>> without_nan({"loss": [1.0, float("inf")]})
    {'loss': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _without_controls(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
