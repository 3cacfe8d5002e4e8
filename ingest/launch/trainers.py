"""Trainers of Hugging Face and Lightning under `thermograd run`: each is given a callback of ours.

Where the frameworks themselves add callbacks to every Trainer. Called by the ``sitecustomize`` in
``bootstrap`` when a script has imported one of them, and imports nothing more until a Trainer is made.
"""

import functools
import importlib
from types import ModuleType
from typing import Any

from thermograd.store.failures import Guard

_harmless = Guard("thermograd cannot join this Trainer (%(error)r); its steps are recorded")


@_harmless
def join(module: ModuleType) -> None:
    """Give every Trainer a callback that will be made by this module, which has just been imported."""
    if module.__name__ == "transformers.trainer":
        module.DEFAULT_CALLBACKS.append(OfTransformers)
    else:
        module._load_external_callbacks = _with_ours(module._load_external_callbacks)  # type: ignore[attr-defined]


class OfTransformers:
    """What a Trainer takes for the class of a callback: makes ours, or one that does nothing."""

    def __new__(cls) -> Any:
        """Make the callback."""
        with _harmless:
            return _kind("thermograd.ingest.huggingface")()
        return importlib.import_module("transformers").TrainerCallback()


def _with_ours(load: Any) -> Any:
    """Return what loads a Trainer's further callbacks with ours among them."""

    @functools.wraps(load)
    def load_with_ours(*args: Any, **kwargs: Any) -> Any:
        found = load(*args, **kwargs)
        with _harmless:
            return [*found, of_lightning()]
        return found

    return load_with_ours


def of_lightning() -> Any:
    """Return a callback for a Trainer of Lightning."""
    return _kind("thermograd.ingest.lightning")()


@functools.cache
def _kind(module: str) -> Any:
    """Return a framework's callback, of a class of its own and with the launcher's run."""
    from thermograd.ingest.launch.launched_training import LaunchedTraining

    callback = importlib.import_module(module).ThermogradCallback
    own = {"_run_kind": LaunchedTraining, "_maker": staticmethod(of_lightning), "__module__": __name__}
    return type("LaunchedCallback", (callback,), own)
