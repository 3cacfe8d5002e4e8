"""What the callbacks of the training frameworks share: their run, its marks, and the answer to an alert."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thermograd.ingest.experiment.experimenting import checked
from thermograd.ingest.job.notebook import on_failed_cell
from thermograd.ingest.job.on_alert import CheckpointRequest
from thermograd.ingest.job.options import LayerMode, check_options
from thermograd.ingest.job.rank import job_store
from thermograd.ingest.run import Run, running_run, start_run
from thermograd.store.failures import Guard, warn
from thermograd.store.places.place import is_url

if TYPE_CHECKING:
    from thermograd.ingest.capture.tap import StepTap


AlertReaction = Literal["checkpoint"] | Callable[[dict[str, Any]], None]
# of a framework's other version, a method may fail; it must not end the user's training
harmless = Guard("thermograd: %(place)s failed (%(error)r); training goes on")


class TrainingEndedEarly(Exception):
    """What ended a training whose Trainer tells its callbacks nothing of exceptions."""


class TrainerRun:
    """The run of a framework's training: opened when it begins, closed when it ends.

    Options are those of `thermograd.start_run`; `name` is by default the model's class name. `on_alert`:
    ``"checkpoint"`` to write one at the end of the next step, or a callable that gets the alert, in a
    thread; ValueError for anything else. A given `run` was started elsewhere and is closed there; so is one
    that the script has started in this process and not closed.
    """

    _is_asked_for = True  # the steps that the tap sees, by the script

    def __init__(
        self,
        name: str | None = None,
        runs: str | Path | None = None,
        *,
        hz: float = 5.0,
        simulate: str | None = None,
        layer_norms: LayerMode = False,
        on_alert: AlertReaction | None = None,
        on_alert_line: Callable[[str], None] | None = None,
        run: Run | None = None,
        experiment: Any = None,
    ) -> None:
        if not (on_alert is None or on_alert == "checkpoint" or callable(on_alert)):
            raise ValueError(f"on_alert is {on_alert!r}; allowed: None, 'checkpoint', or a callable")
        check_options(hz, layer_norms, simulate)
        self._experiment = checked(experiment)
        self.run = self._given = run
        self._name = name
        self._on_alert = on_alert
        self._request: CheckpointRequest | None = None
        self._options: dict[str, Any] = {"runs": _absolute(runs), "hz": hz, "simulate": simulate}
        self._options |= {"layer_norms": layer_norms, "on_alert_line": on_alert_line}
        self._tap: StepTap | None = None
        self._interrupted = True
        self._has_said = False

    def open(
        self,
        model: Any,
        facts: Callable[[], dict[str, Any]],
        deferred_end: bool,
        name: str | None = None,
        wall_clock: str | None = None,
    ) -> "StepTap":
        """Start the run, or use the one that was given or is under way, and return its tap.

        What `facts` has as ``config`` becomes the run's configuration. `wall_clock`: what of the training
        goes by the clock on the wall, in words; an experiment would change that, and is refused.
        """
        if self.run is not None and self.run.held_by == "callback":
            self.fail(TrainingEndedEarly("the Trainer did not tell why; another training began"))
        self._name = self._name or name
        described = _described(facts)
        config = described.pop("config", None)
        self.run = self._given or self._under_way()
        if self.run is None:
            self.run = self._started(model, described, config)
        else:
            self._join(self.run, described, config)
        if self._on_alert == "checkpoint":
            self._request = CheckpointRequest(_store())
            self.run.alert_tasks.add(self._request.hear)
        elif self._on_alert is not None:
            self.run.alert_tasks.add(self._on_alert)
        self._tap = self.run.tap(deferred_end, self._is_asked_for)
        self.run.name_parameters(model)
        self._begin_experiment(self.run, described.get("max_steps"), wall_clock)
        return self._tap

    def _begin_experiment(self, run: Run, last_step: int | None, wall_clock: str | None) -> None:
        """Begin what is asked for, here or in the environment, as far as the training's clock allows."""
        run.begin_experiments(self._experiment)
        run.expect_last_step(last_step)
        if wall_clock is not None:
            run.refuse_experiment(f"{wall_clock} goes by the wall clock, which gaps and loads would change")

    def _under_way(self) -> Run | None:
        """Return the open run that this training belongs to, which somebody else ends; None without one."""
        return running_run()

    def _join(self, run: Run, facts: dict[str, Any], config: Any) -> None:
        """Record into a run that somebody else ends; mark what it records from here on."""
        run.begin_training(config)
        if run is not self._given or run.trainings > 1:
            facts |= {"trainer": run.trainings}
            run.mark_with("note", None, "a Trainer's steps from here on", facts)

    def _started(self, model: Any, facts: dict[str, Any], config: Any) -> Run:
        name = self._name or type(model).__name__
        run = start_run(name, config=config, facts=facts, **self._options)
        run.held_by = "callback"
        on_failed_cell(self.fail)
        return run

    def begin_step(self) -> None:
        """Start the step's clock anew where something else ran since the last step."""
        if self._interrupted and self._tap is not None:
            self._interrupted = False
            self._tap.begin_step()
            if self.run is not None:
                self.run.begin_step_clock()

    def checkpoint_due(self, step: int) -> bool:
        """Return whether an alert asks for a checkpoint at the end of this step; a note tells which."""
        alert = self._request.due(step) if self._request is not None else None
        if alert is not None:
            self.mark("note", step, f"a checkpoint, because of {alert}")
        return alert is not None

    def mark(
        self, mark: str, step: int, text: str | None = None, detail: Mapping[Any, Any] | None = None
    ) -> None:
        """Mark something that is not a step; its time is no part of the next step's."""
        self._interrupted = True
        if (run := self.run or self._under_way()) is not None:
            run.mark_with(mark, step, text, detail or {})

    def log(self, metrics: Mapping[Any, Any], step: int) -> None:
        """Log what the framework or the script measures besides the steps, on rank 0, as frameworks do."""
        run = self.run or self._under_way()
        if run is None:
            self._say_that_none_is_open()
        elif metrics and run.place.rank == 0:
            run.log(dict(metrics), step=step)

    def _say_that_none_is_open(self) -> None:
        if not self._has_said:
            self._has_said = True
            warn(
                "thermograd: what is evaluated before or after train() is not recorded; "
                "with thermograd.start_run() around all of it, it is"
            )

    def fail(self, error: BaseException, step: int | None = None) -> None:
        """Mark what ended the training, and end the run."""
        if self.run is not None:
            self.run.mark_error(error, step)
        self.close()

    def close(self) -> None:
        """End the run, unless somebody else ends it."""
        run, tap = self.run, self._tap
        self.run, self._tap = self._given, None
        if run is not None and run.held_by == "callback":
            run.close()
        elif tap is not None:
            tap.deferred_end = False  # what the script steps after this training, no callback ends


def _absolute(runs: Any) -> Any:
    """Return a directory as the script means it now, before it changes its own."""
    try:
        is_sent = isinstance(runs, str | Path) and is_url(runs)
        return runs if runs is None or is_sent else Path(runs).absolute()
    except (OSError, TypeError):  # `start_run` says it
        return runs


def _described(facts: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    with Guard("thermograd cannot describe this training (%(error)r); it is recorded without"):
        return facts()
    return {}


def _store() -> Any:
    with Guard("thermograd cannot reach the other processes (%(error)r): each checkpoint is its own"):
        return job_store()
    return None


def model_facts(model: Any) -> dict[str, Any]:
    """Return class and number of parameters of a model, for ``run.json``."""
    return {
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()) if model is not None else None,
    }
