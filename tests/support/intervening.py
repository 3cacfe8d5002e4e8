"""An arm that writes down what it is asked for, a conductor around it, and the experiment in its marks."""

import json
import time

from thermograd.ingest.experiment.arms.arm import Arm, Done, Refusal, Scene
from thermograd.ingest.experiment.conductor import Conductor
from thermograd.ingest.experiment.settings import ExperimentOptions
from thermograd.store.experiment.marks import read_experiments


class Told(Arm):
    """Appends each call to `log`, together with the marks; `faults` are the calls that raise."""

    name = "duty"
    design = "switchback"

    def __init__(self, log=None, faults=(), answers=()):
        self.log = log if log is not None else []
        self.faults, self.answers = faults, list(answers)

    def _tell(self, *call):
        self.log.append(call)
        if call[0] in self.faults:
            raise RuntimeError(f"{call[0]} fails")

    def prepare(self, scene):
        self.scene = scene
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, str):
            raise Refusal(answer)
        self._tell("prepare")
        return answer

    def begin(self, assignment):
        self._tell("begin", assignment.index, assignment.level or assignment.kind)

    def pulse(self, assignment):
        self._tell("pulse", assignment.pulse_step)

    def after_step(self, step, busy_s):
        self._tell("after", step)

    def end(self):
        self._tell("end")
        return Done()

    def close(self):
        self._tell("close")


class Conducted:
    """A conductor with an arm that tells, its marks as rows, and its steps by hand."""

    def __init__(self, run_dir, arm=None, rank=0, world_size=1, warm_up_s=0.0, **options):
        self.marks, self.skipped_ns = [], 0
        self.is_full = False  # the disk
        self.arm = arm if arm is not None else Told()
        scene = Scene(rank=rank, world_size=world_size, run_dir=run_dir, note=self._note)
        self.conductor = Conductor(
            ExperimentOptions(**options),
            self.arm,
            scene,
            "a run",
            self._mark,
            self._skip,
            warm_up_steps=4,
            warm_up_s=warm_up_s,
        )

    def _mark(self, mark, step, text, detail):
        if self.is_full:
            return False
        if isinstance(self.arm, Told):
            self.arm.log.append(("mark", text))
        now = {"time_ns": time.time_ns(), "monotonic_ns": time.monotonic_ns()}
        self.marks.append({"mark": mark, "step": step, "text": text, "detail": json.dumps(detail), **now})
        return True

    def _note(self, text, *, step=None, **detail):
        self._mark("note", step, text, detail)

    def _skip(self, duration_ns):
        self.skipped_ns += duration_ns

    def step_to(self, last, first=None):
        """Let steps end up to this one."""
        begin = first if first is not None else getattr(self, "next", 1)
        for step in range(begin, last + 1):
            self.conductor.step_ended(step)
        self.next = last + 1

    @property
    def texts(self):
        return [mark["text"] for mark in self.marks]

    @property
    def recorded(self):
        (recorded,) = read_experiments(self.marks)
        return recorded

    def calls(self, *names):
        return [call for call in self.arm.log if call[0] in names]
