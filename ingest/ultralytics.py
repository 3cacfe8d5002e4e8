"""Recording a training of Ultralytics: its own callbacks, its own steps."""

from functools import partial
from typing import Any

from thermograd.ingest.callback import TrainerRun, harmless, model_facts


class ThermogradCallback:
    """Logs every optimizer step of an Ultralytics trainer, and the metrics of each epoch.

    Parameters
    ----------
    name
        What people call the run; default the training's own name.
    **options
        ``runs``, ``hz``, ``simulate``, ``layer_norms``, ``on_alert_line``, ``experiment`` as for
        `thermograd.start_run`;
        ``on_alert``, None or a callable that gets each alert as a dictionary, in a thread; ``run``, a run
        that was started elsewhere and is closed there, instead of one of its own.

    Notes
    -----
    On several GPUs Ultralytics starts processes of its own, which do not get a script's callbacks: record
    them with ``thermograd run -- yolo train ...``.

    Examples
    --------
    ::

        model = YOLO("yolo11n.pt")
        ThermogradCallback().add_to(model)
        model.train(data="coco8.yaml")
    """

    _run_kind = TrainerRun

    def __init__(self, name: str | None = None, runs: Any = None, **options: Any) -> None:
        self._training = self._run_kind(name, runs, **options)
        self._tap: Any = None
        self._told = -1  # the epoch

    def __deepcopy__(self, memo: Any) -> "ThermogradCallback":
        """Stay the same where Ultralytics copies its trainer."""
        return self

    @property
    def run(self) -> Any:
        """The run that is being recorded; None before and after the training."""
        return self._training.run

    def add_to(self, model: Any) -> None:
        """Add the callbacks to a model, or to a trainer."""
        for event in _EVENTS:
            model.add_callback(event, getattr(self, event))

    @harmless
    def on_train_start(self, trainer: Any) -> None:
        """Start the run and the tap."""
        name = getattr(trainer.args, "name", None)
        facts = partial(_job_facts, trainer)
        clock = "the trainer's time (hours of training)" if getattr(trainer.args, "time", None) else None
        self._tap = self._training.open(trainer.model, facts, False, name, clock)
        self._tap.expect(trainer.optimizer)

    @harmless
    def on_train_epoch_start(self, trainer: Any) -> None:
        """Remember the epoch; what ran since the last step is no part of the next."""
        self._batches = 0

    @harmless
    def on_train_batch_start(self, trainer: Any) -> None:
        """Tell the tap the epoch, and start the step's clock where something else ran since the last."""
        self._batches += 1
        self._tap.epoch = trainer.epoch + self._batches / max(1, len(trainer.train_loader))
        self._training.begin_step()

    @harmless
    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Mark an evaluation, and log the epoch's losses and metrics."""
        if self._tap is None:  # the last one, of the best weights
            return
        step = self._tap.latest_step
        metrics = dict(trainer.metrics or {})
        if trainer.epoch != self._told:  # else the best weights once more
            metrics |= trainer.label_loss_items(trainer.tloss, prefix="train")
            self._told = trainer.epoch
        self._training.mark("evaluation", step, detail={"metrics": metrics})
        self._training.log(metrics, step)

    @harmless
    def on_model_save(self, trainer: Any) -> None:
        """Mark a checkpoint."""
        self._training.mark("checkpoint", self._tap.latest_step)

    @harmless
    def on_train_end(self, trainer: Any) -> None:
        """End the run."""
        self._training.close()
        self._tap = None


_EVENTS = (
    *("on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_fit_epoch_end"),
    *("on_model_save", "on_train_end"),
)


def _job_facts(trainer: Any) -> dict[str, Any]:
    return {"model": model_facts(trainer.model), "config": dict(vars(trainer.args))}
