"""Training to hardware: the test by redrawing the places, its size, its band, and bad data."""

from itertools import product

import numpy as np
import pytest
from thermograd.analysis.arrays import Floats, Ints
from thermograd.analysis.experiment.family import family_p, randomisation_p
from thermograd.analysis.experiment.pulse.cleaning import cleaned, slow_course
from thermograd.analysis.experiment.pulse.response import measured, searched, shapes
from thermograd.analysis.experiment.pulse.scores import Places, complete_strata
from thermograd.analysis.experiment.pulses import analyze_pulses
from thermograd.analysis.experiment.result import Effect

STRATUM, LAG, PLACES = 20, 10, 9
DESIGN = {"places": PLACES, "lag_bins": LAG, "bin_s": 1.0}
MEMORY = np.exp(-np.arange(40) / 10.0)


def remembering(rng: np.random.Generator, n: int, phi: float = 0.9) -> Floats:
    """Return AR(1) of sd 1."""
    z = np.zeros(n + 100)
    for t, shock in enumerate(rng.standard_normal(n + 100) * np.sqrt(1 - phi**2)):
        z[t] = phi * z[t - 1] + shock
    return z[100:]


def drawn(rng: np.random.Generator, strata: int = 60) -> tuple[Ints, Ints, Floats]:
    """Return stratum a bin, place a stratum, and the pulses a bin."""
    place = rng.integers(PLACES, size=strata)
    pulses = np.zeros(strata * STRATUM)
    pulses[np.arange(strata) * STRATUM + place] = 1.0
    return np.repeat(np.arange(strata), STRATUM), place, pulses


def asked(values: Floats, stratum: Ints, place: Ints, redraws: int = 499) -> Effect:
    kind = ["pulse"] * place.size
    return analyze_pulses({"power_w": values}, stratum, place, kind, redraws=redraws, **DESIGN)[0]


def test_every_draw_of_a_small_design_has_another_rank_so_p_is_uniform():
    rng = np.random.default_rng(1)
    places, lag, strata = 3, 1, 4
    stratum = np.repeat(np.arange(strata), 5)
    values = np.cumsum(rng.standard_normal(stratum.size)) ** 2
    clean = cleaned(values, slow_course(values.size))
    draws = [np.array(each) for each in product(range(places), repeat=strata)]
    statistics = [
        searched(Places(complete_strata(stratum, place, places, lag), 1, rng), clean, shapes(2)).statistic
        for place in draws
    ]
    p = np.sort([np.mean(np.array(statistics) >= each - 1e-9) for each in statistics])
    assert np.allclose(p, np.arange(1, len(draws) + 1) / len(draws))


def test_statistic_is_that_of_a_slow_sum_over_strata():
    rng = np.random.default_rng(2)
    stratum, place, _ = drawn(rng, 12)
    values = remembering(rng, stratum.size)
    values[rng.random(values.size) < 0.1] = np.nan
    clean, looked = cleaned(values, slow_course(values.size)), shapes(LAG + 1)
    largest = 0.0
    for shape in looked:
        left = [
            shape[k] - sum(clean.past[i - 1] * shape[k - i] for i in range(1, min(k, 6) + 1))
            for k in range(11)
        ]
        score = variance = 0.0
        for s, drawn_place in enumerate(place):
            at = [s * STRATUM + p for p in range(PLACES)]
            own = [sum(left[k] * (clean.weight * clean.residual)[a + k] for k in range(11)) for a in at]
            score += own[drawn_place] - np.mean(own)
            variance += np.var(own)
        largest = max(largest, abs(score) / np.sqrt(variance))
    strata = complete_strata(stratum, place, PLACES, LAG)
    assert searched(Places(strata, 9, rng), clean, looked).statistic == pytest.approx(largest)


def test_response_is_found_with_its_sign_size_and_unit():
    rng = np.random.default_rng(3)
    stratum, place, pulses = drawn(rng)
    noise = 100.0 + 20.0 * remembering(rng, stratum.size)
    effect = asked(noise - 16.0 * np.convolve(pulses, MEMORY)[: noise.size], stratum, place)
    assert effect.verdict == "effect"
    assert effect.p == effect.p_family == 1 / 500
    assert effect.interval[0] < -16.0 < effect.interval[1] < 0
    assert effect.effect_sd == pytest.approx(effect.effect / effect.response.unit_per_sd)
    assert effect.e_largest >= effect.e_value > 20
    assert effect.delay_s == 0.0


def test_band_holds_a_large_response_that_outlasts_its_lags_and_the_interval_its_size():
    response = 1.6 * MEMORY
    held = sized = 0
    for run in range(40):
        rng = np.random.default_rng([4, run])
        stratum, place, pulses = drawn(rng)
        values = remembering(rng, stratum.size, 0.5) + np.convolve(pulses, response)[: stratum.size]
        draw = Places(complete_strata(stratum, place, PLACES, LAG), 299, rng)
        size = measured(draw, values, slow_course(values.size), shapes(LAG + 1), 0.95)
        held += bool((np.abs(size.course - response[: LAG + 1]) <= size.half_width).all())
        sized += size.interval[0] <= response[size.lag] <= size.interval[1]
    assert held >= 34
    assert sized >= 34


def test_second_kind_is_compared_with_the_first_while_the_pulse_itself_is_a_control():
    rng = np.random.default_rng(5)
    stratum, place, pulses = drawn(rng)
    second = rng.integers(2, size=place.size)
    more = pulses.copy()
    more[pulses > 0] = 3.0 + second
    kind = [("zeros", "noise")[each] for each in second]
    noise = remembering(rng, stratum.size)
    outcomes = {"power_w": noise + more, "clock_mhz": noise + 3.0 * pulses}
    effects = analyze_pulses(
        outcomes, stratum, place, kind, kinds=("zeros", "noise"), units={"power_w": "W"}, **DESIGN
    )
    told = [(each.outcome, each.contrast, each.is_control, each.verdict == "effect") for each in effects]
    assert told == [
        ("power_w", "noise less zeros", False, True),
        ("clock_mhz", "noise less zeros", False, False),
        ("power_w", "", True, True),
        ("clock_mhz", "", True, True),
    ]
    assert effects[0].interval[0] < 1.0 < effects[0].interval[1]
    assert effects[0].unit == effects[0].response.unit == "W"


def test_missing_samples_and_an_incomplete_last_stratum_change_no_conclusion():
    rng = np.random.default_rng(6)
    stratum, place, pulses = drawn(rng)
    values = remembering(rng, stratum.size) + np.convolve(pulses, MEMORY)[: stratum.size]
    whole = asked(values, stratum, place)
    holes = values.copy()
    holes[rng.random(values.size) < 0.15] = np.nan
    holes[300:400] = np.nan
    ragged = asked(holes[:-5], stratum[:-5], place)
    assert whole.verdict == ragged.verdict == "effect"
    assert ragged.n < whole.n == 60 * (STRATUM - 1)
    assert ragged.effect == pytest.approx(whole.effect, abs=0.3)


def test_sensor_that_is_read_once_a_stratum_leaves_the_unseen_lags_open():
    rng = np.random.default_rng(11)
    stratum, place, _ = drawn(rng)
    values = np.full(stratum.size, np.nan)
    values[15::STRATUM] = rng.standard_normal(60)
    effect = asked(values, stratum, place)
    assert (effect.n, effect.detectable_sd, effect.verdict) == (60, None, "inconclusive")


@pytest.mark.parametrize("values", [np.full(200, 45.0), np.full(200, np.nan)], ids=["constant", "absent"])
def test_sensor_that_never_moves_says_nothing(values):
    stratum, place, _ = drawn(np.random.default_rng(7), 10)
    effect = asked(values, stratum, place)
    assert (effect.p, effect.effect, effect.verdict) == (None, None, "inconclusive")


def test_one_stratum_gives_a_p_of_its_nine_places_and_no_size():
    rng = np.random.default_rng(8)
    stratum, place, _ = drawn(rng, 1)
    effect = asked(remembering(rng, STRATUM), stratum, place, redraws=4999)
    assert abs(effect.p * PLACES - round(effect.p * PLACES)) < 0.2
    assert (effect.effect, effect.response) == (None, None)


def test_place_or_kind_that_is_not_of_the_design_is_refused():
    stratum, place, pulses = drawn(np.random.default_rng(9), 3)
    with pytest.raises(ValueError, match="allowed: 0 to 8"):
        asked(pulses, stratum, place + PLACES)
    with pytest.raises(ValueError, match="kind nois"):
        analyze_pulses({"power_w": pulses}, stratum, place, ["nois"] * 3, **DESIGN)


def test_family_counts_what_outcomes_share_once():
    rng = np.random.default_rng(10)
    redrawn = np.abs(rng.standard_normal(999))
    other = np.abs(rng.standard_normal(999))
    alone = randomisation_p(2.5, redrawn)
    assert family_p([2.5, 2.5], [redrawn, redrawn]) == [alone, alone]
    both = family_p([2.5, 0.1], [redrawn, other])
    assert alone < both[0] == pytest.approx(2 * alone, rel=0.3)
    assert both[1] == pytest.approx(randomisation_p(0.1, other))
