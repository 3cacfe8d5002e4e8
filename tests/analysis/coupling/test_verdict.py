"""What may be said of a pair: guard, gates, correction, bands."""

import math

import numpy as np
import pytest
from rejections import examined
from thermograd.analysis.calibration.processes import (
    ar,
    coincident_kink,
    cont,
    trend,
)
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.coupling.detectable import samples_to_exclude
from thermograd.analysis.coupling.verdict import gates, holm, strength, verdict


def test_one_shared_kink_seldom_passes_the_guard():
    results = [
        examined(coincident_kink(np.random.default_rng(run), 400), permutations=199) for run in range(80)
    ]
    found = [result for result in results if result.p <= 0.05]
    passed = [result for result in found if result.guard_p <= 0.05]
    assert len(found) >= 5
    assert len(passed) <= 8
    verdicts = {verdict(result)[0] for result in found if result.guard_p > 0.05}
    assert verdicts == {"single_event"}


def test_one_planted_event_is_called_a_single_event():
    pair = ar(np.random.default_rng(34), 400, 0.3)
    x, y = pair.x.copy(), pair.y.copy()
    x[200] += 25.0
    y[204] += 25.0
    result = residual_cross_correlation(x, y, permutations=199)
    # One value that sits with one other is rare under random orders, but signs flip it half the time.
    assert result.p_permutation < 0.05 < result.p_sign_flip
    assert verdict(result)[0] != "coupled"


def test_true_coupling_passes_the_guard_and_is_never_called_absent():
    for run in range(40):
        result = examined(cont(np.random.default_rng(run), 1000, 0.3, 5), permutations=199)
        assert verdict(result)[0] == "coupled"
        short = examined(cont(np.random.default_rng(run), 400, 0.3, 5), permutations=199)
        assert verdict(short, p_adjusted=0.5)[0] != "no_coupling"


def test_long_uncoupled_runs_end_as_no_coupling():
    names = [verdict(examined(ar(np.random.default_rng(run), 1000), permutations=99))[0] for run in range(60)]
    assert names.count("no_coupling") >= 51


def test_short_uncoupled_runs_are_inconclusive_and_say_how_long_is_long_enough():
    name, reasons = verdict(examined(ar(np.random.default_rng(23), 200)))
    assert name == "inconclusive"
    assert "shows from about" in reasons[-1]
    longest = int(reasons[-1].split("its absence from about ")[1].rstrip(".").removesuffix(" bins"))
    assert samples_to_exclude(0.2) <= longest <= 1.3 * samples_to_exclude(0.2)


def test_correction_for_other_pairs_can_withdraw_support():
    result = examined(cont(np.random.default_rng(35), 400, 0.4, 5))
    assert verdict(result)[0] == "coupled"
    assert verdict(result, p_adjusted=0.2)[0] == "inconclusive"


def test_gates_and_missing_statistics_are_insufficient():
    result = examined(cont(np.random.default_rng(35), 400, 0.4, 5))
    assert verdict(result, gate_reasons=["The device was idle."]) == (
        "insufficient",
        ["The device was idle."],
    )
    constant = residual_cross_correlation(np.random.default_rng(40).standard_normal(100), np.ones(100))
    assert verdict(constant)[0] == "insufficient"
    assert verdict(constant)[1] == ["Y is constant or fully predicted by its trend and drivers."]


def test_gates_pass_an_ordinary_pair():
    pair = trend(np.random.default_rng(36), 200)
    assert gates(pair.x, pair.y) == []


def test_gates_name_short_and_constant_series():
    reasons = gates(np.arange(50.0), np.full(50, 50.0))
    assert reasons[0].startswith("Only 50 bins")
    assert reasons[1] == "The hardware signal is constant at 50."


def test_gates_want_five_rises_of_a_signal_with_two_levels():
    noise = np.random.default_rng(37).standard_normal(100)
    rare, often = np.zeros(100), np.zeros(100)
    rare[[10, 30]] = 1.0
    often[10:90:10] = 1.0
    assert gates(noise, rare) == [
        "The hardware signal has only two levels and 2 rises; at least 5 are needed."
    ]
    assert gates(noise, often) == []


def test_gates_see_a_device_that_did_not_work():
    rng = np.random.default_rng(38)
    x, y = rng.standard_normal((2, 100))
    idle, busy = 27 + rng.standard_normal(60), 250 + 20 * rng.standard_normal(60)
    assert "was idle: its power" in gates(x, y, loads={"power": (idle[:30], idle[30:])})[0]
    assert gates(x, y, loads={"power": (busy, idle), "utilisation": (idle[:30], idle[30:])}) == []
    assert gates(x, y, loads={"power": (idle[:5], idle[5:])}) == []


def test_holm_multiplies_the_smallest_most_and_never_falls():
    assert holm([0.01, 0.02, 0.03]).tolist() == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_leaves_nan_alone_and_does_not_count_it():
    adjusted = holm([float("nan"), 0.02, 0.5])
    assert math.isnan(adjusted[0])
    assert adjusted[1:].tolist() == pytest.approx([0.04, 0.5])


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@pytest.mark.parametrize(
    ("r", "name"),
    [(0.71, "strong"), (-0.7, "moderate"), (0.3, "moderate"), (-0.29, "weak"), (float("nan"), "null")],
)
def test_strength_names_the_bands(r, name):
    assert strength(r) == name
    assert strength(r, coupled=False) == "null"
