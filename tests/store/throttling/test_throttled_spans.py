"""Throttled time between samples: counters that reset, lag and miss, bits where there is no counter."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from thermograd.store.throttling.reasons import COUNTERS
from thermograd.store.throttling.spans import ThrottledSpans, episodes_s, throttled_spans

_S = 10**9
_TYPES = {"clock_event_mask": pa.uint64()}


def _spans(times_s: Any, **columns: Any) -> ThrottledSpans:
    arrays = {
        name: pa.array([None if v is None else int(v) for v in values], _TYPES.get(name, pa.int64()))
        for name, values in columns.items()
    }
    return throttled_spans(pa.table({"time_ns": [round(t * _S) for t in times_s]} | arrays))


def _thermal(times_s: Any, counter_s: Any, **columns: Any) -> list[float]:
    counter = [None if value is None else value * _S for value in counter_s]
    return _spans(times_s, throttled_thermal_ns=counter, **columns).seconds["thermal"].tolist()


def _same(found: list[float], expected: list[float | None]) -> None:
    assert found == pytest.approx([np.nan if each is None else each for each in expected], nan_ok=True)


def test_a_counter_is_differenced() -> None:
    _same(_thermal(range(5), [7, 7, 7.25, 8.25, 8.25]), [0, 0.25, 1, 0])


def test_what_a_counter_did_while_it_went_back_is_not_known() -> None:
    _same(_thermal(range(5), [7, 8, 0.5, 1.5, 1.5]), [1, None, 1, 0])


def test_the_bits_tell_where_a_counter_was_reset() -> None:
    spans = _spans(range(5), throttled_thermal_ns=[7 * _S, 8 * _S, 0, _S, _S], clock_event_mask=[32] * 5)
    _same(spans.seconds["thermal"].tolist(), [1, 1, 1, 0])
    assert spans.sources["thermal"] == "counter and sampled"


def test_a_hole_in_the_samples_was_not_observed_whatever_the_counter_did() -> None:
    _same(_thermal([0, 1, 2, 3, 60, 61, 62], [0, 0, 0, 0, 30, 31, 31]), [0, 0, 0, None, 1, 0])


def test_readings_that_are_missing_are_bridged() -> None:
    _same(_thermal(range(7), [0, 1, None, None, 2.5, 3.5, None]), [1, 0.5, 0.5, 0.5, 1, None])


def test_a_counter_read_less_often_than_the_rest_has_no_holes() -> None:
    counter = [second if second % 10 == 0 else None for second in range(41)]
    _same(_thermal(range(41), counter), [1.0] * 40)


def test_a_counter_that_lags_gives_its_time_to_where_it_stood_still() -> None:
    _same(_thermal(range(8), [0, 0, 0, 0, 0, 2.5, 2.5, 2.5]), [0, 0, 0.5, 1, 1, 0, 0])


def test_two_counters_summed_count_no_time_twice() -> None:
    found = _thermal(range(8), [0, 0, 0, 2, 4, 6, 6, 6])
    assert found[2:] == [1, 1, 1, 0, 0]
    assert sum(found) <= 4


def test_an_impossible_jump_is_no_throttling() -> None:
    _same(_thermal(range(4), [0, 0, 9e6, 9e6]), [0, None, 0])


@pytest.mark.parametrize(
    ("mask", "cause"),
    [
        (0x20, "thermal"),
        (0x40, "thermal"),
        (0x8, "thermal"),
        (0x88, "brake"),
        (0x80, "brake"),
        (0x4, "power"),
    ],
)
def test_each_bit_has_one_cause(mask: int, cause: str) -> None:
    spans = _spans(range(4), clock_event_mask=[mask | 2**63] * 4)
    assert {name: seconds.sum() for name, seconds in spans.seconds.items()} == {
        name: 3.0 * (name == cause) for name in COUNTERS
    }
    assert set(spans.sources.values()) == {"sampled"}


@pytest.mark.parametrize("mask", [0x0, 0x1, 0x2, 0x10, 0x100])
def test_idle_and_chosen_clocks_are_not_throttling(mask: int) -> None:
    assert _spans(range(4), clock_event_mask=[mask] * 4).throttled_s(COUNTERS).sum() == 0


def test_a_bit_that_changed_between_two_samples_counts_half() -> None:
    _same(
        _spans(range(5), clock_event_mask=[0, 32, 32, 0, None]).seconds["thermal"].tolist(),
        [0.5, 1, 0.5, None],
    )


def test_a_counter_that_stands_while_its_bit_is_set_counts_something_else() -> None:
    spans = _spans(range(4), throttled_thermal_ns=[5, 5, 5, 5], clock_event_mask=[0x40] * 4)
    assert (spans.seconds["thermal"].sum(), spans.sources["thermal"]) == (3.0, "sampled")


def test_a_device_that_tells_nothing_is_not_known() -> None:
    spans = _spans(range(4), throttled_thermal_ns=[None] * 4, clock_event_mask=[None] * 4)
    assert np.isnan(spans.throttled_s(COUNTERS)).all()
    assert spans.source(COUNTERS) is None


@pytest.mark.parametrize("times", [[], [3], [3, 3]])
def test_less_than_two_moments_have_no_time_between_them(times: list[int]) -> None:
    spans = _spans(times, throttled_thermal_ns=[0] * len(times), clock_event_mask=[0] * len(times))
    assert spans.elapsed_s.size == 0
    assert spans.source(COUNTERS) is None


def test_of_readings_at_one_time_the_last_counts() -> None:
    _same(_thermal([0, 1, 1, 2], [0, 0, 1, 1]), [1, 0])


def test_causes_in_one_span_count_once() -> None:
    spans = _spans(
        range(3),
        throttled_thermal_ns=[0, _S, _S],
        throttled_power_ns=[0, _S // 2, _S],
        clock_event_mask=[None] * 3,
    )
    assert spans.throttled_s(("thermal", "power")).tolist() == [1.0, 0.5]
    assert spans.throttled_s(("thermal", "brake")).tolist() == [1.0, 0.0]


def test_episodes_last_from_the_first_throttled_span_to_the_last() -> None:
    spans = _spans(range(8), throttled_thermal_ns=[0, 0, _S, 2 * _S, 2 * _S, 2 * _S, 3 * _S, 3 * _S])
    assert episodes_s(spans, ("thermal",)).tolist() == [2.0, 1.0]


def test_spans_that_are_all_alike_take_the_room_of_one_number() -> None:
    spans = _spans(range(1000), throttled_thermal_ns=np.zeros(1000, dtype=np.int64))
    assert spans.seconds["thermal"].tolist() == [0.0] * 999
    assert {values.strides for values in spans.seconds.values()} == {(0,)}
