"""What a run says of itself to a person: the line at its start, its `repr`, its face in a notebook."""

import html
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from thermograd.ingest.job import launcher_link
from thermograd.store.card.switch import card_is_wanted
from thermograd.store.failures import Guard
from thermograd.store.runs.catalogue import Run as StoredRun
from thermograd.store.shipping.handover import is_spool
from thermograd.store.text import printable, slug

_log = logging.getLogger("thermograd")
_LONGEST_PATH = 4096
_unsaid = Guard("thermograd could not say where it records: %(error)s", _log.debug)


def say_where(run: Any) -> None:
    """Say on stderr where a run is, unless warnings of the logger ``thermograd`` are turned off."""
    if run.path is not None and not run.place.rank and _log.isEnabledFor(logging.WARNING):
        with _unsaid:  # notebooks and test runners replace stderr
            sys.stderr.write(f"thermograd: recording to {_place(run.path)}{_numbered(run.path)}\n")
            sys.stderr.flush()


def wants_card(run: Any) -> bool:
    """Return whether the end of a run is to be told here: once a job, and not by `thermograd run` as well."""
    if run.place.rank or launcher_link.VARIABLE in os.environ or not card_is_wanted():
        return False
    return _log.isEnabledFor(logging.WARNING)


def _place(path: Path) -> str:
    """Return where a run goes: to a URL by way of a directory here, or to that directory."""
    if not is_spool(path.parent):
        return _shown(path)
    from thermograd.store.shipping.spool import target_of

    return f"{target_of(path)}/{path.name}, by way of {_shown(path)}"


def _numbered(path: Path) -> str:
    """Return the name that a run got where the one it was given is another run's."""
    name = StoredRun(path).name
    return "" if f"-{slug(name)}-" in path.name or name == path.name else f' as "{printable(name)}"'


def text_of(run: Any) -> str:
    """Return a run in one line: whether it records, how many steps of what, and where."""
    if run.path is None:
        return "<thermograd run: records nothing>"
    return f"<thermograd run {printable(run.run_id)}: {_state(run)}, {_steps(run)}, in {_shown(run.path)}>"


def html_of(run: Any) -> str:
    """Return a run as a notebook shows it, with what to click or type next."""
    if run.path is None:
        return "<div><b>thermograd run</b>: records nothing</div>"
    report = run.path / "report" / "report.html"
    seen = "report" if report.is_file() else "directory"
    link = _link(report if report.is_file() else run.path, seen)
    lines = [
        f"<b>thermograd run</b> {_escaped(run.run_id)}: {_escaped(_state(run))}, {_escaped(_steps(run))}",
        f"{link}: {_escaped(_shown(run.path))}",
        f"<code>{_escaped(_command(run))}</code>",
    ]
    return f"<div>{'<br>'.join(lines)}</div>"


def _state(run: Any) -> str:
    agent = ", devices sampled" if run.agent is not None else ""
    return f"recording{agent}" if run.is_open else "ended"


def _steps(run: Any) -> str:
    names = run.watched_names()
    of = f" of {', '.join(names)}" if names else ""
    count = "1 step" if run.steps == 1 else f"{run.steps:,} steps"
    return printable(f"{count}{of}")


def _command(run: Any) -> str:
    assert run.path is not None
    return f"thermograd --runs {shlex.quote(_shown(run.path.parent))} report {run.run_id}"


def _shown(path: Path) -> str:
    """Return a path as a terminal may show it, from the working directory where it lies below that."""
    shown = os.fspath(path)
    with _unsaid:  # the working directory may be gone
        if path.is_relative_to(Path.cwd()):
            shown = os.fspath(path.relative_to(Path.cwd()))
    return printable(shown, _LONGEST_PATH)


def _link(path: Path, text: str) -> str:
    return f'<a href="{_escaped(path.as_uri())}">{_escaped(text)}</a>'


def _escaped(text: object) -> str:
    return html.escape(str(text))
