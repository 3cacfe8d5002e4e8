"""A run's configuration as it was given: dictionaries, dataclasses, namespaces, as JSON without secrets."""

import argparse
import dataclasses
import os
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple

from thermograd.store.failures import Guard, is_the_users, warn
from thermograd.store.log.plain import PlainValues, is_scalar, said
from thermograd.store.secrets import hidden_values

_MOST_VALUES = 20_000  # run.json has to stay small: it is read whole by every reader
_MOST_CHARACTERS = 1 << 19
_LONGEST_TEXT = 4096
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


class Configuration(NamedTuple):
    """A configuration as JSON knows it, how many values are not in it, and the names of those hidden."""

    values: dict[str, Any]
    left_out: int
    secrets: list[str]


def configuration(given: Any) -> Configuration:
    """Return a configuration that can be recorded, whatever was given.

    A dictionary of any kind, a dataclass, an `argparse.Namespace`, or what has a ``to_dict`` or
    ``model_dump``; inside it also lists. Other values are their text. A text whose name ends like that of a
    secret (password, token, api_key) has `REDACTED` in its place; a number is none.

    Examples
    --------
    >>> configuration({"lr": 0.1, "hub_token": "hf_1", "max_tokens": 64, "db": "x://me:pw@host"}).values
    {'lr': 0.1, 'hub_token': '<redacted>', 'max_tokens': 64, 'db': 'x://me:<redacted>@host'}
    """
    plain = _PlainConfiguration(_MOST_VALUES, _LONGEST_TEXT, _MOST_CHARACTERS)
    values = plain.make(given)
    if given is not None and not isinstance(values, dict):
        warn("thermograd: config is %s; allowed: a dictionary, a dataclass or a namespace", said(given))
        return Configuration({}, 1, [])
    secrets: list[str] = []
    return Configuration(hidden_values(values or {}, secrets), plain.left_out, secrets)


def told(config: Configuration) -> dict[str, Any]:
    """Return the values of a configuration; say what of them is not recorded."""
    if config.secrets:
        named = ", ".join(config.secrets[:5]) + (" and more" if len(config.secrets) > 5 else "")
        warn("thermograd: config: what looks like a secret is not recorded: %s", named)
    if config.left_out:
        values = "1 value is" if config.left_out == 1 else f"{config.left_out} values are"
        warn("thermograd: config: %s left out or cut: too many, too long or unreadable", values)
    return config.values


def with_config(facts: Any, config: Any) -> Any:
    """Return the facts of a run with its configuration among them."""
    if config is None:
        return facts
    with Guard("thermograd could not record the config (%(error)s)"):
        given = facts if issubclass(type(facts), dict) else {}
        return given | {"config": told(configuration(config))}
    return facts


class _PlainConfiguration(PlainValues):
    """Plain values of a configuration, whose parts may be objects with fields."""

    def _made(self, value: Any, kind: type) -> Any:
        if isinstance(value, Enum):
            return self.make(value.value)
        if isinstance(value, str | int | float | dict | list | tuple | set | frozenset):
            named = getattr(value, "_asdict", None) if isinstance(value, tuple) else None
            return super()._made(value, kind) if named is None else self.make(named())
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | range):
            return self.make(list(islice(value, _MOST_VALUES)))  # OmegaConf's lists
        if isinstance(value, os.PathLike):
            return self.text(os.fsdecode(value))
        if (fields := _fields(value)) is not None:
            return self._inside(value, fields)
        return super()._made(value, kind) if is_scalar(value) else self._said(value)

    def _inside(self, value: Any, fields: Iterable[tuple[Any, Any]]) -> Any:
        self._around.append(id(value))
        try:
            known = dict(fields)
            return self._dictionary(known.items(), len(known))
        finally:
            self._around.pop()

    def _said(self, value: Any) -> str:
        if isinstance(value, type | types.FunctionType):
            return self.text(f"{value.__module__}.{value.__qualname__}")
        return self.text(_ADDRESS.sub("", repr(value)))  # which differs from run to run


def _fields(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return names and values of what is made of fields; None for what is not."""
    if isinstance(value, type):
        return None
    if isinstance(value, Mapping):
        return _items(value)
    if dataclasses.is_dataclass(value) and not hasattr(value, "to_dict"):
        return ((field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value))
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return vars(value).items()
    for name in ("to_dict", "model_dump"):
        if callable(method := getattr(value, name, None)) and isinstance(made := method(), Mapping):
            return made.items()
    return None


def _items(value: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Yield names and values of a mapping; a value that it cannot give (OmegaConf's ``???``) is null."""
    for name in value:
        try:
            yield name, value[name]
        except Exception as error:  # of any library
            if is_the_users(error):
                raise
            yield name, None
