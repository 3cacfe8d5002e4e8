"""Recording `fit` of a Keras 3 model with torch below it."""

from functools import partial
from typing import Any

from keras.callbacks import Callback
from thermograd.ingest.callback import TrainerRun, harmless, model_facts


class ThermogradCallback(Callback):  # type: ignore[misc] # keras ships no types
    """Logs every update of a Keras model's optimizer, and what `fit` logs of each epoch.

    Only with ``KERAS_BACKEND=torch``: with another backend there is no step to be seen, and it says so.

    Parameters
    ----------
    name
        What people call the run; default the model's name.
    **options
        ``runs``, ``hz``, ``simulate``, ``layer_norms``, ``on_alert_line``, ``experiment`` as for
        `thermograd.start_run`;
        ``on_alert``, None or a callable that gets each alert as a dictionary, in a thread; ``run``, a run
        that was started elsewhere and is closed there, instead of one of its own.

    Examples
    --------
    ::

        model.fit(x, y, callbacks=[ThermogradCallback()])
    """

    _run_kind = TrainerRun

    def __init__(self, name: str | None = None, runs: Any = None, **options: Any) -> None:
        super().__init__()
        self._training = self._run_kind(name, runs, **options)
        self._tap: Any = None

    @property
    def run(self) -> Any:
        """The run that is being recorded; None before and after the training."""
        return self._training.run

    @harmless
    def on_train_begin(self, logs: Any = None) -> None:
        """Start the run and the tap."""
        facts = partial(_job_facts, self.model, self.params or {})
        self._tap = self._training.open(self.model, facts, deferred_end=False, name=self.model.name)
        self._tap.steps = _updates(self.model.optimizer)  # not 0 where a training is resumed

    @harmless
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch

    @harmless
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tell the tap the epoch, and start the step's clock where something else ran since the last."""
        batches = (self.params or {}).get("steps")
        self._tap.epoch = self._epoch + ((batch + 1) / batches if batches else 0.0)
        self._training.begin_step()

    @harmless
    def on_test_end(self, logs: Any = None) -> None:
        """Mark an evaluation."""
        if self._tap is not None:
            self._training.mark("evaluation", self._tap.latest_step, detail={"metrics": logs or {}})

    @harmless
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log what `fit` logs of the epoch."""
        self._training.log(
            {f"epoch/{name}": value for name, value in (logs or {}).items()}, self._tap.latest_step
        )

    @harmless
    def on_train_end(self, logs: Any = None) -> None:
        """End the run."""
        self._training.close()
        self._tap = None


def _updates(optimizer: Any) -> int:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return int(inner.iterations) // (inner.gradient_accumulation_steps or 1)


def _job_facts(model: Any, params: dict[str, Any]) -> dict[str, Any]:
    optimizer = model.optimizer.get_config() if model.optimizer is not None else None
    return {"model": model_facts(model), "config": {"optimizer": optimizer, "fit": params}}
