"""Recording a Hugging Face `Trainer`: one line, every optimizer step."""

import functools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from thermograd.ingest.callback import TrainerRun, harmless, model_facts
from thermograd.ingest.job.ends.ending import insisted
from transformers import TrainerCallback

_ARGUMENTS = (
    "seed", "learning_rate", "max_grad_norm", "gradient_accumulation_steps", "per_device_train_batch_size"
)  # fmt: skip
_OF_A_STEP = ("loss", "grad_norm", "learning_rate", "epoch", "step")  # columns that every step has itself


class ThermogradCallback(TrainerCallback):  # type: ignore[misc] # transformers ships no types
    """Logs every optimizer step of a `Trainer`, whatever its ``logging_steps`` is.

    Norms are those before clipping, from where the Trainer itself computes them; the loss is the
    step's own objective, also where the Trainer's log averages it or filters a NaN.

    Parameters
    ----------
    name
        What people call the run; default the arguments' ``run_name``, or the model's class name.
    **options
        ``runs``, ``hz``, ``simulate``, ``layer_norms``, ``on_alert_line``, ``experiment`` as for
        `thermograd.start_run`;
        ``on_alert``, None, ``"checkpoint"`` (save at the end of the next step) or a callable that gets
        each alert as a dictionary, in a thread; ``run``, a run that was started elsewhere and is closed
        there, instead of one of its own.

    Raises
    ------
    ValueError
        If `on_alert` is none of these.

    Examples
    --------
    ::

        trainer = Trainer(model, args, train_dataset=data, callbacks=[ThermogradCallback()])
    """

    _run_kind = TrainerRun

    def __init__(self, name: str | None = None, runs: Any = None, **options: Any) -> None:
        self._training = self._run_kind(name, runs, **options)
        _hear_of_failures()
        self._logged: tuple[int, frozenset[str]] = (-1, frozenset())  # the last log's step, and its names

    @property
    def run(self) -> Any:
        """The run that is being recorded; None before and after the training."""
        return self._training.run

    @harmless
    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Be able to hear of an exception, also where this was made before the Trainer was imported."""
        _hear_of_failures()

    @harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Start the run and the tap."""
        facts = partial(_job_facts, args, state, model)
        self._tap = self._training.open(model, facts, deferred_end=True, name=_run_name(args))
        self._tap.expect(kwargs.get("optimizer"))

    @harmless
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the step's clock anew where something else ran since the last step."""
        self._training.begin_step()

    @harmless
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the step under the Trainer's own number and epoch; save where an alert asks for it."""
        self._tap.finish_step(state.global_step, state.epoch)
        if self._training.checkpoint_due(state.global_step):
            control.should_save = True

    @harmless
    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Log what the Trainer logs and no step has: evaluations, the script's own, the summary."""
        logs = logs or {}
        self._logged = state.global_step, frozenset(logs)
        own = {name: value for name, value in logs.items() if name not in _OF_A_STEP}
        self._training.log(own, state.global_step)

    @harmless
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Mark an evaluation; log of its metrics those that the Trainer has not just logged."""
        self._training.mark("evaluation", state.global_step, detail=metrics)
        step, names = self._logged
        new = {n: v for n, v in (metrics or {}).items() if n not in (*_OF_A_STEP, *names)}
        self._training.log(new if step == state.global_step else metrics or {}, state.global_step)

    @harmless
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mark a checkpoint."""
        self._training.mark("checkpoint", state.global_step)

    @harmless
    def on_exception(self, exception: BaseException, step: int | None) -> None:
        """Mark what ended the training, and end the run; the Trainer itself does not call this."""
        self._training.fail(exception, step)

    @harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run."""
        self._training.close()


@harmless
def _hear_of_failures() -> None:
    """Overhear the exceptions of `Trainer.train`, of which a Trainer tells its callbacks nothing."""
    kind = getattr(sys.modules.get("transformers.trainer"), "Trainer", None)
    if kind is not None and not hasattr(kind.train, "is_overheard"):
        kind.train = _overheard(kind.train)


def _overheard(train: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `train` that tells our callbacks what it raises, and is not in the traceback."""

    @functools.wraps(train)
    def overheard(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return train(trainer, *args, **kwargs)
        except BaseException as error:  # told to our callbacks, and raised on
            insisted(partial(_tell, trainer, error))
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            raise

    overheard.is_overheard = True  # type: ignore[attr-defined]
    return overheard


@harmless
def _tell(trainer: Any, error: BaseException) -> None:
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ThermogradCallback):
            callback.on_exception(error, trainer.state.global_step)


def _run_name(args: Any) -> str | None:
    """Return what the arguments call the run; by default that is its directory, which is no name."""
    name = getattr(args, "run_name", None)
    return name if isinstance(name, str) and name != getattr(args, "output_dir", None) else None


def _job_facts(args: Any, state: Any, model: Any) -> dict[str, Any]:
    return {
        "model": model_facts(model),
        "max_steps": state.max_steps,
        "training_arguments": {name: getattr(args, name, None) for name in _ARGUMENTS},
        "config": args,
    }
