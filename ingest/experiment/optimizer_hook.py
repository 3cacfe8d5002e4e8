"""An arm that acts before an optimizer steps, hooked into torch while the experiment goes on."""

from typing import Any

from thermograd.ingest.experiment.arms.arm import Arm
from thermograd.store.failures import Guard


class OptimizerHook:
    """Calls `before_optimizer_step` of an arm before every optimizer's step."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._handle: Any = None
        self._guard = Guard("thermograd could not act before an optimizer's step (%(error)s)")

    def place(self) -> None:
        """Begin."""
        from torch.optim import optimizer

        self._handle = handle = optimizer.register_optimizer_step_pre_hook(self._before)
        with self._guard:  # before the tap, which logs the learning rate that the step is made with
            hooks: Any = optimizer._global_optimizer_pre_hooks
            hooks.move_to_end(handle.id, last=False)

    def remove(self) -> None:
        """End."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.remove()

    def _before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        with self._guard:
            self._arm.before_optimizer_step(optimizer)
