"""What applies a schedule inside the training process: follows its steps, and acts between them.

Rank 0 decides the schedule when it has seen how long steps take, and writes it into the run's directory;
the other ranks look for it there. Where steps are given outright (`block_steps`), all know it from the start.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from thermograd.ingest.experiment.arms.arm import Arm, Refusal, Scene
from thermograd.ingest.experiment.devices import wait_for_device
from thermograd.ingest.experiment.following import Following
from thermograd.ingest.experiment.optimizer_hook import OptimizerHook
from thermograd.ingest.experiment.pace import Pace
from thermograd.ingest.experiment.probe import PROBE_S, Probe
from thermograd.ingest.experiment.schedule_file import read_schedule, write_schedule
from thermograd.ingest.experiment.settings import BIN_S, BLOCK_S, PLANNED_SD, ExperimentOptions
from thermograd.store.experiment.draws import new_seed
from thermograd.store.experiment.schedules import Pulses, Schedule, Switchback
from thermograd.store.failures import Guard, guarded, warn

_SLICE_S = 0.2  # a sleep is cut into these: a signal is heard in between, on every system
_AHEAD_STEPS, _AHEAD_S = 10, 5.0  # of several ranks, until all have seen the schedule
_KNOWN_AFTER_STEPS = 3  # steps; by then optimizers and model are known


class Conductor:
    """Conducts one experiment in one process.

    Parameters
    ----------
    options, arm
        What is asked, and who does it.
    scene
        Of the process; `rest` and `typical_step_s` are filled in here.
    run_id
        The same on all ranks.
    mark
        Writes a mark: its kind, step, text, detail; False where it is not in the log.
    skip_time
        Takes so many nanoseconds out of the step under way.
    unseen
        Inside its block nothing counts as training.
    is_losing
        Whether the log cannot be written just now.
    warm_up_steps, warm_up_s
        Before the schedule is decided, both.
    """

    def __init__(
        self,
        options: ExperimentOptions,
        arm: Arm,
        scene: Scene,
        run_id: str,
        mark: Callable[..., object],
        skip_time: Callable[[int], object] = lambda duration_ns: None,
        unseen: Callable[[], AbstractContextManager[object]] = nullcontext,
        warm_up_steps: int = 20,
        warm_up_s: float = 20.0,
        is_losing: Callable[[], bool] = lambda: False,
    ) -> None:
        self.guard = Guard("thermograd could not follow its experiment (%(error)s); training goes on")
        self.last_step: int | None = None  # of the training, where it is known
        self.options, self._arm, self._run_id = options, arm, run_id
        self._mark, self._skip_time, self._unseen = mark, skip_time, unseen
        self._is_losing = is_losing
        self._warm_up_steps, self._warm_up_s = warm_up_steps, warm_up_s
        self._pace = Pace()
        self._closing = Event()
        self._apart_ns = 0
        self._seen: int | None = None
        self._scene = replace(scene, rest=self._rest, typical_step_s=lambda: self._pace.typical_s)
        self._run_dir = Path(scene.run_dir)
        self._is_over = self._is_prepared = self._is_abandoned = False
        self._following: Following | None = None
        self._hook = OptimizerHook(arm) if arm.sees_optimizers else None
        self._probe: Probe | None = None
        if options.plan:
            self._probe = Probe(arm, self._run_dir, scene.rank, self._note, self._apart)

    @property
    def is_over(self) -> bool:
        """Whether nothing is done any more."""
        return self._is_over

    @property
    def schedule(self) -> Schedule | None:
        """The schedule that is followed; None before it is known."""
        return self._following.schedule if self._following is not None else None

    @guarded
    def step_ended(self, step: int | None) -> None:
        """Take that an optimizer step has ended; what is to be done after it is done before this returns."""
        if self._is_over or step is None or step == self._seen:
            return
        self._seen = step
        touched = self._following or self._probe
        busy_s = self._pace.end_step(step, touched is None or not touched.is_touched)
        if self.last_step is not None and step >= self.last_step:
            if self._following is not None:
                self._following.finish(step)
            return  # nothing comes that a gap could be before
        if not self._is_prepared and not self._prepared():
            self._pass_over(step, busy_s)
            return
        if self._following is None:
            self._settle(step, busy_s)
        if self._following is not None:
            self._following.last_step = self.last_step
            self._following.step_ended(step, busy_s)
            if self._following.is_over:
                self._end()

    def begin_step(self) -> None:
        """Begin the step's clock anew: something that is no step has run."""
        self._pace.begin_step()

    @guarded
    def refuse(self, why: str) -> None:
        """End the experiment, before or while it goes on, and say why."""
        if not self._is_over:
            self._say(f"no experiment: {why}", experiment_refused=why)
            self._closing.set()
            self._end(why)

    @guarded
    def close(self, why: str = "the run ended") -> None:
        """Put everything back, for good."""
        if self._is_over:
            if self._following is not None and not self._is_abandoned:
                self._following.tell_unlogged()
            return
        self._closing.set()
        if self._following is None and self._pace.steps:
            text = "the run ended before the experiment began"
            self._mark("note", None, text, {"experiment_ended": why})
        self._end(why)

    def abandon(self) -> None:
        """Do nothing any more: in a forked child, what there is to be put back is the parent's."""
        self._is_abandoned = True
        self._leave()

    def _leave(self) -> None:
        self._is_over = True
        if self._hook is not None:
            self._hook.remove()

    def _end(self, why: str = "the experiment ended") -> None:
        self._leave()
        if self._following is not None:
            self._following.close(why)
        else:
            self._arm.close()

    # -- before the first assignment -----------------------------------------------------------------

    def _prepared(self) -> bool:
        """Whether the arm has seen what it must see; where it refuses, the experiment ends."""
        if self._pace.steps < _KNOWN_AFTER_STEPS:
            return False
        try:
            with self._apart():
                self._is_prepared = self._arm.prepare(self._scene) is not False
        except Refusal as refusal:
            self.refuse(str(refusal))
        except Exception as error:  # an arm's fault ends the experiment; the guard counts it
            self.refuse(f"the arm {self._arm.name} could not begin ({error!r})")
            raise
        if self._is_prepared and self._hook is not None:
            self._hook.place()
        if self._is_prepared and self._following is not None:
            self._following.is_ready = True
        return self._is_prepared

    def _pass_over(self, step: int, busy_s: float | None) -> None:
        """Let what passes while the arm is not ready be marked as assigned, and not applied."""
        if self._following is None and not self._is_over:
            schedule = read_schedule(self._run_dir) or self._given()
            if schedule is None or schedule.arm != self._arm.name or step + 1 < schedule.start_step:
                return
            if self._other_options(schedule):  # refused once it is ready
                return
            self._follow(schedule, is_ready=False)
        if self._following is not None:
            self._following.step_ended(step, busy_s)

    def _settle(self, step: int, busy_s: float | None) -> None:
        """Decide the schedule, or look whether it has been."""
        schedule = read_schedule(self._run_dir) or self._given()
        if schedule is None and self._probe is not None:
            self._go_on_probing(self._probe, step, busy_s)
            if self._probe is not None:
                return
        if schedule is None and self._is_warm() and self._scene.rank == 0:
            schedule = self._decided(step)
            if not self._is_written(schedule, step):
                return
        if schedule is None:
            return
        if schedule.arm != self._arm.name:
            self.refuse(f"the run's directory has one of the arm {schedule.arm!r}; begin another run")
            return
        if said := self._other_options(schedule):
            self.refuse(f"the run's directory has one with {said}; begin another run")
            return
        self._follow(schedule)

    def _is_written(self, schedule: Schedule, step: int) -> bool:
        """Write the schedule; where that fails, a job of one process goes on, another cannot."""
        try:
            write_schedule(self._run_dir, schedule, step_time_s=self._pace.typical_s, decided_at_step=step)
        except OSError as error:
            if self._scene.world_size > 1:
                self.refuse(f"the other ranks cannot be told of the schedule ({error})")
                return False
            self.guard.count(error)
        return True

    def _other_options(self, schedule: Schedule) -> str:
        """Return options of a schedule that is there which the arm has otherwise; warn of another seed."""
        ours, theirs = self._arm.options(), schedule.options
        apart = [name for name in ours if _as_json(ours[name]) != _as_json(theirs.get(name, ours[name]))]
        seed = self.options.seed
        if not apart and seed is not None and seed != schedule.seed and self._scene.rank == 0:
            self._say(
                f"the run's directory has a schedule of seed {schedule.seed}: it is followed, not {seed}"
            )
        return ", ".join(f"{name} {theirs[name]}" for name in apart)

    def _follow(self, schedule: Schedule, is_ready: bool = True) -> None:
        rank = self._scene.rank
        is_given = (self.options.block_steps or self.options.bin_steps) is not None
        if is_given and rank == 0:
            with self.guard:  # for readers and a restart; it is known without the file
                write_schedule(self._run_dir, schedule)
        self._following = Following(schedule, self._arm, self._mark, self._apart, rank, self._is_losing)
        self._following.is_ready = is_ready

    def _given(self) -> Schedule | None:
        """Return the schedule where steps are given outright."""
        design = self._design(self.options.block_steps, self.options.bin_steps)
        if design is None:
            return None
        seed = self.options.seed
        seed = seed if seed is not None else int(hashlib.sha256(self._run_id.encode()).hexdigest()[:7], 16)
        start_step = self.options.start_step or self._warm_up_steps + 1
        return Schedule(self._arm.name, design, seed, start_step, self._told_options())

    def _decided(self, step: int) -> Schedule:
        """Return the schedule by the time that steps take."""
        block_s, bin_s = self.options.block_s or BLOCK_S, self.options.bin_s or BIN_S
        design = self._design(self._in_steps(block_s), self._in_steps(bin_s))
        assert design is not None
        seed = self.options.seed if self.options.seed is not None else new_seed()
        return Schedule(self._arm.name, design, seed, step + self._ahead(), self._told_options())

    def _design(self, block_steps: int | None, bin_steps: int | None) -> Switchback | Pulses | None:
        options = self.options
        if self._arm.design == "switchback":
            return Switchback(block_steps) if block_steps is not None else None
        if bin_steps is None:
            return None
        return Pulses(bin_steps, options.stratum_bins, options.lag_bins, self._arm.kinds)

    def _told_options(self) -> dict[str, Any]:
        """Return the arm's options, and the planned effect where it is the user's own."""
        planned = self.options.effect_sd
        return self._arm.options() | ({"effect_sd": planned} if planned != PLANNED_SD else {})

    def _ahead(self) -> int:
        """Return how many steps ahead something begins that all ranks must have seen by then."""
        return 1 if self._scene.world_size == 1 else max(_AHEAD_STEPS, self._in_steps(_AHEAD_S))

    def _in_steps(self, seconds: float) -> int:
        """Return how many steps take so long, 1 at the least."""
        return max(1, round(seconds / max(self._pace.typical_s or 0.0, 1e-6)))

    def _is_warm(self) -> bool:
        return self._pace.steps >= self._warm_up_steps and self._pace.elapsed_s >= self._warm_up_s

    # -- the probe ---------------------------------------------------------------------------------------

    def _go_on_probing(self, probe: Probe, step: int, busy_s: float | None) -> None:
        """Do what comes before a planned schedule; it is over where no probe is left."""
        try:
            if not probe.is_begun and self._scene.rank == 0 and self._is_warm():
                probe.begin(step + self._ahead(), self._in_steps(PROBE_S))
            probe.look()
            probe.step_ended(step, busy_s)
        except Exception as error:  # the probe's fault ends the experiment; the guard counts it
            self.refuse(f"the probe could not be done ({error!r})")
            raise
        if probe.is_done and self._scene.rank == 0 and (plan := probe.plan()) is not None:
            self._take_plan(plan, step)
        elif probe.is_done and self._scene.rank:
            self._probe = None

    def _take_plan(self, plan: dict[str, Any], step: int) -> None:
        self._probe = None
        times = {  # what the user has said stays
            name: plan[name]
            for name in ("block_s", "bin_s")
            if plan.get(name) is not None and getattr(self.options, name) is None
        }
        try:
            self.options = replace(self.options, **times)
        except ValueError as error:
            self._note(f"the plan of the experiment is not used: {error}", step=step, experiment_plan=plan)
            return
        text = "the plan of the experiment" if plan else "no plan of the experiment came: it begins without"
        self._note(text, step=step, experiment_plan=plan)

    # -- time that is no step's ----------------------------------------------------------------------

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Do something that is neither training nor a step's time, with the device drained on both sides."""
        wait_for_device()  # what it was given belongs to the step
        begun_ns, before_ns = time.monotonic_ns(), self._apart_ns
        try:
            with self._unseen():
                yield
        finally:
            wait_for_device()
            inside_ns = self._apart_ns - before_ns
            self._skip(time.monotonic_ns() - begun_ns - inside_ns)

    def _rest(self, seconds: float) -> float:
        begun_ns = time.monotonic_ns()
        try:
            while (left_s := seconds - (time.monotonic_ns() - begun_ns) / 1e9) > 0:
                if self._closing.wait(min(left_s, _SLICE_S)):
                    break
        finally:
            took_ns = time.monotonic_ns() - begun_ns
            self._skip(took_ns)
        return took_ns / 1e9

    def _skip(self, duration_ns: int) -> None:
        self._apart_ns += duration_ns
        self._pace.skip(duration_ns)
        self._skip_time(duration_ns)

    def _note(self, text: str, *, step: int | None = None, **detail: Any) -> None:
        self._mark("note", step, text, detail)

    def _say(self, text: str, **detail: Any) -> None:
        warn("thermograd: %s", text)
        self._note(text, **detail)


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
