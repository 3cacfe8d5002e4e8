"""What a process under `thermograd run` knows of its launcher, and tells it."""

import json
import logging
import os
from pathlib import Path

VARIABLE = "THERMOGRAD_AUTORUN"
PLACE = "at "  # begins the word that tells where a run is
is_active = False  # whether torch has been imported in a process of `thermograd run`

_log = logging.getLogger("thermograd")


def name_given(run_id: str) -> str | None:
    """Return the name that the launcher was given for its run; None of another run, or without one."""
    launched = os.environ.get("THERMOGRAD_RUN_ID")
    if not launched or (run_id != launched and not run_id.startswith(f"{launched}-restart")):
        return None
    try:
        options = json.loads(os.environ.get(VARIABLE, "{}"))
        return str(options["name"]) if options.get("is_given") else None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        _log.debug("thermograd cannot read what its launcher says: %s", error)
        return None


def say_run(run_id: str | None, path: Path | None) -> None:
    """Tell the launcher, if there is one, which run this process records, and where."""
    if VARIABLE in os.environ:
        say(f"run {run_id}")
        say(f"{PLACE}{path}")


def say_nothing_written() -> None:
    """Tell the launcher, if there is one, that a run was wanted here and could not be written."""
    if VARIABLE in os.environ:
        say("unwritten")


def say(word: str) -> None:
    """Tell the launcher how far this process has come; where that fails, it says less."""
    try:
        directory = json.loads(os.environ[VARIABLE])["hello"]
        with open(os.path.join(directory, str(os.getpid())), "a", encoding="utf-8") as file:
            file.write(word.replace("\n", " ") + "\n")
    except (OSError, KeyError, ValueError, TypeError) as error:
        _log.debug("thermograd cannot tell its launcher: %s", error)
