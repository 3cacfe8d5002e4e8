"""What a run sees of a training by itself: the optimizers that are watched, and the tap on them."""

import weakref
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from thermograd.ingest.job.on_alert import AlertTasks
from thermograd.ingest.job.options import LayerMode
from thermograd.ingest.job.rank import Place
from thermograd.ingest.job.recorder import Recorder
from thermograd.store.failures import Guard, guarded, warn
from thermograd.store.lazy_names import no_collection

if TYPE_CHECKING:
    from thermograd.ingest.capture.layer_norms import LayerNorms
    from thermograd.ingest.capture.tap import StepTap
    from thermograd.ingest.experiment.conductor import Conductor


class Watching:
    """The part of a run that taps the training loop; torch is imported when it is first needed."""

    place: Place
    alert_tasks: AlertTasks
    guard: Guard
    _recorder: Recorder
    _layer_mode: LayerMode
    _layers: "LayerNorms | None" = None
    _tap: "StepTap | None" = None
    _has_said = False
    _model: Any = None  # a weak reference to what is trained
    _conductor: "Conductor | None" = None

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether the run records here and has not been closed."""

    @guarded
    def watch(self, *optimizers: Any, model: Any = None, **unknown: Any) -> None:
        """Log every step of an optimizer: loss, norm before clipping, learning rate, step time.

        Needs no other call in the loop. An optimizer is one of torch, a wrapper of one (SAM, Lookahead), a
        scheduler, or your own object with ``step()`` and ``param_groups`` or ``params``. Several in one call
        are one step, with the norm of all; else they are where they use gradients of one backward pass. A
        `model` names the parameters, where layers are measured; given alone, its optimizers are found among
        those that there are. What is none of these is said in a sentence, and left out; so are other
        options, as those of other trackers' ``watch``.
        """
        if self._recorder.is_off():
            return
        if unknown:
            self._say_once(f"watch knows no {', '.join(map(str, unknown))}; it records every step")
        with no_collection():
            from thermograd.ingest.capture import watched

            given = optimizers if model is None else (*optimizers, model)
            for found in watched.watch(self.tap, given, self._say_once):
                self.name_parameters(found)

    def watched_names(self) -> list[str]:
        """Return what is watched, in words."""
        return self._tap.watched_names() if self._tap is not None else []

    def _say_once(self, text: str) -> None:
        """Tell the first of what is wrong with what is watched: the rest is of the same kind."""
        if not self._has_said:
            self._has_said = True
            warn("thermograd: %s", text)

    @guarded
    def name_parameters(self, model: Any) -> None:
        """Name the parameters, for the norms of single layers; remember the model, for an experiment."""
        self._model = weakref.ref(model) if model is not None else self._model
        if self._layers is not None and model is not None:
            self._layers.name(model.named_parameters())

    def tap(self, deferred_end: bool = False, is_asked_for: bool = True) -> "StepTap":
        """Return the started tap of this run; for callbacks that know where a step ends."""
        if not self._recorder.is_off() and is_asked_for:
            self._recorder.trust_tap()
        tap = self._started_tap()
        tap.deferred_end = tap.deferred_end or deferred_end
        return tap

    def _started_tap(self) -> "StepTap":
        if self._tap is None:
            from thermograd.ingest.capture.layer_norms import LayerNorms
            from thermograd.ingest.capture.tap import StepTap

            recorder = self._recorder
            if self._layer_mode:
                self._layers = LayerNorms(self._layer_mode == "after_spike", recorder.note)
                self.alert_tasks.add(self._layers.hear)
            tap = StepTap(recorder.tapped, self.place.rank, note=recorder.note, layers=self._layers)
            tap.on_step = self._conductor.step_ended if self._conductor is not None else None
            if recorder.last_number is not None:
                tap.steps = recorder.last_number
            if recorder.writer is not None and self.is_open:
                tap.start()
            self._tap = tap
        return self._tap

    def _tapped_step(self) -> int | None:
        return self._tap.latest_step if self._tap is not None else None

    def _stop_tap(self) -> None:
        if self._tap is not None:
            self._tap.stop()
            self._recorder.end_tap(self._tap.guard.failures, self._tap.never_stepped())
