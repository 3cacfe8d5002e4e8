"""What those ask who need not ship themselves: whether a run goes to a URL; and who ships what is left.

Imports nothing else of shipping: a training process and an agent of a run that stays here load only this.
"""

import subprocess
import sys
from pathlib import Path

TARGET = "target.json"  # in a spool folder: where its runs go


def is_spool(folder: Path) -> bool:
    """Return whether the runs of a folder go to a URL."""
    return (folder / TARGET).is_file()


def start_rest(run_dir: Path) -> None:
    """Start a process that ships a run to its end; nobody waits for it, and it holds no pipe of ours.

    Nothing where the run goes to no URL.
    """
    if is_spool(run_dir.parent):
        subprocess.Popen(
            [sys.executable, "-P", "-m", "thermograd.cli", "ship-rest", str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=run_dir.parent,
        )
