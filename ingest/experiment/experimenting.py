"""The part of a run that lets a schedule be applied to its training: `Run.experiment`."""

import os
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.ingest.job.rank import Place
from thermograd.ingest.job.recorder import Recorder
from thermograd.store.failures import Guard, guarded, warn

if TYPE_CHECKING:
    from thermograd.ingest.experiment.conductor import Conductor
    from thermograd.ingest.experiment.settings import ExperimentOptions

_VARIABLE = "THERMOGRAD_EXPERIMENT"  # of `settings`, which is loaded where it is set
_OFF = ("", "0")


class Experimenting:
    """Begins an experiment, and tells its conductor of the steps; without one, a step costs one check."""

    place: Place
    guard: Guard
    run_id: str | None
    _recorder: Recorder
    _tap: Any = None
    _model: Any = None  # a weak reference
    _conductor: "Conductor | None" = None

    @property
    @abstractmethod
    def path(self) -> Path | None:
        """Where the run is."""

    def experiment(self, arm: Any = None, /, **options: Any) -> None:
        """Let the training be intervened in by a schedule drawn by chance, which the log holds.

        ``run.experiment("duty", block_s=60)``, before or while steps are made. Every process of a job calls
        it with the same options. What the environment asks for (``thermograd experiment -- COMMAND``) comes
        first. What cannot be done safely is refused with a sentence on stderr and in a `note` mark;
        training goes on.

        Parameters
        ----------
        arm
            ``"duty"`` (by default: idle gaps), ``"shadow"``, ``"burner"``, ``"cap"`` or ``"lr"``; or a
            mapping of the options.
        **options
            As in `thermograd.ingest.experiment.settings.ExperimentOptions`.

        Raises
        ------
        ValueError
            If an option is none of what is allowed.
        """
        self._experiment(parsed(arm, options), is_called=True)

    def _experiment(self, options: "ExperimentOptions", is_called: bool = False) -> None:
        """Begin an experiment of checked options, unless there is one; ValueError of what its arm refuses."""
        if self._conductor is not None:
            if is_called or self._conductor.options != options:  # else a second training of the same run
                what = "it is over, and another takes another run" if self._conductor.is_over else "it stays"
                known = self._conductor.options.arm
                warn("thermograd: the run has an experiment already (%s); %s", known, what)
            return
        from thermograd.ingest.experiment.arms.arm import Scene
        from thermograd.ingest.experiment.arms.registry import make_arm
        from thermograd.ingest.experiment.conductor import Conductor

        arm = make_arm(options)
        if self._recorder.is_off() or self.path is None:
            return
        scene = Scene(
            self.place.rank,
            self.place.local_rank,
            self.place.world_size,
            self.path,
            lambda: self._model() if self._model is not None else None,
            lambda: self._tap.optimizers() if self._tap is not None else [],
            self._recorder.note,
        )
        self._conductor = Conductor(
            options,
            arm,
            scene,
            self.run_id or "",
            self._recorder.mark,
            self._skip_time,
            self._unseen,
            is_losing=lambda: self._recorder.is_losing,
        )
        if self._tap is not None:
            self._tap.on_step = self._conductor.step_ended
        if options.wall_clock_schedule:
            self.refuse_experiment(
                "the training has a schedule by the wall clock, which gaps and loads would change"
            )

    @guarded
    def begin_experiments(self, wanted: "ExperimentOptions | None" = None) -> None:
        """Begin what the environment asks for, or else what is wanted.

        What the environment cannot mean is said, and left out.
        """
        text = os.environ.get(_VARIABLE, "").strip()
        if text not in _OFF and self._conductor is None:
            try:
                self._experiment(parsed(text, {}))
            except ValueError as error:
                warn("thermograd: no experiment: $%s: %s", _VARIABLE, error)
        if wanted is not None:
            self._experiment(wanted)

    @guarded
    def refuse_experiment(self, why: str) -> None:
        """End the experiment, if there is one, and say why it cannot be done."""
        if self._conductor is not None:
            self._conductor.refuse(why)

    @guarded
    def expect_last_step(self, step: int | None) -> None:
        """Let nothing come after the training's last step."""
        if self._conductor is not None:
            self._conductor.last_step = step

    def begin_step_clock(self) -> None:
        """Begin the coming step's clock here, where something has run that is no step."""
        if self._conductor is not None:
            self._conductor.begin_step()

    def _stop_experiment(self) -> None:
        if self._conductor is not None:
            self._conductor.close()

    def _abandon_experiment(self) -> None:
        """In a forked child: what was changed is the parent's to put back."""
        if self._conductor is not None:
            self._conductor.abandon()
            self._conductor = None

    def _skip_time(self, duration_ns: int) -> None:
        self._recorder.skip_time(duration_ns)
        if self._tap is not None:
            self._tap.skip_time(duration_ns)

    def _unseen(self) -> AbstractContextManager[Any]:
        if self._tap is None:
            return nullcontext()
        from thermograd.ingest.capture.situation import unseen  # imports torch, as the tap has

        return unseen()


def parsed(given: Any, options: Mapping[str, Any]) -> "ExperimentOptions":
    """Return the options of an experiment, given in any way; ValueError in one sentence."""
    from thermograd.ingest.experiment.settings import ExperimentOptions

    if not options and given is not None:
        return ExperimentOptions.parse(given)
    if given is None or isinstance(given, str):
        named = {"arm": given} if given is not None else {}
        return ExperimentOptions.parse(named | dict(options))
    if isinstance(given, ExperimentOptions):
        given = given.to_json()
    return ExperimentOptions.parse({**given, **options} if isinstance(given, Mapping) else given)


def checked(given: Any) -> "ExperimentOptions | None":
    """Return the options of an experiment, None where none is wanted; ValueError as the arm has it, too."""
    if given is None:
        return None
    from thermograd.ingest.experiment.arms.registry import make_arm

    options = parsed(given, {})
    make_arm(options)
    return options
