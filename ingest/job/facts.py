"""Static facts about the training process, for ``run.json``."""

import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

from thermograd.store.failures import Guard, warn
from thermograd.store.log.plain import PlainValues, said
from thermograd.store.secrets import hidden_arguments, hidden_values
from thermograd.store.version import __version__

_PACKAGES = (
    "torch", "transformers", "accelerate", "lightning", "pytorch-lightning", "numpy", "pyarrow", "river"
)  # fmt: skip
_questions = Guard(
    "thermograd could not ask what runs here: %(error)s", logging.getLogger("thermograd").debug
)
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")


def plain_facts(given: Any, ours: dict[str, Any], is_quick: bool = False) -> tuple[dict[str, Any], int]:
    """Return what describes a run, the user's own facts last, as JSON knows it; and what had to be left out.

    Whatever the user has given: facts that are no dictionary are said and left out, secrets are not kept.
    `is_quick` is for `run_facts`.
    """
    is_dictionary = issubclass(type(given), dict)
    if given is not None and not is_dictionary:
        warn("thermograd: facts is %s; allowed: a dictionary", said(given))
    plain = PlainValues()
    facts = run_facts(is_quick) | {"started_time_ns": time.time_ns()} | ours
    theirs = hidden_values((is_dictionary and plain.make(given)) or {}, [])
    return plain.make(facts) | theirs, plain.left_out


def run_facts(is_quick: bool = False) -> dict[str, Any]:
    """Return what describes this process: command, versions, git state, its place in the job.

    `is_quick`: whether files differ from the commit is left null, for the agent to answer: in a large
    repository that takes seconds.
    """
    asked: dict[str, Any] = {"versions": {}, "git": None}
    # in a thread, where no signal handler runs: the standard library swallows the error of an alarm there
    thread = threading.Thread(target=_ask, args=(asked, is_quick), name="thermograd-facts", daemon=True)
    thread.start()
    thread.join()
    return {
        "thermograd_version": __version__,
        "argv": _arguments(),
        **asked,
        "environment": {name: os.environ[name] for name in _RANK_VARIABLES if name in os.environ},
    }


def _arguments() -> list[Any]:
    """Return the command's words, without secrets; none where they cannot be read: better none than one."""
    with _questions:
        return hidden_arguments(getattr(sys, "argv", []))
    return []


def _ask(answers: dict[str, Any], is_quick: bool) -> None:
    answers |= {"versions": _versions(), "git": _git_state(is_quick)}


def _versions() -> dict[str, str]:
    from importlib import metadata  # of which an agent, that only asks git, has no use

    found = {}
    for name in _PACKAGES:
        with _questions:  # not installed, or no longer whole
            found[name] = metadata.version(name)
    return found


def _git_state(is_quick: bool) -> dict[str, Any] | None:
    """Return commit and whether files differ from it, of the working directory; None outside git."""
    with _questions:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": None if is_quick else has_changes()}
    return None


def has_changes(timeout_s: float = 2.0) -> bool | None:
    """Return whether files of the working directory differ from the commit; None where git does not say."""
    with _questions:
        return bool(_git("status", "--porcelain", "--untracked-files=no", timeout_s=timeout_s))
    return None


def _git(*words: str, timeout_s: float = 2.0) -> str:
    result = subprocess.run(["git", *words], capture_output=True, timeout=timeout_s, check=True)
    return result.stdout.decode("utf-8", "replace").strip()
