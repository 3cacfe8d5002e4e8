import copy
import math
import pickle
import random

import naive_stream
import pytest
from hypothesis import given, settings, strategies as st
from river import stats
from river_contract import run_checks
from thermograd.stream.correlation import RollingCorrelation


def compare(pairs: list[tuple[float, float]], window: int) -> int:
    """Compare with the definition at every update; return how many windows had a correlation."""
    correlation = RollingCorrelation(window)
    kept: list[tuple[float, float]] = []
    compared = 0
    for x, y in pairs:
        correlation.update(x, y)
        if math.isfinite(x) and math.isfinite(y):
            kept = [*kept[-window + 1 :], (x, y)]
        expected = naive_stream.correlation(kept) if len(kept) == window else None
        found = correlation.get()
        if expected is None:
            assert found is None
        else:
            assert found is not None
            assert abs(found - expected) <= 1e-12
            compared += 1
    return compared


@pytest.mark.parametrize("huge", [1e3, 1e6, 1e8, 1e12])
@pytest.mark.parametrize("window", [16, 128])
def test_is_exact_while_and_after_a_spike_passes(huge: float, window: int) -> None:
    """river's Rolling(PearsonCorr) raises ValueError or is wrong for ever after 1e8."""
    rng = random.Random(0)
    pairs = []
    for i in range(1500):
        shared = rng.gauss(0, 1)
        x, y = 1.0 + 0.1 * (shared + rng.gauss(0, 1)), 1980.0 + 15.0 * (shared + rng.gauss(0, 1))
        pairs.append((huge if i % 311 == 40 else x, -huge if i % 401 == 200 else y))
    assert compare(pairs, window) > 1300


def test_pairs_that_are_not_finite_are_skipped_and_counted() -> None:
    rng = random.Random(1)
    bad = [math.nan, math.inf, -math.inf]
    pairs = [(rng.choice(bad) if rng.random() < 0.03 else rng.gauss(0, 1),
              rng.choice(bad) if rng.random() < 0.03 else rng.gauss(0, 1)) for _ in range(2000)]  # fmt: skip
    assert compare(pairs, 64) > 1900
    correlation = RollingCorrelation(64)
    for x, y in pairs:
        correlation.update(x, y)
    assert correlation.skipped == sum(not (math.isfinite(x) and math.isfinite(y)) for x, y in pairs)


def test_many_pairs_at_once_are_as_one_after_the_other() -> None:
    rng = random.Random(7)
    single, many = RollingCorrelation(16), RollingCorrelation(16)
    for count in [1, 14, 0, 2, 15, 16, 17, 40, *(rng.randrange(50) for _ in range(40))]:
        pairs = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(count)]
        many.extend(pairs)
        for pair in pairs:
            single.update(*pair)
        assert many.get() == single.get()
    assert many.get() is not None


def test_a_side_that_does_not_vary_has_no_correlation() -> None:
    rng = random.Random(2)
    pairs = []
    for i in range(3000):
        constant = (i // 200) % 2
        pairs.append((rng.gauss(5, 1), 99.7 if constant else rng.gauss(50, 9)))
    assert 0 < compare(pairs, 50) < 2900


def test_small_changes_at_a_high_level_are_resolved() -> None:
    rng = random.Random(3)
    pairs = []
    for _ in range(800):
        x = rng.gauss(0, 1)
        pairs.append((1e6 + 1e-2 * x, 1980.0 + 1e-3 * (x + rng.gauss(0, 1))))
    assert compare(pairs, 128) > 600


def test_a_perfect_line_is_exactly_one_at_most() -> None:
    correlation = RollingCorrelation(8)
    for i in range(100):
        correlation.update(0.1 * i, -0.7 * i)
        if i >= 7:
            assert correlation.get() == pytest.approx(-1.0, abs=1e-12)
            assert (correlation.get() or 0.0) >= -1.0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3, width=16), st.floats(-1e3, 1e3, width=16)), max_size=60),
       st.integers(2, 9))  # fmt: skip
def test_any_pairs_agree_with_the_definition(pairs: list[tuple[float, float]], window: int) -> None:
    compare(pairs, window)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=60))
def test_any_float_at_all_gives_none_or_a_correlation(pairs: list[tuple[float, float]]) -> None:
    correlation = RollingCorrelation(4)
    for x, y in pairs:
        correlation.update(x, y)
        found = correlation.get()
        assert found is None or -1.0 <= found <= 1.0


def test_an_early_result_can_be_asked_for() -> None:
    correlation = RollingCorrelation(100, min_pairs=3)
    for x, y in [(1.0, 1.0), (2.0, 3.0)]:
        correlation.update(x, y)
    assert correlation.get() is None
    correlation.update(3.0, 5.0)
    assert correlation.get() == pytest.approx(1.0)


def test_is_a_river_bivariate_and_passes_river_own_contract() -> None:
    assert isinstance(RollingCorrelation(4), stats.base.Bivariate)
    assert repr(RollingCorrelation(4)) == "RollingCorrelation: None"
    names = run_checks(RollingCorrelation(8, min_pairs=4))
    assert {"check_repr", "check_clone_same_class", "check_pickling_supports_roundtrip"} < set(names)


def test_a_pickle_or_copy_in_mid_stream_goes_on_bit_for_bit() -> None:
    rng = random.Random(4)
    pairs = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(500)]
    correlation = RollingCorrelation(64)
    for x, y in pairs[:201]:
        correlation.update(x, y)
    others = [pickle.loads(pickle.dumps(correlation)), copy.deepcopy(correlation)]
    for x, y in pairs[201:]:
        correlation.update(x, y)
        for other in others:
            other.update(x, y)
            assert other.get() == correlation.get()


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="2 <= min_pairs <= window"):
        RollingCorrelation(1)
