"""Static facts about the training process, for ``run.json``."""

import os
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from typing import Any

from thermograd.store.version import __version__

_PACKAGES = (
    "torch", "transformers", "accelerate", "lightning", "pytorch-lightning", "numpy", "pyarrow", "river"
)  # fmt: skip
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")


def run_facts() -> dict[str, Any]:
    """Return what describes this process: command, versions, git state, its place in the job."""
    return {
        "thermograd_version": __version__,
        "argv": sys.argv,
        "versions": _versions(),
        "git": _git_state(),
        "environment": {name: os.environ[name] for name in _RANK_VARIABLES if name in os.environ},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _git_state() -> dict[str, Any] | None:
    """Return commit and whether files differ from it, of the working directory; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    result = subprocess.run(["git", *words], capture_output=True, text=True, timeout=2, check=True)
    return result.stdout.strip()
