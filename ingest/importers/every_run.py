"""Importing each run of a store into a run of its own."""

from pathlib import Path
from typing import Any

from thermograd.ingest.importers.hints.given import NO_HINTS
from thermograd.ingest.importers.import_logs import describe_import, import_run
from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.registry import stored_runs
from thermograd.ingest.importers.stores.runs import EVERY, deleted_runs
from thermograd.store.errors import ImportFormatError
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable


def import_every_run(
    runs_dir: Path,
    paths: list[Path],
    training: Path | None = None,
    telemetry: Path | None = None,
    timezone: str | None = None,
    name: str | None = None,
    hints: Hints = NO_HINTS,
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Import each run of a store that is not deleted; of one that cannot be, the answer says why.

    Takes what `import_run` takes; where there is a name, each run has its own behind it.

    Returns
    -------
    list
        What `import_run` returns, one a run; of a run without a usable row ``stored_run``, ``stored_name``
        and ``refused``.

    Raises
    ------
    ImportFormatError
        If no path holds several runs, or none of them can be imported.
    """
    stored = [(path, run) for path in paths for run in stored_runs(path)]
    if not stored:
        names = ", ".join(map(str, paths))
        raise ImportFormatError(f"--run {EVERY} is for a store that holds several runs, but {names} is none")
    answers: list[dict[str, Any]] = []
    for path, run in stored:
        if run.is_deleted:
            continue
        called = None if name is None else f"{name} {run.name or run.id}"
        try:
            own = hints._replace(run=run.id)
            answers.append(import_run(runs_dir, [path], training, telemetry, timezone, called, own, dry_run))
        except ImportFormatError as error:
            answers.append({"stored_run": run.id, "stored_name": run.name, "refused": str(error)})
    if all("refused" in answer for answer in answers):
        told = "; ".join(
            [f"run {_called(answer)}: {answer['refused']}" for answer in answers]
            or deleted_runs([run for _, run in stored])
        )
        raise ImportFormatError(f"none of {counted(len(stored), 'run')} can be imported: {told}")
    return answers


def describe_imports(result: dict[str, Any] | list[dict[str, Any]]) -> str:
    """Return what `import_run` or `import_every_run` returned as text."""
    return "\n".join(
        f"Not imported: run {_called(answer)}: {answer['refused']}"
        if "refused" in answer
        else describe_import(answer)
        for answer in (result if isinstance(result, list) else [result])
    )


def _called(answer: dict[str, Any]) -> str:
    """Return the id of a run that was refused, and its name where it has another one."""
    names = dict.fromkeys(name for name in (answer["stored_run"], answer["stored_name"]) if name)
    return " ".join(printable(name, 60) for name in names)
