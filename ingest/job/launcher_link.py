"""What a process under `thermograd run` knows of its launcher, and tells it."""

import json
import logging
import os

VARIABLE = "THERMOGRAD_AUTORUN"
is_active = False  # whether torch has been imported in a process of `thermograd run`

_log = logging.getLogger("thermograd")


def say(word: str) -> None:
    """Tell the launcher how far this process has come; where that fails, it says less."""
    try:
        directory = json.loads(os.environ[VARIABLE])["hello"]
        with open(os.path.join(directory, str(os.getpid())), "a", encoding="utf-8") as file:
            file.write(word.replace("\n", " ") + "\n")
    except (OSError, KeyError, ValueError, TypeError) as error:
        _log.debug("thermograd cannot tell its launcher: %s", error)
