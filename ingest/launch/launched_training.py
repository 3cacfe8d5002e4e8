"""A framework's training under `thermograd run`: it records into the launcher's run, which outlives it."""

from collections.abc import Callable, Iterable
from typing import Any

from thermograd.ingest.callback import TrainerRun
from thermograd.ingest.capture.framework_steps import calling_trainer
from thermograd.ingest.launch.autorun import begin, launched_run
from thermograd.ingest.run import Run, running_run


class LaunchedTraining(TrainerRun):
    """The part of one Trainer in the launcher's run; none where the script records itself.

    That is where it has started a run, or given this Trainer a callback of ours.
    """

    _is_asked_for = False
    beside: Callable[[], Iterable[Any]] | None = None  # the callbacks of the same training, where known

    def _under_way(self) -> Run | None:
        return launched_run() if self._is_wanted() else None

    def _started(self, model: Any, facts: dict[str, Any], config: Any) -> Run:
        if not self._is_wanted():
            return Run(None, None)
        begin(facts)
        run = launched_run()
        if run is None:
            return Run(None, None)
        run.begin_training(config)
        return run

    def _is_wanted(self) -> bool:
        callbacks = self.beside() if self.beside is not None else _callbacks_of(calling_trainer())
        others = (getattr(callback, "_training", None) for callback in callbacks)
        is_given = any(isinstance(other, TrainerRun) and other is not self for other in others)
        return not is_given and running_run() is None

    def _say_that_none_is_open(self) -> None:
        if self._is_wanted():
            super()._say_that_none_is_open()


def _callbacks_of(trainer: Any) -> Iterable[Any]:
    return getattr(getattr(trainer, "callback_handler", trainer), "callbacks", None) or []
