"""What pulses of the training did to each signal of each device."""

from thermograd.analysis.experiment.result import Effect, Manipulation
from thermograd.analysis.run.experiment.exposure import Exposure


def training_to_hardware(exposure: Exposure, planned_sd: float) -> tuple[list[Manipulation], list[Effect]]:
    """Return the checks of the manipulation, and the effect on each hardware signal of each device."""
    return [], []
