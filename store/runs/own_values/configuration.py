"""A run's configuration as readers meet it: what ``run.json`` has, and what was added while it ran."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from thermograd.store.runs.catalogue import Run
from thermograd.store.text import cell_text

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_TOLD = 12


class Entry(NamedTuple):
    """One value of a configuration: its dotted key, its text, and its number, where it is or reads as one."""

    key: str
    value: str | None
    number: float | None


def run_config(run: Run) -> dict[str, Any]:
    """Return a run's configuration: of `start_run` first, then, over it, of each `Run.configure`."""
    from thermograd.store.log.reader import read_kind

    return config_by(run, read_kind(run.path, "mark"))


def config_by(run: Run, marks: "pa.Table") -> dict[str, Any]:
    """Return what `run_config` does, of a run whose rows of the `mark` kind are read already."""
    import pyarrow.compute as pc

    config: dict[str, Any] = dict(run.facts.get("config") or {})
    marks = marks.filter(pc.equal(marks["mark"], "config")).sort_by([("time_ns", "ascending")])
    for text in marks["detail"].to_pylist():
        with suppress(ValueError, TypeError, RecursionError):  # of another program
            added = json.loads(text)
            if isinstance(added, dict):
                config = merged(config, added)
    return config


def merged(config: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with another over it, in nested ones too.

    Examples
    --------
    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    result = dict(config)
    for key, value in added.items():
        if isinstance(before := result.get(key), Mapping) and isinstance(value, Mapping):
            result[key] = merged(before, value)
        else:
            result[key] = value
    return result


def entries(config: Mapping[str, Any], prefix: str = "") -> Iterator[Entry]:
    """Yield the values of a configuration, keys of nested ones joined by dots.

    Examples
    --------
    >>> list(entries({"optim": {"lr": 0.1}, "name": "a"}))[0]
    Entry(key='optim.lr', value='0.1', number=0.1)
    """
    for name, value in config.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from entries(value, f"{key}.")
        else:
            yield Entry(key, _text(value), _number(value))


def config_lines(config: Mapping[str, Any]) -> list[str]:
    """Return a few values of a configuration under their heading; nothing where there is none."""
    found = list(entries(config))
    if not found:
        return []
    lines = [f"  {cell_text(entry.key)}  {cell_text(entry.value)}" for entry in found[:_MOST_TOLD]]
    more = len(found) - _MOST_TOLD
    text = f'  and {more:,} more: thermograd query "SELECT key, value FROM config"'
    return ["", "Config", *lines, *[text] * (more > 0)]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> float | None:
    """Return a number, also one that was given as a text: YAML reads 1e-4 as one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        number = float(value)
        return (
            number if math.isfinite(number) or not isinstance(value, str) or value in ("nan", "inf") else None
        )
    return None
