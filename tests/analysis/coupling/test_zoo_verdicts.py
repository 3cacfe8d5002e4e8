"""The test against what fools correlation: errors and power in few seeded runs, with wide margins."""

import numpy as np
import pytest
from thermograd.analysis.calibration.calibrate import random_numbers
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.coupling.verdict import verdict

RUNS = 24


def examined(name, bins=400, runs=RUNS, **options):
    """Return what is found in runs of a process of the zoo."""
    found = []
    for run in range(runs):
        pair = ZOO[name].make(random_numbers(name, bins, 7, run), bins)
        found.append(
            residual_cross_correlation(pair.x, pair.y, pair.drivers, permutations=199, seed=run, **options)
        )
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("cycle24", "pulses20", "pulses17.3", "boxcar20", "triangle20"),
        *("memswitch", "memquarters", "gaps", "trendgaps", "gapbursts", "irregular", "ar.98", "local-level"),
    ],
)
def test_what_fools_correlation_seldom_passes_for_coupling(name):
    said = [verdict(result)[0] for result in examined(name)]
    assert said.count("coupled") <= 5  # of a rate of .05: once in a thousand such tests


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("cont .3", 21), ("cont_trend .3", 20), ("missing15", 19), ("spike 2", 19)),
        *(("slow10-trends", 18), ("slow30-trends", 16), ("slow60-trends", 16), ("slow30-noise.5", 19)),
    ],
)
def test_what_is_coupled_is_found(name, least):
    assert sum(result.p <= 0.05 for result in examined(name)) >= least


def test_a_slow_answer_is_named_by_its_memory():
    found = [result for result in examined("slow30-noise.5", 1500, 10) if result.p <= 0.05]
    assert len(found) == 10
    assert all(result.memory in (12.0, 24.0, 48.0) for result in found)
    assert all(verdict(result, period_s=1.0)[1][0].count("fades over about") == 1 for result in found)


@pytest.mark.parametrize(
    "name", ["cont .3", "slow30-noise.3", "slow60-trends", "size-only", "sign-change", "volatility", "lag20"]
)
def test_no_coupling_is_not_said_of_what_it_claims_to_exclude_or_of_what_is_seen(name):
    said = [verdict(result)[0] for result in examined(name, 1500, 12)]
    assert said.count("no_coupling") <= 2


@pytest.mark.parametrize("name", ["ar.9", "trend", "cycle24", "pulses20", "memswitch"])
def test_no_coupling_is_said_of_most_long_runs_without_any(name):
    said = [verdict(result)[0] for result in examined(name, 1500, 12)]
    assert said.count("no_coupling") >= 8


def test_what_else_is_seen_is_named():
    for name, kind in (("size-only", "size"), ("volatility", "restlessness"), ("sign-change", "part")):
        found = examined(name, 1500, 8)
        seen = [{each.kind for each in result.not_excluded} for result in found]
        assert sum(kind in kinds for kinds in seen) >= 6, name
        assert any("Not excluded" in verdict(result)[1][0] for result in found)


def test_a_bin_that_is_missing_is_the_same_whether_it_is_nan_or_not_there():
    pair = ZOO["missing15"].make(random_numbers("missing15", 300, 7, 0), 300)
    there = np.flatnonzero(np.isfinite(pair.x + pair.y))
    whole = residual_cross_correlation(pair.x, pair.y)
    given = residual_cross_correlation(pair.x[there], pair.y[there], bins=there)
    assert (whole.r, whole.lag, whole.p) == (given.r, given.lag, given.p)


def test_a_lag_is_a_time_and_not_a_number_of_rows():
    found = examined("missing15", 1500, 6)
    assert [result.lag for result in found] == [5] * 6


def test_rhythms_are_found_to_a_fraction_of_a_bin_and_not_where_there_are_none():
    for name, length in (("pulses17.3", 17.3), ("pulses20", 20.0), ("cycle24", 24.0)):
        for result in examined(name, runs=6):
            assert any(abs(cycle - length) < 0.1 for cycle in result.cycles), (name, result.cycles)
    assert sum(bool(result.cycles) for name in ("ar.9", "heavy", "burst") for result in examined(name)) <= 2


def test_half_widths_hold_the_truth_also_where_few_products_carry_the_sum():
    for name in ("bursts", "burst", "held5", "degrees"):
        found = examined(name, 1000, 20)
        outside = sum(np.abs(result.profile[12:]).max() > result.half_width for result in found)
        assert outside <= 4, name
