"""The process that ships what is left when nobody is there any more who would wait for it."""

import subprocess
import sys
from pathlib import Path

_TARGET = "target.json"  # see `thermograd.store.shipping.spool`: whose imports are too many for an exit


def start_rest(run_dir: Path) -> None:
    """Start a process that ships a run to its end; nobody waits for it, and it holds no pipe of ours.

    Nothing where the run goes to no URL.
    """
    if (run_dir.parent / _TARGET).is_file():
        subprocess.Popen(
            [sys.executable, "-P", "-m", "thermograd.cli", "ship-rest", str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=run_dir.parent,
        )
