"""The one sentence of each verdict: what was found or excluded, of what kind, on how much."""

import math
from typing import Any

import pytest
from thermograd.analysis.coupling.cleaning.residuals import trend_columns
from thermograd.analysis.run.pair import Pair, answer_text, pair_numbers
from thermograd.analysis.run.wording.sentences import _both, bins_needed, sentence_of


def pair(verdict: str = "no_coupling", **told: Any) -> Pair:
    """Return a pair of the norm and the temperature, of 900 bins with slow answers."""
    known: dict[str, Any] = {
        **{"x": "grad_norm", "y": "temperature_c", "device": "gpu", "family": "forward", "n": 900},
        **{"r": 0.05, "lag_s": 3.0, "p": 0.4, "p_adjusted": 1.0, "half_width": 0.1, "slow_half_width": 0.12},
        **{"lag_bound": 0.15, "slow_bound": 0.17, "pearson_r": -0.7, "strength": "null", "reasons": ["So."]},
        **{"period_s": 1.0, "lags_s": [-12.0, 0.0, 12.0], "profile": [0.0, 0.0, 0.05]},
        **{"memories_s": [3.0, 24.0, 48.0], "slow_profile": [0.01, 0.02, 0.03]},
    }
    return Pair(**known | {"verdict": verdict} | told)


def test_a_slow_answer_says_who_follows_with_what_memory() -> None:
    found = pair("coupled", strength="moderate", r=0.31, memory_s=30.0, p_adjusted=0.01)
    sentence = sentence_of("coupled", [found])
    assert "temperature of gpu follows gradient norm with a memory of about 30 s, r = +0.31" in sentence
    assert "(n = 900, p = 0.01 (Holm), 95 % bound ±0.12)" in sentence
    assert "lag" not in sentence
    assert pair_numbers(found)[1:5] == ["+0.31", "memory 30 s", "0.01", "±0.12"]


def test_a_slow_answer_of_the_training_is_told_the_other_way_round() -> None:
    found = pair("coupled", strength="weak", r=0.2, memory_s=24.0, family="reverse", lag_s=-2.0)
    assert "gradient norm follows temperature of gpu with a memory of about 24 s" in sentence_of(
        "coupled", [found]
    )
    assert answer_text(found) == "memory 24 s, reverse"


def test_an_answer_after_one_lag_is_told_by_its_lag() -> None:
    found = pair("coupled", strength="moderate", r=0.4, lag_s=5.0, p_adjusted=0.01)
    sentence = sentence_of("coupled", [found, found])
    assert "the hardware follows by 5 s (n = 900, r = +0.40 at lag +5.0 s, p = 0.01 (Holm)" in sentence
    assert "1 more test of this run says so too" in sentence
    assert answer_text(found) == "+5.0 s"
    assert answer_text(pair(lag_s=math.nan)) == "–"


def test_no_coupling_tells_both_bounds_and_what_no_number_is_known_of() -> None:
    sentence = sentence_of("no_coupling", [pair(), pair(lag_bound=0.18, n=850)])
    assert sentence.startswith("NO COUPLING above 0.18: nothing that the sensors show follows the training")
    assert "one delay of up to 12 s (95 % bound 0.18) nor slowly" in sentence
    assert "fading over up to 48 s (0.17)" in sentence
    assert "2 tests of at least 850 bins" in sentence
    assert "size of a surprise" in sentence


def test_no_coupling_claims_nothing_of_slow_answers_that_were_not_searched() -> None:
    searched = {"memories_s": [], "slow_profile": [], "slow_half_width": math.nan, "slow_bound": math.nan}
    sentence = sentence_of("no_coupling", [pair(**searched)])
    assert sentence.startswith("NO COUPLING above 0.15")
    assert "slowly" not in sentence
    assert "neither" not in sentence


def test_too_short_a_run_tells_what_each_bound_leaves_open() -> None:
    sentence = sentence_of("inconclusive", [pair("inconclusive", lag_bound=0.22, slow_bound=0.3), pair()])
    assert "up to |r| = 0.30 (after one delay 0.22, slowly 0.30) is not excluded by 900 bins" in sentence
    assert " long, to rule one out" in sentence


def test_what_else_is_seen_is_named_where_bounds_would_do() -> None:
    seen = [{"kind": "size", "p": 1e-4}]
    sentence = sentence_of("inconclusive", [pair("inconclusive", not_excluded=seen), pair("inconclusive")])
    assert "something else is seen: an answer to the size of a surprise" in sentence
    assert "|r| = 0.17" in sentence
    assert " long, to rule one out" not in sentence  # a longer run of the same would say the same


def test_what_stands_out_no_more_than_a_rhythm_says_why() -> None:
    alike = pair("inconclusive", p_adjusted=0.01, reasons=["The largest is +0.4, but both keep a rhythm."])
    sentence = sentence_of("inconclusive", [pair("inconclusive"), alike])
    assert sentence.endswith("The largest is +0.4, but both keep a rhythm.")
    assert "no coupling was found" not in sentence


@pytest.mark.parametrize("verdict", ["coupled", "single_event", "no_coupling", "inconclusive"])
def test_a_pair_of_which_hardly_anything_is_known_has_a_sentence(verdict: str) -> None:
    unknown = dict.fromkeys(
        ("p_adjusted", "half_width", "slow_half_width", "lag_bound", "slow_bound"), math.nan
    )
    assert sentence_of(verdict, [pair(verdict, **unknown, period_s=math.nan)])


def test_the_advice_counts_the_lags_and_drivers_of_the_pair() -> None:
    few = pair(lags_s=[-4.0, 0.0, 4.0], columns=10)
    many = pair(lags_s=[float(lag) for lag in range(-12, 13)], columns=10)
    assert bins_needed(few, 0.2) < bins_needed(many, 0.2)
    driven = pair(lags_s=many.lags_s, columns=40)
    assert bins_needed(driven, 0.2)[0] == bins_needed(many, 0.2)[0] + 40 - max(10, trend_columns(900))


def test_a_memory_of_minutes_is_told_in_plain_numbers() -> None:
    found = pair("coupled", strength="weak", r=0.2, memory_s=123.4)
    assert "with a memory of about 123 s" in sentence_of("coupled", [found])
    assert answer_text(found) == "memory 123 s"


def test_a_p_at_the_resolution_of_the_random_orders_is_a_bound():
    found = pair(verdict="coupled", p=0.001, p_adjusted=0.013, p_smallest=0.001)
    assert "p <= 0.013 (Holm)" in sentence_of("coupled", [found])
    assert pair_numbers(found)[3] == "≤\u00a00.013"
    above = pair(verdict="coupled", p=0.002, p_adjusted=0.026, p_smallest=0.001)
    assert "p = 0.026 (Holm)" in sentence_of("coupled", [above])
    assert pair_numbers(above)[3] == "0.026"


def test_of_several_wide_tests_it_says_whose_bound_it_tells() -> None:
    wide = [pair("inconclusive", lag_bound=bound, slow_bound=0.3) for bound in (0.22, 0.83)]
    assert f"bins of 1 s between {_both(wide[1])}, of 2 tests the least sure" in sentence_of(
        "inconclusive", wide
    )
