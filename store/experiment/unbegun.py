"""Experiments that were asked for and never began, or were given up, as the notes of a run tell."""

from collections.abc import Iterable, Mapping
from typing import Any

from thermograd.store.experiment.marks import note_of

_KEYS = {"experiment_refused": "was refused", "experiment_ended": "was given up"}


def refused_or_ended(marks: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return of each note on an experiment that did not go on what became of it, and why; each once."""
    found: dict[tuple[str, str], None] = {}
    for mark in marks:
        detail = note_of(mark, *_KEYS)
        for key, became in _KEYS.items():
            if why := detail.get(key):
                found[became, str(why)] = None
    return list(found)
