"""Times for the steps of a log without a clock: from when the training began, and how long a step took.

They are estimated, and the run says so wherever it is shown; without a start they are refused.
"""

import math
import shlex
from pathlib import Path

from thermograd.ingest.importers.recording import Hints
from thermograd.ingest.importers.timezones import Moment, read_time
from thermograd.store.errors import ImportFormatError
from thermograd.store.telling.quantities import counted

_FOREVER_NS = 2.0**62
_EXAMPLE = {"--started-at": "2026-11-24T10:00:00Z", "--step-time": "0.5", "--steps-per-epoch": "1000"}
_WORDS = {
    "--step-time": "how many seconds a step took",
    "--steps-per-epoch": "how many steps an epoch has",
}


class StepClock:
    """When things happened in a log that does not say so.

    Where the steps go back by two or more, the training began again: its times go on from the last one.

    Attributes
    ----------
    estimated
        In words, how.
    sessions
        How often it has begun so far.

    Examples
    --------
    >>> clock = StepClock(Moment(0, False), 0.5, "estimated")
    >>> [clock.after(steps).ns / 1e9 for steps in (10, 20, 10, 20)]
    [5.0, 10.0, 15.0, 20.0]
    """

    def __init__(self, began: Moment, step_time_s: float, estimated: str) -> None:
        self.estimated, self.sessions = estimated, 1
        self._began, self._step_time_s = began, step_time_s
        self._before, self._latest, self._apart = 0.0, 0.0, 1.0  # in steps

    def after(self, steps: float) -> Moment:
        """Return when so many steps had been made; steps come in the order of the log."""
        if steps < self._latest - 1:
            self._before += self._latest - steps + self._apart
            self.sessions += 1
        elif self._latest and steps > self._latest:
            self._apart = steps - self._latest
        self._latest = steps
        return self.beside(steps)

    def beside(self, steps: float) -> Moment:
        """Return when so many steps of this session had been made, for what is none of them."""
        return since(self._began, (self._before + steps) * self._step_time_s)


class PassedTime:
    """When things happened in a log that says how many seconds had passed since the training began."""

    def __init__(self, began: Moment) -> None:
        self._began = began
        self._latest_s, self._before_s = 0.0, 0.0
        self.sessions = 1

    def moment(self, passed_s: float | None) -> Moment:
        """Return when it was; where the time starts over, it goes on from the last one.

        What is no number of seconds, is when the last one was.
        """
        if passed_s is not None and 0 <= passed_s < math.inf:
            if passed_s < self._latest_s:
                self._before_s += self._latest_s
                self.sessions += 1
            self._latest_s = passed_s
        return since(self._began, self._before_s + self._latest_s)

    @property
    def doubts(self) -> list[str]:
        """Say that the pauses between sessions are not in the log, where there were several."""
        if self.sessions == 1:
            return []
        again = counted(self.sessions - 1, "time")
        return [f"the time starts over {again}; how long the pauses were is not in it"]


def since(began: Moment, seconds: float) -> Moment:
    """Return the time so many seconds after another; one that no clock shows for what is too many."""
    passed = seconds * 1e9
    return Moment(began.ns + round(passed if passed < _FOREVER_NS else _FOREVER_NS), began.naive)


def started(path: Path, what: str, hints: Hints, *needed: str, rows: str = "steps") -> Moment:
    """Return when the training began, as a person says; a refusal shows the command that says it.

    `what` is the log in words, `rows` what it has, `needed` the options that it takes to time its steps.
    """
    if hints.started_at is None:
        raise ImportFormatError(
            f"{path}: {what} has {rows} but no times, so it is no time series; say when the training began"
            f"{_and_what(needed)}: {command(path, hints, '--started-at', *needed)}"
        )
    began = read_time(hints.started_at)
    if began is None:
        raise ImportFormatError(
            f"--started-at {hints.started_at!r} is no time; give one such as {_EXAMPLE['--started-at']}"
        )
    return began


def _and_what(needed: tuple[str, ...]) -> str:
    words = [_WORDS[option] for option in needed]
    return "".join(f", {word}" for word in words[:-1]) + "".join(f" and {word}" for word in words[-1:])


def command(path: Path, hints: Hints, *options: str) -> str:
    """Return what to type to import a file with options, with an example of each value that is not given."""
    values = {option: [_EXAMPLE[option]] for option in options} | hints.options()
    said = [part for option, texts in values.items() for text in texts for part in (option, text)]
    return shlex.join(["thermograd", "import", str(path), *said])


def given_step_time(hints: Hints) -> float | None:
    """Return how long a step took, as a person says, or refuse what is no time."""
    if hints.step_time_s is not None and not is_positive(hints.step_time_s):
        raise ImportFormatError(f"--step-time {hints.step_time_s} is no number of seconds; give one above 0")
    return hints.step_time_s


def step_clock(path: Path, what: str, hints: Hints, *needed: str, rows: str = "steps") -> StepClock:
    """Return the clock of a log that says nothing of times, or refuse it; see `started`."""
    began = started(path, what, hints, "--step-time", *needed, rows=rows)
    step_time_s = given_step_time(hints)
    if step_time_s is None:
        raise ImportFormatError(
            f"{path}: {what} does not say how long a step took; say so: "
            f"{command(path, hints, '--started-at', '--step-time', *needed)}"
        )
    return StepClock(began, step_time_s, estimate(hints, step_time_s, "as --step-time says"))


def estimate(hints: Hints, step_time_s: float, source: str) -> str:
    """Return in words how times were estimated."""
    return f"estimated: --started-at {hints.started_at} plus {step_time_s:.6g} s a step ({source})"


def is_positive(value: float | None) -> bool:
    """Whether a number is one above 0, and finite."""
    return value is not None and 0 < value < math.inf
