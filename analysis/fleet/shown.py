"""What ``show`` prints of a run, kept of one that has ended until a file of it changes."""

from functools import partial
from pathlib import Path
from typing import Any

from thermograd.analysis.fleet.population.place import kept_path
from thermograd.store.console import json_text
from thermograd.store.log.reading.held import held_count
from thermograd.store.places.shipped import shipped_s_ago
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.kept.settled import SettledAnswers
from thermograd.store.shipping.spool import shipping_of

_MOST_KEPT = 1 << 20  # characters


def shown_text(run: Run, as_json: bool = False, every_alert: bool = False) -> str:
    """Return what is told of a run: one JSON document, or text with its alerts as episodes, or every one."""
    find = partial(_text, run, as_json, every_alert)
    if shipping_of(run) or shipped_s_ago(run.path) is not None or held_count(run.path):
        return find()  # it tells how long ago something was
    kept = SettledAnswers(run.path, "shown")
    name = f"{as_json} {every_alert} {run.path}"
    text = kept.answer(run, name, find, [str(Path(kept_path(run.path.parent)).absolute())], _is_short)
    kept.save()
    return str(text)


def _is_short(text: str) -> bool:
    return len(text) <= _MOST_KEPT


def _text(run: Run, as_json: bool, every_alert: bool) -> str:
    from thermograd.store.runs.describe import describe_run

    shown = run_shown(run)
    return json_text(shown) if as_json else describe_run(shown, every_alert)


def run_shown(run: Run) -> dict[str, Any]:
    """Gather all that is told of a run."""
    from thermograd.analysis.fleet.devices.beside import peer_lines
    from thermograd.analysis.fleet.population.beside import population_lines
    from thermograd.analysis.run.incident.incident import incident_shown
    from thermograd.store.runs.describe import run_facts_shown

    shown = run_facts_shown(run) | {"incident": incident_shown(run), "shipping": shipping_of(run)}
    return shown | {"population": population_lines(run), "peers": peer_lines(run)}
