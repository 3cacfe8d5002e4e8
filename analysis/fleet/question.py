"""What is asked of every run of a fleet."""

from dataclasses import dataclass

# Step time is left out: that it goes with the load is expected, and the positive control of a single run.
TRAINING = ("grad_norm", "loss")
HARDWARE = ("temperature_c", "power_w", "sm_clock_mhz", "throttled_ratio")
PERMUTATIONS = 1999


@dataclass(frozen=True, slots=True)
class Question:
    """Signals that are tested against each other, in every run and on every device alike."""

    x: tuple[str, ...] = TRAINING
    y: tuple[str, ...] = HARDWARE
    max_lag_s: float = 12.0
    permutations: int = PERMUTATIONS  # random orders, and signs, of a pair that shows something at a glance
    events: bool = True  # whether the onsets of throttling and collapses are tested too
