"""Values as the columns of an event hold them: what does not fit becomes null, what is beside it stays."""

from collections.abc import Mapping
from functools import cache
from operator import index
from typing import Any

from thermograd.store.events import column_names, columns
from thermograd.store.failures import is_the_users
from thermograd.store.log.plain import PlainValues, said, scalar

_LONGEST_TEXT = 1 << 20
_RANGES = {"int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1)}


@cache
def _types(kind: str) -> dict[str, str]:
    return {column.name: column.type for column in columns(kind)}


def fit(kind: str, name: str, value: Any) -> tuple[Any, str | None]:
    """Return a value as its column holds it, null where it does not fit, and a sentence on what is lost.

    Never raises, whatever the value does; only what a signal handler raises passes.

    Examples
    --------
    >>> fit("step", "loss", 3), fit("step", "tokens", 1.5)
    ((3.0, None), (None, "tokens is 1.5: 'float' object cannot be interpreted as an integer"))
    """
    if value is None:
        return None, None
    column = _types(kind).get(name)
    if column is None:
        return None, f"{kind} has no column {name}"
    try:
        if column == "string":
            return _text(name, value)
        return _number(column, scalar(value)), None
    except Exception as error:  # a value may raise anything
        if is_the_users(error):
            raise
        return None, f"{name} is {said(value)}: {said(error, str)}"


def fit_values(kind: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values that an event can hold, and a sentence for each that is lost.

    Examples
    --------
    >>> fit_values("mark", {"mark": "note", "step": "three", "colour": 1})[0]
    {'mark': 'note', 'step': None}
    """
    fitted, lost = {}, []
    for name, value in values.items():
        known, sentence = fit(kind, name, value)
        if name in column_names(kind):
            fitted[name] = known
        if sentence is not None:
            lost.append(sentence)
    return fitted, lost


def _text(name: str, value: Any) -> tuple[str, str | None]:
    plain = PlainValues(longest_text=_LONGEST_TEXT)
    text = plain.text(value if isinstance(value, str) else str(value))
    return text, f"{name} is cut after {len(text) - 1} characters" if plain.left_out else None


def _number(column: str, value: Any) -> float | int | bool:
    if column == "float64":
        if isinstance(value, str | bytes | bytearray):
            raise TypeError("a text is no number")
        return float(value)
    if column == "bool":
        if type(value) in (bool, int, float) and value in (0, 1):
            return bool(value)
        raise TypeError("allowed: True, False")
    number, (least, most) = int(index(value)), _RANGES[column]
    if not least <= number <= most:
        raise ValueError(f"allowed: {least} to {most}")
    return number
