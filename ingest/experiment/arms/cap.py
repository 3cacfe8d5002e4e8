"""The power cap: in cool blocks the GPU's limit is lower, through NVML; needs root.

The limit that was found is on the disk before the first set, and the run's agent, which puts it back when the
training is killed, must have said that it looks: where it does not, no limit is set.
"""

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from thermograd.ingest.devices.base import DeviceUnavailableError
from thermograd.ingest.devices.power.limits import (
    GpuLimit,
    LimitError,
    NotPermittedError,
    PowerLimits,
    watts,
)
from thermograd.ingest.devices.power.records import Claim, LimitRecord, put_back
from thermograd.ingest.devices.power.restoring import is_kept
from thermograd.ingest.experiment.arms.arm import Arm, Done, Refusal, Scene
from thermograd.ingest.experiment.arms.training_gpus import training_gpus
from thermograd.store.experiment.schedules import Assignment
from thermograd.store.processes import boot_id, host_label

_SHARE = 0.6  # of the limit that was found
_INSTEAD = "the arm duty needs no permission"


@dataclass
class _Capped:
    """One GPU in our hands."""

    gpu: GpuLimit
    claim: Claim
    record: LimitRecord


class CapArm(Arm):
    """Lowers the power limit of the GPUs that this process trains on, in cool blocks.

    Parameters
    ----------
    power_w
        The limit in cool blocks, W; by default 60 % of what is found, and not below what the GPU takes.
    """

    name: ClassVar[str] = "cap"
    design: ClassVar[str] = "switchback"

    def __init__(self, power_w: float | None = None) -> None:
        self._power_w = power_w
        self._gpus: list[_Capped] = []
        self._limits: PowerLimits | None = None
        self._scene = Scene()
        self._pid = os.getpid()
        self._level: str | None = None
        self._steps = 0
        self._is_capped = self._was_capped = self._is_lost = False
        self._failed: str | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the arm; ValueError where `power_w` is no power."""
        power_w = options.get("power_w")
        if power_w is None:
            return cls()
        is_number = isinstance(power_w, int | float) and not isinstance(power_w, bool)
        if not is_number or not math.isfinite(power_w) or power_w <= 0:
            raise ValueError(f"power_w is {power_w!r}; allowed: a power limit in W, above 0")
        return cls(float(power_w))

    def options(self) -> dict[str, Any]:
        """Return `power_w` where it was given; else the share of the limit found, `power_share`."""
        return {"power_share": _SHARE} if self._power_w is None else {"power_w": self._power_w}

    # -- before the first block ----------------------------------------------------------------------

    def prepare(self, scene: Scene) -> None:
        """Find the GPUs, note their limits on the disk, and see whether this process may set them."""
        self._scene, self._pid = scene, os.getpid()
        if scene.run_dir is None:
            raise Refusal(
                "the cap arm keeps the limits it finds in the run's directory, and this run has none"
            )
        try:
            self._limits = PowerLimits()
        except DeviceUnavailableError as error:
            raise Refusal(
                f"there is no NVIDIA GPU whose power could be capped ({error}); {_INSTEAD}"
            ) from None
        try:
            for uuid in training_gpus(scene.model(), self._limits.gpus(), scene.optimizers()):
                self._take(self._limits.of(uuid))
        except NotPermittedError as error:
            self.close()
            raise Refusal(
                f"{error}: to set a power limit takes root, in a container --cap-add SYS_ADMIN; {_INSTEAD}"
            ) from None
        except (LimitError, OSError) as error:
            self.close()
            raise Refusal(f"the power limit cannot be set safely ({error}); {_INSTEAD}") from None
        except BaseException:  # whatever it is, no limit stays ours; it goes on
            self.close()
            raise

    def _take(self, gpu: GpuLimit) -> None:
        """Take one GPU into our hands: its lock, then its record, then the question whether we may."""
        if gpu.is_divided():
            raise Refusal(f"{gpu.label} is divided (MIG), and a power limit is of all its parts; {_INSTEAD}")
        run_dir = Path(self._scene.run_dir)
        claim = Claim(gpu.uuid, run_dir)
        if not _is_ours(claim, gpu, run_dir):
            return
        try:
            if (left := claim.holder()) is not None:  # of a training that is gone, and its agent too
                put_back(gpu, left)
            found_mw = gpu.now_mw()
            cap_mw = self._cap_mw(gpu, found_mw)
        except BaseException:  # whatever it is, the lock is not kept; it goes on
            claim.let_go()
            raise
        whose = (run_dir.name, str(run_dir), os.getpid(), host_label(), boot_id(), time.time_ns())
        record = LimitRecord(gpu.uuid, found_mw, cap_mw, *whose)
        self._gpus.append(_Capped(gpu, claim, record))
        claim.write(record)
        gpu.set_mw(found_mw)  # changes nothing: whether we may
        self._scene.note(
            f"the power limit of {gpu.label} was found at {watts(found_mw)}; "
            f"in cool blocks it is {watts(cap_mw)}",
            power_limit=asdict(record) | {"range_mw": list(gpu.range_mw())},
        )

    def _cap_mw(self, gpu: GpuLimit, found_mw: int) -> int:
        least, most = gpu.range_mw()
        allowed = f"{gpu.label} takes {watts(least)} to {watts(most)}"
        if self._power_w is None:
            cap_mw = max(least, round(_SHARE * found_mw))
        else:
            cap_mw = round(self._power_w * 1e3)
            if not least <= cap_mw <= most:
                raise Refusal(f"power_w is {self._power_w:g} W; {allowed}")
        if cap_mw >= found_mw:
            raise Refusal(
                f"a cap of {watts(cap_mw)} is none: the limit found is {watts(found_mw)}, and {allowed}"
            )
        return cap_mw

    # -- blocks --------------------------------------------------------------------------------------

    def begin(self, assignment: Assignment) -> None:
        """Set the block's limit."""
        self._level, self._steps, self._failed = assignment.level, 0, None
        self._apply()

    def after_step(self, step: int, busy_s: float | None) -> None:
        """Count the step; where the block's limit could not be set yet, try again."""
        if self._level == "cool" and not self._is_capped and not self._is_lost:
            self._apply()
        if self._level == "hot" or self._is_capped:
            self._steps += 1

    def end(self) -> Done:
        """Set the limit that was found."""
        self._release()
        limits_w = {each.gpu.uuid: each.record.set_mw / 1e3 for each in self._gpus}
        detail: dict[str, Any] = {"limits_w": limits_w} if self._level == "cool" else {}
        failed = self._failed if self._steps == 0 or self._is_lost else None
        self._level = None
        return Done(steps=self._steps, failed=failed, detail=detail)

    def _apply(self) -> None:
        if self._pid != os.getpid():
            return
        if self._level != "cool":
            self._release()
            return
        self._failed = self._obstacle()
        if self._failed is not None:
            return
        for each in self._gpus:
            self._was_capped = True
            each.gpu.set_mw(each.record.set_mw)
        self._is_capped = True
        if not all(each.claim.is_written() for each in self._gpus):  # the agent has ended just now
            self._release()
            self._failed, self._is_lost = "the agent that would put the limit back has ended", True

    def _obstacle(self) -> str | None:
        """Return why no limit may be set now."""
        if not self._gpus:
            return None  # another rank of this run does it
        if not all(each.claim.is_written() for each in self._gpus):
            self._is_lost = True
            return "the limit has been put back, and is no more ours to set"
        for each in self._gpus:
            now_mw = each.gpu.now_mw()
            if now_mw != each.record.found_mw and not each.record.is_set(now_mw):
                self._is_lost = True
                return f"somebody else has set the limit of {each.gpu.label} to {watts(now_mw)}"
        if not is_kept(Path(self._scene.run_dir)):
            return "no agent of this run looks after the limit, which would put it back should we be killed"
        return None

    def _release(self) -> None:
        """Put back what is ours to put back; what the driver refuses is tried again at the next block."""
        self._is_capped = False
        errors = []
        for each in self._gpus:
            try:
                put_back(each.gpu, each.record)
            except LimitError as error:  # the other GPUs' are put back all the same
                errors.append(error)
        if errors:
            raise errors[0]

    # -- the end -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Put every limit back, for good, and say so; without effect in a forked child."""
        gpus, self._gpus = self._gpus, []
        if self._pid != os.getpid():
            return
        for each in gpus:
            self._give_back(each)
        if self._limits is not None:
            self._limits.close()
            self._limits = None

    def _give_back(self, each: _Capped) -> None:
        was_ours = each.claim.is_written()
        try:
            outcome = put_back(each.gpu, each.record)
        except LimitError as error:
            each.claim.let_go()  # the record stays: the agent, or whoever comes next, tries again
            self._scene.note(f"the training could not put a power limit back: {error}; its agent tries it")
            return
        each.claim.give_back()
        if self._was_capped and was_ours:
            now = {"changed since": "is left as it is: somebody else has set it"}.get(
                outcome, f"is {watts(each.record.found_mw)} again, put back by the training"
            )
            with suppress(LimitError):
                detail = asdict(each.record) | {"by": "the training", "outcome": outcome}
                self._scene.note(f"the power limit of {each.gpu.label} {now}", power_limit=detail)


def _is_ours(claim: Claim, gpu: GpuLimit, run_dir: Path) -> bool:
    """Return whether the limit is now ours to set; False where another rank of this run has it."""
    if claim.take():
        return True
    if (holder := claim.holder()) is not None and holder.run_id == run_dir.name:
        return False
    whose = f"run {holder.run_id} (process {holder.pid})" if holder is not None else "another process"
    raise Refusal(f"the power limit of {gpu.label} is in the hands of {whose}: one experiment at a time")
