"""How strong a coupling shows, and how long a run must be."""

import math

import pytest
from rejections import rejections
from thermograd.analysis.calibration.processes import (
    cont,
)
from thermograd.analysis.coupling.detectable import samples_needed, smallest_detectable


def test_smallest_detectable_and_samples_needed_are_inverse():
    for rho in (0.1, 0.2, 0.3, 0.5):
        needed = samples_needed(rho)
        assert smallest_detectable(needed) <= rho < smallest_detectable(needed - 1)
    assert samples_needed(-0.3) == samples_needed(0.3)


def test_smallest_detectable_agrees_with_the_measured_power():
    rho = smallest_detectable(400)
    found = rejections(lambda rng, m: cont(rng, m, rho, 5), 400, 100)
    assert 80 <= found <= 98  # stated 90 %, binomial interval


def test_too_short_a_run_detects_nothing():
    assert math.isnan(smallest_detectable(6))


def test_a_correlation_of_zero_or_one_has_no_needed_length():
    for rho in (0.0, 1.0):
        with pytest.raises(ValueError, match="rho is"):
            samples_needed(rho)
