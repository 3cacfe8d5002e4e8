"""Experiments that were asked for and never began, or were given up, as the notes of a run tell."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_KEYS = {"experiment_refused": "was refused", "experiment_ended": "was given up"}


def refused_or_ended(marks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return of each note on an experiment that did not go on what became of it, and why; each once."""
    found: dict[tuple[str, str], None] = {}
    for mark in marks:
        detail = _detail(mark)
        for key, became in _KEYS.items():
            if why := detail.get(key):
                found[became, str(why)] = None
    return list(found)


def _detail(mark: Mapping[str, Any]) -> dict[str, Any]:
    text = mark.get("detail") or ""
    if mark.get("mark") != "note" or not any(key in text for key in _KEYS):
        return {}
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):  # a script's own note
        return {}
    return told if isinstance(told, dict) else {}
