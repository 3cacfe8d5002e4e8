"""Whether two runs are one training twice: what of their settings, versions and devices is not the same."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from thermograd.analysis.comparison.differences import Setting, settings_apart
from thermograd.analysis.run.series import RunSeries
from thermograd.store.experiment.marks import read_experiments
from thermograd.store.runs.catalogue import Run

# a setting that says where something is, what it is called, or when it was: no training differs by it
_OF_PLACE = re.compile(
    r"(?:dir|directory|folder|path|file|name|id|url|uri|host|port|time|date|out|output|log|tag|tags)$",
    re.IGNORECASE,
)
_OURS = frozenset({"pyarrow", "river"})  # packages that the instrument needs, not the training
_CHANGES_ARITHMETIC = "lr"  # the arm


class SettingsApart(NamedTuple):
    """Settings by which two runs are two trainings, and those that are only of place, name or instrument."""

    trainings: list[Setting]
    places: list[Setting]


def twin_settings(first: RunSeries, second: RunSeries) -> SettingsApart:
    """Return what differs between two runs, divided by whether they can still be twins."""
    one, two = first.run, second.run
    found = SettingsApart([], [])
    for setting in [*settings_apart([one, two]), *_models(one, two), *_experiments(first, second)]:
        found[0 if _is_of_training(setting, one, two) else 1].append(setting)
    return found


def _is_of_training(setting: Setting, first: Run, second: Run) -> bool:
    if setting.group == "packages":
        return setting.name not in _OURS
    if setting.group == "machine":
        return setting.name in ("ranks", "device models")
    if setting.name == "command":
        return _without_places(first.facts.get("argv")) != _without_places(second.facts.get("argv"))
    if setting.group == "config":
        return not _OF_PLACE.search(setting.name)
    return True


def _without_places(words: Any) -> list[str]:
    """Return the words of a command without places: the value after ``--output-dir``."""
    kept: list[str] = []
    is_value = False
    for word in map(str, words if isinstance(words, Sequence) and not isinstance(words, str) else ()):
        name, given, _ = word.partition("=")
        if name.startswith("-"):
            is_value = bool(_OF_PLACE.search(name)) and not given
            kept.append(name if _OF_PLACE.search(name) else word)
        elif is_value:
            is_value = False
        else:
            kept.append(word)
    return kept


def _models(first: Run, second: Run) -> list[Setting]:
    """Return the devices' models and who they are, where they differ; not those that are simulated."""
    devices = [_devices(run) for run in (first, second)]
    models = [
        _told(sorted(str(facts.get("model") or "unknown") for facts in each.values())) for each in devices
    ]
    names = [_told(sorted(each)) for each in devices]
    rows = [("device models", models), ("devices", names)]
    return [Setting("machine", name, list(values)) for name, values in rows if values[0] != values[1]]


def _devices(run: Run) -> dict[str, dict[str, Any]]:
    told = run.facts.get("devices")
    known = told.items() if isinstance(told, dict) else ()
    return {name: facts if isinstance(facts, dict) else {} for name, facts in known}


def _told(values: list[str]) -> str | None:
    counts = Counter(values)
    return ", ".join(f"{n} x {value}" if n > 1 else value for value, n in counts.items()) or None


def _experiments(first: RunSeries, second: RunSeries) -> list[Setting]:
    """Return the arms that change the training itself, where one run has another than the other."""
    arms = [_changing(data) for data in (first, second)]
    return [Setting("experiment", "changes the learning rate", arms)] if arms[0] != arms[1] else []


def _changing(data: RunSeries) -> str | None:
    found = [each.schedule for each in read_experiments(data.marks)]
    changing = [schedule for schedule in found if schedule.arm == _CHANGES_ARITHMETIC]
    return ", ".join(f"seed {schedule.seed}" for schedule in changing) or None
