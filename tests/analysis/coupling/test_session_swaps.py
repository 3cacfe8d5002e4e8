"""Several runs: what all share proves nothing, a true coupling shows, copies count once."""

import math

import numpy as np
import pytest
from thermograd.analysis.calibration.processes import (
    COUPLINGS,
    NULLS,
    ar,
)
from thermograd.analysis.calibration.zoo import ZOO
from thermograd.analysis.coupling.session_swaps import session_swap


def runs_of(make, seed, count=8, m=83):
    pairs = [make(np.random.default_rng([seed, run]), m) for run in range(count)]
    return [pair.x for pair in pairs], [pair.y for pair in pairs]


def common_kink(rng, m):
    pair = ar(rng, m, 0.5)
    after = np.arange(m) >= m // 2
    return type(pair)(pair.x - 6.0 * after, pair.y - 6.0 * np.roll(after, 3))


def test_kinks_that_all_runs_share_prove_nothing():
    p_values = [session_swap(*runs_of(common_kink, seed), permutations=199).p for seed in range(60)]
    assert sum(p <= 0.05 for p in p_values) <= 9


def test_restlessness_within_each_run_proves_nothing():
    """Exchanging runs alone rejects a tenth of these: a run's own pairing has the largest products."""
    results = [session_swap(*runs_of(NULLS["burst"], seed), permutations=199) for seed in range(60)]
    assert sum(result.p_swap <= 0.05 for result in results) > sum(result.p <= 0.05 for result in results)
    assert sum(result.p <= 0.05 for result in results) <= 9


def test_eight_short_coupled_runs_show_together_what_none_shows_alone():
    make = COUPLINGS["cont .3"]
    results = [session_swap(*runs_of(make, seed), permutations=199) for seed in range(15)]
    assert sum(result.p <= 0.05 for result in results) >= 14
    assert sum(result.lag == 5 for result in results) >= 14
    pooled = np.array([result.r for result in results])
    assert 0.2 < pooled.mean() < 0.35
    assert sum(result.r_low <= 0.3 <= result.r_high for result in results) >= 11


def test_few_runs_are_paired_in_every_way():
    xs, ys = runs_of(COUPLINGS["cont .5"], 3, count=5, m=200)
    assert session_swap(xs, ys, seed=1).p == session_swap(xs, ys, seed=2).p == 1 / 120


def test_a_repeated_training_series_is_no_replication():
    xs, ys = runs_of(COUPLINGS["cont .5"], 4, count=6)
    result = session_swap([xs[0]] * 3 + xs[3:], ys)
    assert math.isnan(result.p)
    assert result.reasons[0] == "Run 1 repeats the training series of run 0 and was left out."
    assert "Only 4 different runs" in result.reasons[-1]


def test_runs_of_different_length_and_a_dead_sensor_are_taken_care_of():
    xs, ys = runs_of(COUPLINGS["cont .5"], 5, count=7, m=200)
    xs[0], ys[0] = xs[0][:150], ys[0][:150]
    ys[6] = np.full(200, 50.0)
    result = session_swap(xs, ys)
    assert result.n_runs == 6
    assert result.p < 0.05
    assert result.reasons == [
        "Run 6 was left out: y is constant or fully predicted by its trend and drivers."
    ]


def test_series_without_partner_are_refused():
    with pytest.raises(ValueError, match="2 series x, 1 y"):
        session_swap([[1.0], [2.0]], [[1.0]])


def test_the_face_gives_the_function_whatever_was_imported_before():
    """A module of the same name would take the function's place once it is imported."""
    import thermograd.analysis
    import thermograd.analysis.coupling.session_swaps
    from thermograd.analysis import coupling

    assert coupling.session_swap is thermograd.analysis.session_swap is session_swap


def test_bins_that_a_run_misses_on_both_sides_are_no_coupling():
    """A quarter of such groups, when every pairing was taken to be as widely spread as any other."""
    make = ZOO["gaps30"].make
    p = [session_swap(*runs_of(make, seed), permutations=199).p for seed in range(40)]
    assert np.sum(np.array(p) <= 0.05) <= 6
