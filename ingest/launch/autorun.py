"""Recording a script that does not know of it: what happens inside a process of ``thermograd run``.

`thermograd.ingest.launch.launcher` starts the command; the ``sitecustomize`` in ``bootstrap`` calls
`activate` once torch is imported. The run starts with the first backward pass or optimizer step. A
script that calls `thermograd.start_run` itself, or uses a callback, gets that same run.
"""

import json
import os
from typing import TYPE_CHECKING, Any

from thermograd.ingest.job import launcher_link
from thermograd.ingest.launch.seeding import seed_as_told

if TYPE_CHECKING:
    from thermograd.ingest.run import Run


def activate() -> None:
    """Watch for the first step of this process; torch has just been imported."""
    from thermograd.ingest.capture import hooks

    launcher_link.is_active = True
    seed_as_told()
    hooks.on_first_use(begin)


def begin(facts: dict[str, Any] | None = None) -> None:
    """Start the run that the launcher asked for, unless the script has started one."""
    if launcher_link.VARIABLE not in os.environ:
        return
    try:
        from thermograd.ingest.run import running_run, shared_run, start_run

        if shared_run() is not None:
            return
        if (own := running_run()) is not None:  # started before torch was imported
            own.share()
            return
        options = json.loads(os.environ[launcher_link.VARIABLE])
        told = options.get("facts")
        given = {**(told if isinstance(told, dict) else {}), **(facts or {})} or None
        run = start_run(options["name"], hz=float(options["hz"]), facts=given)
        run.held_by = "launcher"
        run.believe_tap()
    except Exception as error:  # noqa: BLE001 - the script must train on as if we were not there; the launcher is told
        launcher_link.say(f"failed {type(error).__name__}: {error}")


def launched_run() -> "Run | None":
    """Return the open run that the launcher has started; None where there is none, or the script holds it."""
    from thermograd.ingest.run import shared_run

    run = shared_run()
    return run if run is not None and run.is_open and run.held_by == "launcher" else None
