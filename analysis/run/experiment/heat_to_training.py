"""What hot and cool blocks did to the device, and to each outcome of the training."""

from thermograd.analysis.experiment.result import Effect, Manipulation
from thermograd.analysis.run.experiment.exposure import Exposure


def heat_to_training(exposure: Exposure, planned_sd: float) -> tuple[list[Manipulation], list[Effect]]:
    """Return the checks of the manipulation, a device and signal each, and the effect on each outcome."""
    return [], []
