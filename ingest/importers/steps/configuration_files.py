"""A training's configuration, without secrets: as its log has it, or the YAML file that lies beside that."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thermograd.store.log.plain import PlainValues
from thermograd.store.secrets import hidden_values

_MOST_BYTES = 1 << 18
_MOST_VALUES = 20_000
_LONGEST_TEXT = 4096


def yaml_configuration(path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the values of a YAML file without secrets, and why there are none, where there are none.

    What needs Python's own types (a pickled object) is not read: files are data.
    """
    try:
        yaml = importlib.import_module("yaml")
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_BYTES + 1)
    except ImportError:
        return {}, "the configuration is read with the package PyYAML, which is not installed"
    except (OSError, UnicodeDecodeError) as error:
        return {}, f"no configuration: it cannot be read ({error})"
    if len(text) > _MOST_BYTES:
        return {}, f"no configuration: it has more than {_MOST_BYTES} characters"
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, f"no configuration: it is no plain YAML ({' '.join(str(error).split())[:100]})"
    if not isinstance(values, dict):
        return {}, "no configuration: it names no values"
    return _without_secrets(values, PlainValues(_MOST_VALUES, _LONGEST_TEXT, _MOST_BYTES)), None


def plain_configuration(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as values that JSON knows, without secrets."""
    return _without_secrets(values, PlainValues(longest_text=_LONGEST_TEXT))


def _without_secrets(values: Mapping[str, Any], plain: PlainValues) -> dict[str, Any]:
    hidden: dict[str, Any] = hidden_values(plain.make(values), [])
    return hidden
