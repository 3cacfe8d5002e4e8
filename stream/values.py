"""Reads one setting from TOML or from text, and says what is allowed where it does not fit."""

from collections.abc import Iterable
from dataclasses import Field
from difflib import get_close_matches
from math import isfinite
from typing import Any

from thermograd.store.errors import ConfigError

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the most similar of the known names, or all of them.

    Examples
    --------
    >>> nearest("windw_steps", ["k", "window_steps"])
    'did you mean window_steps?'
    """
    known = list(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"


def read_value(of: "Field[Any]", given: Any, where: str, from_text: bool = False) -> Any:
    """Return a setting's value in its own type.

    Parameters
    ----------
    of
        The setting's field, with its limits.
    given
        What a TOML file has there, or text.
    where
        Where it was given, for the error: file, line and name.
    from_text
        Whether `given` is text of the environment: numbers as usual, lists with commas.

    Raises
    ------
    ConfigError
        If it does not fit; says where, what was given (unless secret) and what is allowed.
    """
    value = _from_text(of, str(given)) if from_text else _from_toml(of, given)
    if value is None or not _fits(of, value):
        shown = "a value that does not fit" if of.metadata.get("secret") else repr(given)
        raise ConfigError(f"{where} is {shown}; allowed: {allowed_values(of)}")
    return value


def _from_toml(of: "Field[Any]", given: Any) -> Any:
    """Return the value in the field's type, None where it is of another."""
    if of.type is float and type(given) in (int, float):
        return float(given)
    if of.type in (int, str, bool):
        return given if type(given) is of.type else None
    if isinstance(given, list | tuple) and all(isinstance(item, str) for item in given):
        return tuple(given)
    return None


def _from_text(of: "Field[Any]", text: str) -> Any:
    text = text.strip()
    if of.type is str:
        return text
    if of.type is bool:
        lower = text.lower()
        return True if lower in _TRUE else False if lower in _FALSE else None
    if of.type in (int, float):
        try:
            return of.type(text)
        except ValueError:
            return None
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _fits(of: "Field[Any]", value: Any) -> bool:
    limits = of.metadata
    if "choices" in limits:
        return all(item in limits["choices"] for item in (value if isinstance(value, tuple) else (value,)))
    if isinstance(value, bool | str | tuple):
        return True
    return bool(
        isfinite(value)
        and value > limits.get("above", float("-inf"))
        and limits.get("least", float("-inf")) <= value <= limits.get("most", float("inf"))
    )


def allowed_values(of: "Field[Any]") -> str:
    """Return in words what a setting may be."""
    limits = of.metadata
    if "choices" in limits:
        kind = "a list of " if of.type not in (str, bool) else ""
        return kind + ", ".join(limits["choices"])
    if of.type is bool:
        return "true or false"
    if of.type is str:
        return "text in quotes"
    text = "a whole number" if of.type is int else "a number"
    if "above" in limits:
        text += f" above {limits['above']}"
    elif "least" in limits:
        text += f" from {limits['least']}"
    if "most" in limits:
        text += f"{' up' if 'above' in limits or 'least' in limits else ''} to {limits['most']}"
    return text
