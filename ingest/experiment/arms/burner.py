"""The burner: in hot blocks a process beside the training works, and heats what the training runs on.

It competes: a step may take longer in a hot block because cores, memory or the GPU are shared. Step time is
then an outcome of this arm, and no control.
"""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil
from thermograd.ingest.experiment.arms.arm import Arm, Done, Refusal, Scene
from thermograd.ingest.experiment.arms.training_gpus import gpus_of_parameters
from thermograd.store.experiment.schedules import Assignment

_SCRIPT = Path(__file__).with_name("burning.py")
_ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_START_S = 120.0  # torch and CUDA on a slow disk
_END_S = 1.0


class BurnerArm(Arm):
    """Lets a low-priority process work beside the training in hot blocks.

    A training whose parameters are on a GPU gets a loop of matrix products on that GPU; any other one
    process whose threads work on cores of this machine, started by local rank 0.

    Parameters
    ----------
    load
        Share of the cores that is loaded, each wholly; of a GPU the share of the time. Above 0, up to 1.
    """

    name: ClassVar[str] = "burner"
    design: ClassVar[str] = "switchback"

    def __init__(self, load: float = 0.5) -> None:
        self._load = load
        self._pid = os.getpid()
        self._loads: list[_Load] | None = None
        self._begun_s = 0.0
        self._level: str | None = None
        self._steps = 0
        self._used_s = 0.0
        self._failed: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the arm; ValueError where `load` is no share."""
        load = options.get("load")
        if load is None:
            return cls()
        is_number = isinstance(load, int | float) and not isinstance(load, bool)
        if not is_number or not math.isfinite(load) or not 0 < load <= 1:
            raise ValueError(f"load is {load!r}; allowed: a share of the cores, above 0 and up to 1")
        return cls(float(load))

    def options(self) -> dict[str, Any]:
        """Return the load, and that step time is an outcome here: the load competes for the machine."""
        return {"load": self._load, "step_time_is": "outcome"}

    def prepare(self, scene: Scene) -> bool | None:
        """Start the load, at rest; False until it is ready."""
        if self._loads is None:
            self._pid, self._begun_s = os.getpid(), time.monotonic()
            self._loads = []
            try:
                self._start(scene)
            except OSError as error:
                raise Refusal(f"no process can be started for a load beside the training: {error}") from None
        words = [load.said for load in self._loads]
        wrong = next((word for word in words if word not in (None, "ready")), None)
        if wrong is None and None in words and time.monotonic() - self._begun_s > _START_S:
            wrong = f"not ready after {_START_S:.0f} s"
        if wrong is not None:
            self.close()
            raise Refusal(f"the load beside the training does not work: {wrong or 'it ended at once'}")
        return None if None not in words else False

    def _start(self, scene: Scene) -> None:
        assert self._loads is not None
        gpus = gpus_of_parameters(scene.model(), scene.optimizers()) or []
        for uuid in gpus:
            self._loads.append(_Load("gpu", self._load, {"CUDA_VISIBLE_DEVICES": uuid}))
        if not gpus and scene.local_rank == 0:
            self._loads.append(_Load(cores_for(self._load), self._load, _ALONE))
        if self._loads:
            told = ", ".join(load.text for load in self._loads)
            scene.note(
                f"a load beside the training works in hot blocks ({told}); it competes: step time is an "
                "outcome of this arm, and no control",
                burner=[{"pid": load.process.pid, "places": load.places} for load in self._loads],
            )

    def begin(self, assignment: Assignment) -> None:
        """Let the load work in a hot block."""
        self._level, self._steps, self._failed = assignment.level, 0, None
        if self._pid != os.getpid():
            return
        self._used_s = sum(load.used_s() for load in self._loads or ())
        if self._level == "hot":
            self._tell(b"1")

    def after_step(self, step: int, busy_s: float | None) -> None:
        """Count the step while the load is as it should be."""
        if self._failed is None:
            self._steps += 1

    def end(self) -> Done:
        """Let the load rest; say how much it has worked."""
        if self._level is None or self._pid != os.getpid():
            return Done()
        self._tell(b"0")
        ended = [load for load in self._loads or () if load.process.poll() is not None]
        if ended:
            self._failed = f"the load has ended, with exit code {ended[0].process.returncode}"
        used_s = sum(load.used_s() for load in self._loads or ()) - self._used_s
        failed = self._failed if self._level == "hot" else None
        steps = self._steps if failed is None else 0
        detail = {"load_cpu_s": round(max(0.0, used_s), 3)} if self._loads and not ended else {}
        self._level = None
        return Done(steps=steps, failed=failed, detail=detail)

    def _tell(self, word: bytes) -> None:
        for load in self._loads or ():
            if not load.tell(word) and self._failed is None:
                self._failed = "the load has ended"

    def close(self) -> None:
        """End the load; without effect in a forked child."""
        loads, self._loads = self._loads or [], []
        if self._pid == os.getpid():
            for load in loads:
                load.end()


class _Load:
    """One process beside the training, in a group of its own."""

    def __init__(self, places: str, load: float, environment: dict[str, str]) -> None:
        self.places = places
        command = [sys.executable, "-P", str(_SCRIPT), str(os.getpid()), places, str(load)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"THERMOGRAD_DISABLED": "1"} | environment,
        )
        self.said: str | None = None
        threading.Thread(target=self._listen, name="thermograd-burner", daemon=True).start()

    @property
    def text(self) -> str:
        """Where it works, for people."""
        if self.places == "gpu":
            return "on the training's GPU"
        count = int(self.places[1:]) if self.places.startswith("x") else self.places.count(",") + 1
        return f"on {count} of {os.cpu_count()} cores"

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.said = lines.readline().decode("utf-8", "replace").strip()

    def tell(self, word: bytes) -> bool:
        """Say a word to it; return whether it is there to hear."""
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), word)
        except (OSError, ValueError):  # gone, or closed
            return False
        return True

    def used_s(self) -> float:
        """Return the processor time that it has used."""
        with suppress(psutil.Error):
            times = psutil.Process(self.process.pid).cpu_times()
            return float(times.user + times.system)
        return 0.0

    def end(self) -> None:
        """End it: the end of its stdin, and where that is not heard, SIGKILL."""
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                if hasattr(os, "killpg"):
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
            self.process.wait()


def cores_for(load: float) -> str:
    """Return which of this process's cores a share is, the last ones; ``x2``: two that nobody can name."""
    if not hasattr(os, "sched_getaffinity"):
        return f"x{max(1, round(load * (os.cpu_count() or 1)))}"
    cores = sorted(os.sched_getaffinity(0))
    return ",".join(map(str, cores[-max(1, round(load * len(cores))) :]))
