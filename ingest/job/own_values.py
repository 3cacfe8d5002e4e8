"""What a script records of its own: marks, numbers by name, and the configuration that it ran with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from thermograd.ingest.job.configuration import configuration, told
from thermograd.ingest.job.rank import Place
from thermograd.ingest.job.recorder import Recorder
from thermograd.store.failures import Guard, guarded
from thermograd.store.log.plain import said

_CALL = 'call it as run.log({"accuracy": 0.3}, step=7)'


def _by_name(metrics: Any, more: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, list[Any]]:
    """Return values by name, also those of a call with one name and its value, and what else it gives."""
    rest = list(more)
    if issubclass(type(metrics), str):
        if rest:
            return {metrics: rest[0]}, rest[1:]
        if len(named) == 1 and "value" in named:
            return {metrics: named.pop("value")}, rest
    return metrics, rest


_MISSING = object()


class OwnValues(ABC):
    """The part of a `Run` that takes what the script itself measures and decides."""

    guard: Guard
    place: Place
    _recorder: Recorder
    trainings = 0  # of a framework, begun in this run
    _first_training: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def _tapped_step(self) -> int | None:
        """Return the number of the last step that the tap has seen."""

    @property
    @abstractmethod
    def path(self) -> Path | None:
        """Where the run lies on disk; None where it is not recorded."""

    @property
    def lost(self) -> int:
        """Events of this process that could not be written."""
        return self._recorder.writer.lost if self._recorder.writer is not None else 0

    @property
    def values_left_out(self) -> int:
        """Values that could not be written; the events that they were in are there."""
        return self._recorder.left_out.failures

    @guarded
    def log(self, metrics: Any = None, /, *more: Any, step: int | None = None, **named: Any) -> None:
        """Log numbers of your own by name: ``run.log({"accuracy": 0.91, "eval/loss": 2.1})``.

        One number may be given by its name, ``run.log("accuracy", 0.91)``.

        Nested dictionaries become names with ``/``; texts are kept, True is 1, None and NaN are what they
        are; a number on a GPU is read when it is there, without waiting. All else (lists, images), names of
        more than 512 characters and more than 10,000 names are left out, counted, and said once.

        Parameters
        ----------
        metrics, **named
            Values by name; or one name.
        *more
            The value of that name; then the step, if it is not named.
        step
            Optimizer steps so far; where not given, the last step that was logged, null before the first.
        """
        metrics, rest = _by_name(metrics, more, named)
        if rest and step is None:
            step, *rest = rest
        if rest and self._recorder.writer is not None:
            self._recorder.left_out.count(
                f"run.log was given {said(rest[0])} too many; {_CALL}", "metrics, more"
            )
        if named and metrics is not None and not issubclass(type(metrics), str):
            metrics = {**metrics, **named}
        self._recorder.log(named if metrics is None else metrics, step, self._tapped_step())

    @guarded
    def configure(self, config: Any = None, /, **named: Any) -> None:
        """Add to the configuration that `start_run` was given; in a job of several processes, on rank 0.

        Takes what ``start_run(config=...)`` takes. What is added last counts.
        """
        for given in (config, named or None):
            if given is not None and self.place.rank == 0 and (values := told(configuration(given))):
                self._recorder.mark("config", None, None, values)

    @guarded
    def configure_training(self, config: Any) -> None:
        """Add the configuration of a framework's training; of a second one, what differs from the first's.

        That stands under ``trainer_2``, and so on: the first's is kept.
        """
        given = configuration(config)
        self.trainings += 1
        if self.trainings == 1:
            self._first_training = told(given)
            self.configure(given.values)
        elif differing := _differing(given.values, self._first_training):
            self.configure({f"trainer_{self.trainings}": differing})

    @guarded
    def tag(self, *tags: str, note: str | None = None) -> None:
        """Give the run tags, and a note; ``thermograd tag`` does so at any time. Only rank 0's count.

        A tag is at most 64 characters without commas. One that is none is said once and left out.
        """
        from thermograd.store.runs.tags import change_tags

        if self.path is not None and self.place.rank == 0:
            change_tags(self.path, tags, note=note, patience_s=0.1)

    @guarded
    def mark(self, /, mark: str, step: int | None = None, text: str | None = None, **detail: Any) -> None:
        """Log that something happened: a checkpoint, an evaluation, an injected fault, a note.

        The detail is kept as JSON: tensors and numpy's numbers as numbers, what JSON does not know as text.
        """
        self._recorder.mark(mark, step, text, detail)

    @guarded
    def mark_with(self, mark: str, step: int | None, text: str | None, detail: Mapping[Any, Any]) -> None:
        """Log a mark whose detail has names of its own, as a framework's metrics have."""
        self._recorder.mark(mark, step, text, dict(detail))


def _differing(values: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not the first's, also inside nested ones."""
    differing = {}
    for name, value in values.items():
        before = first.get(name, _MISSING)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inside := _differing(value, before):
                differing[name] = inside
        elif repr(value) != repr(before):  # 1 is not True, and NaN is NaN
            differing[name] = value
    return differing
