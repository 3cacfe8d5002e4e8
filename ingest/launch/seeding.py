"""The seed of a twin: told to the script in its environment, and, where that is asked for, set in it."""

import logging
import os
import random
import sys
from collections.abc import Mapping

SEED = "THERMOGRAD_TWIN_SEED"
SEEDS_SCRIPT = "THERMOGRAD_TWIN_SEEDS_SCRIPT"  # 1: seed torch, numpy and random as torch is imported
_HASH = "PYTHONHASHSEED"

_log = logging.getLogger("thermograd")


def seed_environment(
    seed: int | None, default: int = 0, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the variables that are the same in both runs of a twin; `seed` is set in the script, too.

    A hash seed that the user has set stays.
    """
    told = {SEED: str(default if seed is None else seed)}
    if environment.get(_HASH, "random") == "random":
        told[_HASH] = told[SEED]
    return told if seed is None else told | {SEEDS_SCRIPT: "1"}


def seed_as_told() -> None:
    """Seed torch, numpy and random where a twin is to have it so; torch has just been imported."""
    if os.environ.get(SEEDS_SCRIPT) != "1":
        return
    try:
        seed = int(os.environ[SEED])
        random.seed(seed)
        sys.modules["torch"].manual_seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed)
    except (KeyError, ValueError, AttributeError) as error:
        _log.warning("thermograd could not seed this process: %s", error)
