import math
import random

import pytest
from thermograd.store.efficiency.windows import (
    TimeWindow,
    exp_minus,
    integer_power,
    known,
    minus_log_ratio,
    slope,
)


def test_series_agree_with_the_library_to_the_last_bits() -> None:
    for i in range(1000):
        x = i / 1000
        assert math.isclose(exp_minus(x), math.exp(-x), rel_tol=1e-15)
        assert math.isclose(minus_log_ratio(1.0 - x / 2), -math.log(1.0 - x / 2), rel_tol=1e-14)
    assert math.isclose(integer_power(0.998, 1000), 0.998**1000, rel_tol=1e-13)
    with pytest.raises(ValueError, match=r"expected 0\.5 to 1"):
        minus_log_ratio(1.5)


def test_a_window_weighs_each_value_by_the_time_it_stands_for() -> None:
    rng = random.Random(0)
    window, now = TimeWindow(5.0), 0.0
    spans: list[tuple[float, float, float]] = []
    for i in range(500):
        dt = rng.uniform(0.05, 2.5)
        now += dt
        value = rng.uniform(0, 100)
        window.append(now, dt if i else None, value)
        spans.append((now - dt, now, value))
        if i == 1:
            spans[0] = (spans[0][1] - dt, spans[0][1], spans[0][2])
        inside = [(end - max(start, now - 5.0), v) for start, end, v in spans if end > now - 5.0]
        seconds = sum(w for w, _ in inside)
        mean = sum(w * v for w, v in inside) / seconds
        variance = sum(w * (v - mean) ** 2 for w, v in inside) / seconds
        assert window.mean() == pytest.approx(mean)
        assert window.deviation() == pytest.approx(math.sqrt(variance), abs=1e-9)
        if i:
            assert window.observed_s() == pytest.approx(seconds)


def test_slope_is_the_least_squares_one() -> None:
    from collections import deque

    assert slope(deque([(0.0, 1.0)])) is None
    assert slope(deque([(10.0, 1.0), (12.0, 2.0)])) == 0.5
    assert slope(deque((1.7e9 + 0.1 * k, 60.0 + 0.03 * k) for k in range(100))) == pytest.approx(
        0.3, rel=1e-6
    )


def test_what_is_not_a_finite_number_is_not_known() -> None:
    assert [known(v) for v in (None, math.nan, math.inf, 3)] == [None, None, None, 3.0]
