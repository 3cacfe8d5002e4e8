"""What a host is called by the people who run it: its rack, its switch, or anything else.

``THERMOGRAD_LABELS="rack=r12,switch=s3"`` over the table ``[labels]`` of ``thermograd.toml``. Each writer of
a run notes them among its facts; the view ``labels`` has them, and ``devices`` counts by them.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermograd.store.errors import ConfigError, os_errors_as

VARIABLE = "THERMOGRAD_LABELS"
MOST_LABELS = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_VALUE = re.compile(r"[A-Za-z0-9_./:-][A-Za-z0-9_./: -]{0,63}")
_OURS = ("device", "host")  # levels that are known without a label
_ALLOWED = (
    "allowed: name=value, a name of 1 to 32 letters, digits, '_', '.' and '-' that begins with a letter, "
    "a value of 1 to 64 letters, digits, '_', '.', '/', ':', '-' and spaces"
)


def labels_of(given: Mapping[str, Any], where: str) -> dict[str, str]:
    """Return labels, checked; a number is its text.

    A ConfigError says what is allowed and names the label, never its value: that may be a secret put in the
    wrong place.

    Examples
    --------
    >>> labels_of({"rack": "r12", "slot": 3}, "here")
    {'rack': 'r12', 'slot': '3'}
    """
    if len(given) > MOST_LABELS:
        raise ConfigError(f"{where}: {len(given)} labels; allowed: at most {MOST_LABELS}")
    return {name: _checked(name, value, where) for name, value in given.items()}


def _checked(name: str, value: Any, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a label's name does not fit; {_ALLOWED}")
    if name.lower() in _OURS:
        raise ConfigError(f"{where}: the label {name!r} has another meaning; allowed: any other name")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _VALUE.fullmatch(text):
        raise ConfigError(f"{where}: the value of the label {name!r} does not fit; {_ALLOWED}")
    return text


def labels_from_text(text: str, where: str) -> dict[str, str]:
    """Return the labels of a text such as ``rack=r12,switch=s3``; ConfigError where it is none.

    Examples
    --------
    >>> labels_from_text("rack=r12, switch=s3,", "here")
    {'rack': 'r12', 'switch': 's3'}
    """
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    names = [name.strip() for name, _, _ in parts]
    if not all(sign for _, sign, _ in parts):
        raise ConfigError(f"{where}: a part without '='; {_ALLOWED}")
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: a label is given twice; allowed: each once")
    return labels_of({name: value.strip() for name, (_, _, value) in zip(names, parts, strict=True)}, where)


def host_labels(environment: Mapping[str, str], default_file: Path) -> dict[str, str]:
    """Return the labels of this host: the variable's over those of the configuration file.

    The file is ``$THERMOGRAD_CONFIG``, or `default_file` where there is one. Raises ConfigError.
    """
    given: dict[str, str] = {}
    path = Path(environment.get("THERMOGRAD_CONFIG") or default_file)
    if path.is_file():
        given |= _labels_of_file(path)
    if text := environment.get(VARIABLE):
        given |= labels_from_text(text, f"environment {VARIABLE}")
    return labels_of(given, "labels")


def _labels_of_file(path: Path) -> dict[str, str]:
    with os_errors_as(ConfigError, f"cannot read {path}"):
        content = path.read_bytes()
    try:
        tables = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):  # what they say holds the text
        raise ConfigError(f"{path} is no TOML: its labels are not known") from None
    table = tables.get("labels", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: labels is a table: write [labels] and the labels below")
    return labels_of(table, str(path))
