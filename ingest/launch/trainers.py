"""Frameworks under `thermograd run`: their trainers are given a callback of ours, or what they log is logged.

Where the frameworks themselves add callbacks to every Trainer. Called by the ``sitecustomize`` in
``bootstrap`` when a script has imported one of them, and imports nothing more until a Trainer is made.
"""

import functools
import importlib
import inspect
import logging
from types import ModuleType
from typing import Any

from thermograd.store.failures import Guard

_MEGATRON_REPLAYS = "megatron.core.rerun_state_machine"  # a logger
_harmless = Guard("thermograd cannot join this Trainer (%(error)r); its steps are recorded")


@_harmless
def join(module: ModuleType) -> None:
    """Give every Trainer a callback that will be made by this module, which has just been imported."""
    _JOINED.get(module.__name__, _join_lightning)(module)


def _join_transformers(module: Any) -> None:
    module.DEFAULT_CALLBACKS.append(OfTransformers)


def _join_lightning(module: Any) -> None:
    module._load_external_callbacks = _with_ours(module._load_external_callbacks)


def _join_keras(module: Any) -> None:
    """Give what `fit` makes of a model's callbacks ours as well."""
    kind = module.CallbackList
    original = kind.__init__

    @functools.wraps(original)
    def init(self: Any, callbacks: Any = None, *args: Any, **kwargs: Any) -> None:
        with _harmless:
            ours = _kind("thermograd.ingest.keras")()
            ours._training.beside = lambda: self.callbacks
            given = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
            callbacks = [*given, ours] if callbacks else [ours]
        original(self, callbacks, *args, **kwargs)

    kind.__init__ = init


def _join_ultralytics(module: Any) -> None:
    """Give every trainer our callbacks where it is given those of the trackers that are installed."""
    original = module.add_integration_callbacks

    @functools.wraps(original)
    def add_integration_callbacks(instance: Any) -> None:
        original(instance)
        with _harmless:
            if "Trainer" in type(instance).__name__:
                callback = _kind("thermograd.ingest.ultralytics")()
                callback._training.beside = lambda: _owners(instance.callbacks)
                callback.add_to(instance)

    module.add_integration_callbacks = add_integration_callbacks


def _owners(callbacks: Any) -> list[Any]:
    """Return whose methods the callbacks of an Ultralytics trainer are, which keeps them by event."""
    return [getattr(f, "__self__", None) for functions in callbacks.values() for f in functions]


def _join_accelerate(module: Any) -> None:
    """Log what a loop logs through its `Accelerator`, and the configuration that it gives its trackers."""
    _tell(module.Accelerator, "log", lambda self, values, step=None, **_: _log(values, step))
    _tell(module.Accelerator, "init_trackers", lambda self, name, config=None, **_: _configure(config))


def _join_torchtitan(module: Any) -> None:
    """Log what torchtitan works out of its steps; the steps themselves the tap sees."""

    def told(self: Any, step: int, global_avg_loss: Any, global_max_loss: Any, *_: Any, **more: Any) -> None:
        losses = {"global_avg_loss": global_avg_loss, "global_max_loss": global_max_loss}
        _log({**losses, **(more.get("extra_metrics") or {})}, step)

    _tell(module.MetricsProcessor, "log", told)


def _join_megatron(module: Any) -> None:
    """Log the losses that Megatron-LM shares over its ranks; the steps themselves its optimizer tells."""
    from thermograd.ingest.capture import hooks

    replays = logging.getLogger(_MEGATRON_REPLAYS)
    if not any(isinstance(handler, _Replays) for handler in replays.handlers):
        replays.addHandler(_Replays())

    hooks.place_engines()  # its first loss is scaled before a backward pass
    original = module.training_log

    @functools.wraps(original)
    def training_log(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        with _harmless:
            given = inspect.signature(original).bind(*args, **kwargs).arguments
            _log(given["loss_dict"], given["iteration"])
        return result

    module.training_log = training_log


def _tell(kind: Any, name: str, tell: Any) -> None:
    """Let a method of a class, once it has returned, be told of."""
    original = getattr(kind, name)

    @functools.wraps(original)
    def told(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        with _harmless:
            tell(*args, **kwargs)
        return result

    setattr(kind, name, told)


class _Replays(logging.Handler):
    """Keeps what Megatron-LM says of a step that it has run again, as a mark of the rank that says it."""

    def emit(self, record: logging.LogRecord) -> None:
        with _harmless:
            from thermograd.ingest.launch.autorun import launched_run
            from thermograd.store.experiment.replays import replay_of

            said, run = replay_of(record.getMessage()), launched_run()
            if said is not None and run is not None:
                run.mark("note", step=said.step, text=said.text)


def _log(values: Any, step: int | None) -> None:
    from thermograd.ingest.launch.autorun import launched_run

    run = launched_run()
    if run is not None and run.place.rank == 0:
        run.log(dict(values), step=step)


def _configure(config: Any) -> None:
    from thermograd.ingest.launch.autorun import begin, launched_run

    begin()
    run = launched_run()
    if run is not None and config is not None:
        run.configure(config)


_JOINED = {
    "transformers.trainer": _join_transformers,
    "accelerate.accelerator": _join_accelerate,
    "keras.src.callbacks.callback_list": _join_keras,
    "megatron.training.training": _join_megatron,
    "torchtitan.components.metrics": _join_torchtitan,
    "ultralytics.utils.callbacks.base": _join_ultralytics,
}


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
