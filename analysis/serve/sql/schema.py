"""What there is to ask: the views with their columns and meanings, and questions that people ask."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from thermograd.store.events import KINDS, columns
from thermograd.store.query.sandbox import FOR_STRANGERS, answer

_OF_A_VIEW = {
    "runs": "a run",
    "steps": "an optimizer step of a rank",
    "samples": "a reading of a device",
    "alerts": "an alert",
    "episodes": "alike alerts without a long quiet between",
    "marks": "something that happened: a checkpoint, an evaluation, a note",
    "metrics": "a value that the script logged itself",
    "aligned": "a step with the nearest sample of each device",
    "efficiency": "how efficient a device was at a sample",
    "throttling": "a device and a cause of throttling",
    "findings": "a pair of signals, or a run, of the last analysis of all runs",
    "config": "a value of a run's configuration",
    "labels": "what a host is called: rack, switch, ...",
}
_MACROS = {
    "aligned_with(tolerance_s)": "as aligned, with another tolerance",
    "around(moment, seconds)": "events near a time, or near the alert of that seq",
}
_KINDS_OF = {f"{kind}s": (kind,) for kind in KINDS} | {
    "aligned": ("step", "sample"),
    "efficiency": ("sample",),
}
_ELSEWHERE = {
    "run_id": "the run",
    "writer": "the process that wrote it",
    "time": "when, UTC",
    "dt_s": "sample's time minus step's, s",
    "rle": "efficiency: what the device gives for what it takes",
    "share": "of the time that was observed",
    "duration_s": "how long the run took, or takes so far, s",
    "verdict": "of the run's report; null where there is none",
    "observed_s": "time in which the device told, s",
}
_SCHEMA_SQL = (
    "SELECT table_name, column_name, data_type FROM duckdb_columns() "
    "WHERE NOT internal AND NOT starts_with(table_name, '_') ORDER BY table_name, column_index"
)
# It is no stranger's query: where a training takes all cores its process begins late.
_OURS = replace(FOR_STRANGERS, timeout_s=120.0)


def views_told(empty: Path) -> dict[str, Any]:
    """Return the views with their columns, types and meanings, as a connection over no runs has them."""
    of_a_view: dict[str, list[dict[str, str]]] = {}
    for row in json.loads(b"".join(answer(_SCHEMA_SQL, empty, "json", _OURS))):
        name = row["column_name"]
        told = {"name": name, "type": row["data_type"], "meaning": _meaning(row["table_name"], name)}
        of_a_view.setdefault(row["table_name"], []).append(told)
    order = [
        *(view for view in _OF_A_VIEW if view in of_a_view),
        *sorted(of_a_view.keys() - _OF_A_VIEW.keys()),
    ]
    views = [{"name": view, "row": _OF_A_VIEW.get(view, ""), "columns": of_a_view[view]} for view in order]
    macros = [{"name": name, "row": row, "columns": []} for name, row in _MACROS.items()]
    return {"views": views + macros}


def _meaning(view: str, name: str) -> str:
    of_events = {column.name: column.meaning for kind in _KINDS_OF.get(view, ()) for column in columns(kind)}
    return of_events.get(name) or _ELSEWHERE.get(name, "")


def examples() -> list[dict[str, str]]:
    """Return questions with the queries that answer them."""
    text = (files("thermograd.analysis.serve") / "templates" / "examples.sql").read_text(encoding="utf-8")
    parts = [part.split("\n", 1) for part in text.strip().removeprefix("-- ").split("\n\n-- ")]
    return [{"question": question, "sql": sql.strip()} for question, sql in parts]
