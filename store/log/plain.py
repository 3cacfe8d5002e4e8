"""Values of a training as the log can hold them: whatever they are, and whatever they do when they are asked.

A value that cannot be had becomes null and is counted; what is around it stays. Nothing here runs without
an end: depth, number and length are bounded, and no generator is used up.
"""

import json
import math
import reprlib
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from thermograd.store.failures import is_the_users

_DEEPEST = 32
_MOST_VALUES = 100_000
_MOST_CHARACTERS = 1 << 22  # of all texts
_LONGEST_TEXT = 1 << 16
_SHORT_TEXT = 160
_BASES = (list, tuple, set, frozenset)
_MOST_BITS = 1024
_SCALAR_PACKAGES = frozenset({"numpy", "torch"})
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80


class PlainValues:
    """Makes plain values: None, bool, int, float, str, and lists and dictionaries of them.

    Attributes
    ----------
    left_out
        How many values were left out or cut so far.
    """

    def __init__(
        self,
        values: int = _MOST_VALUES,
        longest_text: int = _LONGEST_TEXT,
        characters: int = _MOST_CHARACTERS,
    ) -> None:
        self.left_out = 0
        self._values, self._longest, self._characters = values, longest_text, characters
        self._around: list[int] = []  # the containers that this is inside

    def make(self, value: Any) -> Any:
        """Return a value as JSON knows it; null, and counted, where it cannot be had.

        Numbers that are not finite become the text that Python reads back; what JSON does not know, its text.
        """
        kind = type(value)
        if value is None or kind is bool:
            return value
        self._values -= 1
        try:
            if self._values < 0 or len(self._around) > _DEEPEST or id(value) in self._around:
                raise ValueError("too many, too deep, or inside itself")
            return self._made(value, kind)
        except Exception as error:  # a value may raise anything, also when it is only looked at
            if is_the_users(error):
                raise
            self.left_out += 1
            return None

    def _made(self, value: Any, kind: type) -> Any:
        if issubclass(kind, str):
            return self.text(value)
        if issubclass(kind, int):
            return _limited(int.__index__(value))
        if issubclass(kind, float):
            number = float.__float__(value)
            return number if math.isfinite(number) else repr(number)
        if issubclass(kind, (dict, *_BASES)):
            return self._container(value, kind)
        if is_scalar(value):
            return self.make(scalar(value))
        return self.text(str(value))

    def _container(self, value: Any, kind: type) -> Any:
        self._around.append(id(value))
        try:
            if issubclass(kind, dict):
                return self._dictionary(dict.items(value), dict.__len__(value))
            base: Any = _BASES[[issubclass(kind, base) for base in _BASES].index(True)]
            return [self.make(item) for item in self._affordable(base.__iter__(value), base.__len__(value))]
        finally:
            self._around.pop()

    def _dictionary(self, items: Iterable[tuple[Any, Any]], count: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in self._affordable(items, count):
            name = self.make(key)
            name = name if isinstance(name, str) else json.dumps(name)
            if name in made:  # 1 and "1"
                self.left_out += 1
            else:
                made[name] = self.make(item)
        return made

    def _affordable(self, items: Iterable[Any], count: int) -> list[Any]:
        affordable = max(0, self._values)
        self.left_out += max(0, count - affordable)
        return list(islice(items, affordable))

    def text(self, value: str) -> str:
        """Return text that can be encoded; counted where it is too long and is cut."""
        text = str.__str__(value)  # of a subclass, which may say something else
        longest = min(self._longest, self._characters)
        if len(text) > longest:
            text = text[:longest] + "…"
            self.left_out += 1
        self._characters -= min(len(text), self._characters)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()


def plain_json(value: Any, kept: Callable[[Any], Any] = lambda plain: plain) -> tuple[str, int]:
    """Return as strict JSON what is kept of a value, and how many values in it were left out.

    Examples
    --------
    >>> plain_json({"loss": float("nan"), 3: {"lr"}, "me": object.__new__})[0][:32]
    '{"loss": "nan", "3": ["lr"], "me'
    """
    plain = PlainValues()
    return json.dumps(kept(plain.make(value)), allow_nan=False), plain.left_out


def is_scalar(value: Any) -> bool:
    """Return whether a value is one number of numpy or torch, whatever its shape."""
    if str(type(value).__module__).partition(".")[0] not in _SCALAR_PACKAGES:
        return False
    count = value.numel if hasattr(value, "numel") else getattr(value, "size", None)
    return bool((count() if callable(count) else count) == 1)


def scalar(value: Any) -> Any:
    """Return a number of numpy or torch as Python's; any other value as it is."""
    if not is_scalar(value):
        return value
    item = value.item()
    return float(item) if type(item) is type(value) else item  # numpy's longdouble is its own item


def said(value: object, say: Callable[[object], str] | None = None) -> str:
    """Return a value's text, by default what it is in short, or that it cannot say so.

    Examples
    --------
    >>> said("abc"), said(KeyError("no"), str)
    ("'abc'", "'no'")
    """
    try:
        if say is None:
            return PlainValues(longest_text=_SHORT_TEXT).text(_short.repr(value))
        return PlainValues().text(say(value))
    except Exception as error:  # as in `PlainValues.make`
        if is_the_users(error):
            raise
        return f"{type(value).__name__} without a text"


def _limited(number: int) -> int:
    if number.bit_length() > _MOST_BITS:
        raise ValueError("more digits than a number needs")
    return number
