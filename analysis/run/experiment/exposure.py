"""Which steps and samples an experiment is about, and what each was assigned: by intention to treat."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from thermograd.analysis.arrays import Floats, Ints, Times
from thermograd.analysis.run.series import RunSeries
from thermograd.store.experiment.marks import Recorded
from thermograd.store.experiment.schedules import Assignment, Pulses, Schedule, Switchback
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable

SIGNALS = ("temperature_c", "power_w", "sm_clock_mhz", "utilization_pct")  # of a device, that are tested
_LONGEST_REASON = 200
_NEAR = 3  # sampling periods between two readings that still make a line
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Stretch:
    """One assignment, and when it held."""

    assignment: Assignment
    first_time_ns: int
    last_time_ns: int
    pulse_time_ns: int | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """For figures; of a pulse ``pulse_time_ns`` is None where its step was not done."""
        told = {"first_time_ns": self.first_time_ns, "last_time_ns": self.last_time_ns}
        if self.assignment.level:
            return told | {"level": self.assignment.level, "index": self.assignment.index}
        pulse = {"kind": self.assignment.kind, "pulse_time_ns": self.pulse_time_ns}
        return told | pulse | {"index": self.assignment.index}


@dataclass(frozen=True, eq=False)
class Exposure:
    """An experiment with the steps of its run that count.

    Attributes
    ----------
    recorded
        As the marks tell it.
    step, row
        Shape (n,): numbers of the steps from the experiment's first on, ascending, and their rows in the
        run's table; of a step that was done again after a restart the last.
    again
        How many rows were done again.
    """

    data: RunSeries
    recorded: Recorded
    step: Ints
    row: Ints
    again: int

    @property
    def schedule(self) -> Schedule:
        """The schedule that the seed draws."""
        return self.recorded.schedule

    @property
    def step_time_ns(self) -> Times:
        """When each of the steps ended."""
        return self.data.step_time_ns[self.row]

    @property
    def last_index(self) -> int:
        """The last assignment that was logged, or that was told later for want of space; -1 for none."""
        return max((*self.recorded.assigned, *self.recorded.applied), default=-1)

    @cached_property
    def units(self) -> int:
        """How many pairs of blocks, or strata, were completed: from the first on, all of their steps done.

        The incomplete last one is left out: that it ended where it did may be the intervention's doing.
        """
        if not self.step.size:
            return 0
        done = int(self.step[-1]) - self.schedule.start_step + 1
        stretches = min(done // self.schedule.design.stretch_steps, self.last_index + 1)
        return stretches // self.blocks_per_unit

    @property
    def blocks_per_unit(self) -> int:
        """How many assignments a unit has: the two blocks of a pair, a stratum."""
        return 2 if isinstance(self.schedule.design, Switchback) else 1

    @cached_property
    def counted(self) -> slice:
        """The steps of completed units."""
        last = self.schedule.start_step + (
            self.units * self.blocks_per_unit * self.schedule.design.stretch_steps
        )
        return slice(0, int(np.searchsorted(self.step, last)))

    @cached_property
    def stretches(self) -> list[Stretch]:
        """Every assignment that was logged, in order, and when it held."""
        if not self.step.size:
            return []
        run_end = int(self.step_time_ns[-1])
        told = [self.schedule.assignment(index) for index in range(self.last_index + 1)]
        begun = [self._begun_ns(each) for each in told]
        ends = [*begun[1:], max(run_end, begun[-1])] if begun else []
        last = told[-1].last_step if told else 0
        if told and self.step[-1] > last:
            ends[-1] = int(self.step_time_ns[np.searchsorted(self.step, last, side="right") - 1])
        pulses = map(self._pulse_ns, told)
        return [Stretch(*each) for each in zip(told, begun, ends, pulses, strict=True)]

    def _pulse_ns(self, assignment: Assignment) -> int | None:
        """Return when the step ended after which a pulse comes."""
        if assignment.pulse_step is None:
            return None
        place = int(np.searchsorted(self.step, assignment.pulse_step))
        is_done = place < self.step.size and self.step[place] == assignment.pulse_step
        return int(self.step_time_ns[place]) if is_done else None

    def _begun_ns(self, assignment: Assignment) -> int:
        """Return when an assignment began: its mark's time, or the end of the step before it."""
        known = self.recorded.assigned.get(assignment.index)
        if known is not None:
            return known.time_ns
        before = int(np.searchsorted(self.step, assignment.first_step)) - 1
        return int(self.step_time_ns[max(before, 0)])

    def block_of(self, times: Times) -> Ints:
        """Return the block, of completed pairs, that each time lies in; -1 for none."""
        stretches = self.stretches[: self.units * self.blocks_per_unit]
        if not stretches:
            return np.full(times.size, -1, dtype=np.int64)
        begun = np.array([each.first_time_ns for each in stretches])
        block = np.searchsorted(begun, times, side="right").astype(np.int64) - 1
        block[times > stretches[-1].last_time_ns] = -1
        return block

    def applied(self) -> int:
        """Return how many of the assignments were applied as a whole."""
        return sum(self._is_whole(each.assignment) for each in self.stretches)

    def _is_whole(self, assignment: Assignment) -> bool:
        done = self.recorded.applied.get(assignment.index)
        if done is None or any(failed.index == assignment.index for failed in self.recorded.failures):
            return False
        if isinstance(self.schedule.design, Pulses):
            return done.steps >= 1
        return done.steps >= self.schedule.design.stretch_steps

    def not_applied(self) -> list[str]:
        """Return a sentence for each assignment that was not applied as a whole, and why."""
        told = []
        what = "block" if isinstance(self.schedule.design, Switchback) else "pulse"
        for stretch in self.stretches:
            assignment = stretch.assignment
            if self._is_whole(assignment):
                continue
            named = f"{what} {assignment.index + 1} ({assignment.level or assignment.kind})"
            told += [f"{named.capitalize()}: {why}." for why in self._reasons(assignment)]
        return told

    def _reasons(self, assignment: Assignment) -> list[str]:
        index = assignment.index
        failed = [each for each in self.recorded.failures if each.index == index]
        if failed:
            return [
                f"rank {f.rank}: {printable(f.failed or '', _LONGEST_REASON).rstrip('.')}" for f in failed
            ]
        done = self.recorded.applied.get(index)
        if done is None:
            if index not in self.recorded.assigned:
                return ["its mark is missing in the log"]
            return ["the log does not say that it was applied"]
        if assignment.level is not None:
            return [f"applied in {done.steps} of {counted(self.schedule.design.stretch_steps, 'step')}"]
        return ["not given"]


def exposures(data: RunSeries, experiments: Sequence[Recorded]) -> list[Exposure]:
    """Return each experiment of a run with its steps: those that were done before another one began."""
    begun = [min((each.time_ns for each in one.assigned.values()), default=0) for one in experiments]
    return [
        _exposure(data, one, begin, min((other for other in begun if other > begin), default=_NEVER))
        for one, begin in zip(experiments, begun, strict=True)
    ]


def _exposure(data: RunSeries, recorded: Recorded, begin_ns: int, end_ns: int) -> Exposure:
    times, steps = data.step_time_ns, _steps(data)
    there = (times > begin_ns) & (times <= end_ns) & (steps >= recorded.schedule.start_step)
    rows = np.flatnonzero(there)
    order = np.lexsort((rows, steps[rows]))  # by step, of equal ones as logged
    numbers = steps[rows][order]
    last = np.append(np.diff(numbers) > 0, True) if numbers.size else np.zeros(0, dtype=bool)
    return Exposure(data, recorded, numbers[last], rows[order][last], int((~last).sum()))


def _steps(data: RunSeries) -> Ints:
    """Return the steps' numbers; -1 where one is not known."""
    column = data.steps.column("step")
    return np.asarray(column.fill_null(-1), dtype=np.int64)


def bin_edges_ns(exposure: Exposure) -> Times:
    """Return where the bins of completed strata begin, and where the last ends; shape (bins + 1,).

    A bin begins when its first step has ended, which is when a pulse in it comes.
    """
    design = exposure.schedule.design
    assert isinstance(design, Pulses)
    bins = exposure.units * design.stratum_bins
    first = exposure.schedule.start_step + np.arange(bins + 1) * design.bin_steps
    place = np.searchsorted(exposure.step, first).clip(max=exposure.step.size - 1)
    edges: Times = exposure.step_time_ns[place]
    return edges


def binned(times: Times, values: Floats, edges: Times) -> Floats:
    """Return a sensor's mean in each bin; shape (bins,).

    A bin without a reading has what lies on the line between the readings around its middle where both
    are near, NaN where not.
    """
    known = np.isfinite(values)
    times, values = times[known], values[known]
    bins = edges.size - 1
    if times.size < 2 or bins < 1:
        return np.full(max(bins, 0), np.nan)
    place = np.searchsorted(edges, times, side="left") - 1  # ]begin, end]
    inside = (place >= 0) & (place < bins)
    counts = np.bincount(place[inside], minlength=bins)
    sums = np.bincount(place[inside], values[inside], minlength=bins)
    middle = (edges[:-1] + edges[1:]) // 2
    after = np.searchsorted(times, middle).clip(1, times.size - 1)
    near = times[after] - times[after - 1] <= _NEAR * max(float(np.median(np.diff(times))), 1.0)
    near &= (middle >= times[0]) & (middle <= times[-1])
    line = np.where(near, np.interp(middle, times, values), np.nan)
    return np.where(counts > 0, sums / np.maximum(counts, 1), line)
