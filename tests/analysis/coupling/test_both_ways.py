"""Step time may come after both sides: a coupling has to show with and without it."""

import numpy as np
import pytest
from thermograd.analysis.calibration.calibrate import measure
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.coupling.by_family import couplings_by_family, shown_both_ways
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.coupling.session_swaps import session_swap


def drawn(name, seed, m=500):
    return ZOO[name].make(np.random.default_rng(seed), m)


def test_taking_out_what_both_sides_move_makes_a_coupling_that_is_not_called_one():
    pair = drawn("collider", 0)
    held = couplings_by_family(pair.x, pair.y, pair.moved, permutations=99)
    found = shown_both_ways(held, lambda: couplings_by_family(pair.x, pair.y, permutations=99))
    assert held["reverse"].p < 0.02
    assert held["reverse"].r < -0.4
    assert found["reverse"].p > 0.05
    assert found["reverse"].r == held["reverse"].r


def test_what_runs_through_the_step_time_is_a_coupling_only_where_it_is_left_in():
    pair = drawn("through-step-time", 0)
    assert residual_cross_correlation(pair.x, pair.y, permutations=99).p < 0.02
    assert residual_cross_correlation(pair.x, pair.y, pair.moved, permutations=99).p > 0.05


@pytest.mark.parametrize("name", ["collider", "through-step-time", "behind-step-time"])
def test_nothing_is_found_where_only_the_step_time_is_in_common(name):
    assert measure(name, ZOO[name].make, 500, 20, permutations=99).found <= 4


def test_a_coupling_beside_the_step_time_is_found():
    found = measure("irregular-coupled", ZOO["irregular-coupled"].make, 600, 5, true_lag=5, permutations=99)
    assert found.found == 5


def test_nothing_significant_needs_no_second_test():
    pair = drawn("ar.5", 4, 300)
    held = couplings_by_family(pair.x, pair.y, permutations=99)
    assert all(result.p > 0.05 for result in held.values())
    assert shown_both_ways(held, lambda: pytest.fail("tested again")) == held


def test_several_runs_have_to_show_it_both_ways_too():
    pairs = [drawn("collider", seed) for seed in range(8)]
    xs, ys, moved = ([getattr(pair, name) for pair in pairs] for name in ("x", "y", "moved"))
    held = session_swap(xs, ys, moved, permutations=199)
    both = session_swap(xs, ys, moved=moved, permutations=199)
    assert held.p < 0.02
    assert both.p > 0.05
    assert both.reasons[-1].startswith(
        "With what training and hardware may both move (step time) left in, p is"
    )


def test_what_was_glanced_at_goes_on_to_what_the_full_test_gives():
    rng = np.random.default_rng(4)
    x, noise = rng.standard_normal((2, 300))
    y = noise + 0.4 * np.roll(x, 3)
    full = couplings_by_family(x, y, permutations=199)
    glanced = couplings_by_family(x, y, resampled=())
    assert all(found.p <= full[family].p for family, found in glanced.items())
    found = couplings_by_family(x, y, permutations=199, resampled=["forward"], known=glanced)
    assert (found["forward"].p, found["forward"].guard_p) == (full["forward"].p, full["forward"].guard_p)
    assert np.array_equal(found["forward"].profile, full["forward"].profile)
    assert found["reverse"] is glanced["reverse"]
    alone = couplings_by_family(x, y, permutations=199, resampled=["forward"], only_resampled=True)
    assert list(alone) == ["forward"]
    assert alone["forward"].p == full["forward"].p
