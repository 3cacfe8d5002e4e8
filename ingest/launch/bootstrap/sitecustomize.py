"""Loaded by every Python that a command under ``thermograd run`` starts: waits for torch and for Trainers.

Only the standard library, and little of it: this runs in processes that have nothing to do with training.
A sitecustomize that stands behind this one on the path is loaded too.
"""

import os
import sys


def _say(word: str) -> None:
    """Append to this process's file in the launcher's directory, the only way it can be heard."""
    import json

    directory = json.loads(os.environ["THERMOGRAD_AUTORUN"])["hello"]
    with open(os.path.join(directory, str(os.getpid())), "a", encoding="utf-8") as file:
        file.write(word.replace("\n", " ") + "\n")


def _after_torch() -> None:
    _say("torch")
    try:
        from thermograd.ingest.launch.autorun import activate

        activate()
    except Exception as error:  # noqa: BLE001 - the script must not notice; the launcher says it
        _say(f"failed {sys.executable}: {type(error).__name__}: {error}")


def _after_trainer(name: str) -> None:
    from thermograd.ingest.launch import trainers

    trainers.join(sys.modules[name])


class _Loader:
    """Loads a module as its own loader does, and calls us when that is done."""

    def __init__(self, loader, watch):  # type: ignore[no-untyped-def]
        self._loader, self._watch = loader, watch

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        return getattr(self._loader, name)

    def create_module(self, spec):  # type: ignore[no-untyped-def]
        return self._loader.create_module(spec)

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if module.__name__ in self._watch.names:
            self._watch.names.remove(module.__name__)
            try:
                if module.__name__ == "torch":
                    _after_torch()
                else:
                    _after_trainer(module.__name__)
            except Exception:  # noqa: BLE001 - nobody is left to be told
                pass


class _Watch:
    """Stands first among the finders; merely looking for torch, or for a Trainer, is no load."""

    def __init__(self) -> None:
        self.busy = False
        self.names = {
            "torch",
            "transformers.trainer",
            "lightning.pytorch.trainer.connectors.callback_connector",
            "pytorch_lightning.trainer.connectors.callback_connector",
            "accelerate.accelerator",
            "keras.src.callbacks.callback_list",
            "megatron.training.training",
            "torchtitan.components.metrics",
            "ultralytics.utils.callbacks.base",
        }

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name not in self.names or self.busy:
            return None
        import importlib.util

        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment,no-untyped-call]
        return spec


def _load_shadowed() -> None:
    """Load the sitecustomize that this one stands before, as if it had been found."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [p for p in sys.path if os.path.abspath(p or ".") != here])
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _watch() -> None:
    is_off = os.environ.get("THERMOGRAD_DISABLED", "0") not in ("", "0")
    start = " ".join(getattr(sys, "orig_argv", [])[1:4])
    is_ours = start.startswith(("-m thermograd.", "-P -m thermograd."))
    if "THERMOGRAD_AUTORUN" in os.environ and not is_off and not is_ours:
        _say("hello")
        sys.meta_path.insert(0, _Watch())


try:  # noqa: SIM105 - as above
    _watch()
except Exception:  # noqa: BLE001 - the command must run as if we were not there
    pass
_load_shadowed()
