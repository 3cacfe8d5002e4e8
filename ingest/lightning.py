"""Recording a Lightning `Trainer`, imported as ``lightning`` or as ``pytorch_lightning``."""

import importlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from thermograd.ingest.callback import TrainerRun, harmless, model_facts
from thermograd.store.errors import MissingExtraError

_SETTINGS = (
    "max_epochs", "max_steps", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
    "precision", "num_devices", "num_nodes", "log_every_n_steps", "check_val_every_n_epoch",
    "val_check_interval",
)  # fmt: skip
_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class ThermogradCallback:
    """Logs every optimizer step of a Lightning `Trainer`, automatic or manual optimisation.

    Parameters
    ----------
    name
        What people call the run; default the module's class name.
    **options
        ``runs``, ``hz``, ``simulate``, ``layer_norms``, ``on_alert_line``, ``experiment`` as for
        `thermograd.start_run`;
        ``on_alert``, None, ``"checkpoint"`` (save at the end of the next batch) or a callable that gets
        each alert as a dictionary, in a thread; ``run``, a run that was started elsewhere and is closed
        there, instead of one of its own.

    Raises
    ------
    ValueError
        If `on_alert` is none of these.
    MissingExtraError
        If neither package is installed.

    Notes
    -----
    The two packages have a `Callback` class each. An instance is one of those that are imported when it
    is made, so both kinds of `Trainer` take it.

    Examples
    --------
    ::

        trainer = lightning.Trainer(callbacks=[ThermogradCallback()])
    """

    _run_kind = TrainerRun
    _maker: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "ThermogradCallback":
        """Make an instance that is a `Callback` of the packages in use."""
        if "_run_kind" in vars(cls):
            kind: Any = cls
            return object.__new__(_with_bases(kind, _packages_in_use()))
        return object.__new__(cls)

    def __init__(self, name: str | None = None, runs: Any = None, **options: Any) -> None:
        self._arguments = {"name": name, "runs": runs, **options}
        self._training = self._run_kind(name, runs, **options)
        self._tap: Any = None
        self._last_step = 0

    def __reduce__(self) -> Any:
        """Pickle as what it was made of, for processes that Lightning spawns."""
        return self._maker or partial(ThermogradCallback, **self._arguments), ()

    @property
    def run(self) -> Any:
        """The run that is being recorded; None before and after the training."""
        return self._training.run

    @harmless
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the run and the tap."""
        facts = partial(_job_facts, trainer, pl_module)
        self._tap = self._training.open(pl_module, facts, False, wall_clock=_timer_of(trainer))
        self._tap.expect(*trainer.optimizers)
        self._tap.steps = self._last_step = trainer.global_step  # not 0 where a training is resumed

    @harmless
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Tell the tap the epoch, and start the step's clock where something else ran since the last."""
        batches = trainer.num_training_batches
        part = (batch_idx + 1) / batches if 0 < batches < float("inf") else 0.0
        self._tap.epoch = trainer.current_epoch + part
        self._training.begin_step()

    @harmless
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log what the module has logged of this step; save where an alert asks for it."""
        step = trainer.global_step
        if step == self._last_step:
            return
        self._last_step = step
        if step % max(1, trainer.log_every_n_steps or 1) == 0:
            self._training.log(_just_logged(trainer), step)
        if self._training.checkpoint_due(step):
            folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
            trainer.save_checkpoint(Path(folder) / f"thermograd-step={step}.ckpt")

    @harmless
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Mark an evaluation and log its metrics, but not of the check before training."""
        if not trainer.sanity_checking:
            metrics = dict(trainer.callback_metrics)
            self._training.mark("evaluation", trainer.global_step, detail={"metrics": metrics})
            self._training.log(_just_logged(trainer), trainer.global_step)

    @harmless
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log what the module has logged of the epoch."""
        self._training.log(_just_logged(trainer), trainer.global_step)

    @harmless
    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        """Mark a checkpoint."""
        self._training.mark("checkpoint", trainer.global_step)

    @harmless
    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Mark what ended the training, and end the run."""
        self._training.fail(exception, trainer.global_step)

    @harmless
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the run."""
        self._training.close()


def _packages_in_use() -> tuple[str, ...]:
    """Return the packages that are imported; where none is, the first that can be."""
    if found := tuple(name for name in _PACKAGES if name in sys.modules):
        return found
    for name in _PACKAGES:
        with suppress(ImportError):
            importlib.import_module(name)
            return (name,)
    raise MissingExtraError("Lightning is not installed: install thermograd[lightning]")


@cache
def _with_bases(kind: Any, packages: tuple[str, ...]) -> type[ThermogradCallback]:
    bases = tuple(importlib.import_module(f"{name}.callbacks").Callback for name in packages)
    return type(kind.__name__, (kind, *bases), {"__module__": kind.__module__})


def _just_logged(trainer: Any) -> dict[str, Any]:
    """Return what the module has logged in the loop that runs: an earlier one's are logged already."""
    with suppress(AttributeError, AssertionError, KeyError, TypeError):  # of another version
        return dict(trainer._logger_connector.metrics["callback"])
    return dict(trainer.callback_metrics)


def _timer_of(trainer: Any) -> str | None:
    """Return what ends the training by the clock, in words: a `Timer`, which ``max_time`` adds as well."""
    timers = (callback for callback in trainer.callbacks if type(callback).__name__ == "Timer")
    return "the Trainer's max_time (a Timer callback)" if next(timers, None) is not None else None


def _config(trainer: Any, module: Any) -> dict[str, Any]:
    """Return the module's hyperparameters, beside them the data's and the trainer's own settings."""
    data = getattr(trainer.datamodule, "hparams", None) if trainer.datamodule is not None else None
    settings = {name: getattr(trainer, name, None) for name in _SETTINGS}
    settings["strategy"] = type(trainer.strategy).__name__
    return {**dict(_named(getattr(module, "hparams", {}))), "datamodule": data, "trainer": settings}


def _named(hparams: Any) -> Any:
    return hparams if isinstance(hparams, Mapping) else vars(hparams)


def _job_facts(trainer: Any, module: Any) -> dict[str, Any]:
    return {
        "model": model_facts(module),
        "max_steps": trainer.max_steps if trainer.max_steps and trainer.max_steps > 0 else None,
        "training_arguments": {
            "gradient_clip_val": trainer.gradient_clip_val,
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "precision": str(trainer.precision),
        },
        "config": _config(trainer, module),
    }
