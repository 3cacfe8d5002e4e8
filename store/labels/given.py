"""What a host is called by the people who run it: its rack, its switch, or anything else.

``THERMOGRAD_LABELS="rack=r12,switch=s3"`` over the table ``[labels]`` of ``thermograd.toml``. Each writer of
a run notes them among its facts; the view ``labels`` has them, and ``devices`` counts by them.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thermograd.store.errors import ConfigError, os_errors_as
from thermograd.store.labels.file import config_file
from thermograd.store.secrets import without_secrets

VARIABLE = "THERMOGRAD_LABELS"
MOST_LABELS = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_VALUE = re.compile(r"[A-Za-z0-9_./:-][A-Za-z0-9_./: -]{0,63}")
_OURS = ("device", "host")  # levels that are known without a label
_ALLOWED = (
    "allowed: name=value, a name of 1 to 32 letters, digits, '_', '.' and '-' that begins with a letter, "
    "a value of 1 to 64 letters, digits, '_', '.', '/', ':', '-' and spaces"
)


Refusal = Callable[[ConfigError], object]


def refuse(error: ConfigError) -> None:
    """Raise what is wrong with a label."""
    raise error


def labels_of(given: Mapping[str, Any], where: str, on_bad: Refusal = refuse) -> dict[str, str]:
    """Return labels, checked; a number is its text.

    What is wrong is a ConfigError that says what is allowed and names the label, never its value: that may be
    a secret put in the wrong place. `on_bad` raises it, or takes note and the others are returned.

    Examples
    --------
    >>> labels_of({"rack": "r12", "slot": 3}, "here")
    {'rack': 'r12', 'slot': '3'}
    """
    kept: dict[str, str] = {}
    for number, (name, value) in enumerate(given.items(), 1):
        try:
            kept[name] = _checked(name, value, f"{where}: label {number}")
        except ConfigError as error:
            on_bad(error)
    if len(kept) > MOST_LABELS:
        on_bad(ConfigError(f"{where}: {len(kept)} labels; allowed: at most {MOST_LABELS}"))
    return dict(list(kept.items())[:MOST_LABELS])


def _checked(name: str, value: Any, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: its name does not fit; {_ALLOWED}")
    shown = f"{where}, {name!r}" if without_secrets(name) == name else where
    if name.lower() in _OURS:
        raise ConfigError(f"{shown}: this name has another meaning; allowed: any other name")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _VALUE.fullmatch(text):
        raise ConfigError(f"{shown}: its value does not fit; {_ALLOWED}")
    return text


def labels_from_text(text: str, where: str, on_bad: Refusal = refuse) -> dict[str, str]:
    """Return the labels of a text such as ``rack=r12,switch=s3``; what is wrong with one as in `labels_of`.

    Examples
    --------
    >>> labels_from_text("rack=r12, switch=s3,", "here")
    {'rack': 'r12', 'switch': 's3'}
    """
    given: dict[str, str] = {}
    for number, part in enumerate(filter(str.strip, text.split(",")), 1):
        name, sign, value = (word.strip() for word in part.partition("="))
        if not sign:
            on_bad(ConfigError(f"{where}: label {number} is without '='; {_ALLOWED}"))
        elif name in given:
            on_bad(ConfigError(f"{where}: label {number} is given a second time; allowed: each once"))
        else:
            given[name] = value
    return labels_of(given, where, on_bad)


def host_labels(
    environment: Mapping[str, str], config: Path | None = None, on_bad: Refusal = refuse
) -> dict[str, str]:
    """Return the labels of this host: the variable's over those of the configuration file.

    `config` is that file where one was named; else `config_file` says which. Raises ConfigError where the
    file is refused; what is wrong with a label as in `labels_of`.
    """
    given: dict[str, str] = {}
    path = config_file(environment, config)
    if path and path.is_file():
        given |= _labels_of_file(path, on_bad)
    if text := environment.get(VARIABLE):
        given |= labels_from_text(text, f"environment {VARIABLE}", on_bad)
    return labels_of(given, "labels", on_bad)


def _labels_of_file(path: Path, on_bad: Refusal) -> dict[str, str]:
    with os_errors_as(ConfigError, f"cannot read {path}"):
        content = path.read_bytes()
    try:
        tables = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):  # what they say holds the text
        raise ConfigError(f"{path} is no TOML: its labels are not known") from None
    table = tables.get("labels", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: labels is a table: write [labels] and the labels below")
    return labels_of(table, str(path), on_bad)
