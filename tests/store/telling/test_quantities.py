"""Counts with their nouns, durations with their units, clocks: what people are shown."""

import math

import pytest
from hypothesis import example, given, strategies as st
from thermograd.store.telling.quantities import (
    age_text,
    clock_text,
    counted,
    duration_text,
    elapsed_text,
    moment_text,
    plural,
)

_UNIT_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def read_back(text):
    words = text.split()
    return sum(float(n) * _UNIT_S[unit] for n, unit in zip(words[::2], words[1::2], strict=True))


@given(st.floats(0, 1e8))
@example(0.125)
@example(10.5)
def test_a_duration_reads_back_as_what_it_was_to_two_digits(seconds):
    text = duration_text(seconds)
    assert read_back(text) == pytest.approx(seconds, rel=0.05, abs=1e-9)
    assert len(text.split()) <= 4


@given(st.floats(120, 1e8))
@example(3 * 86_400 - 20.0)
def test_no_number_in_a_duration_is_as_large_as_the_next_unit(seconds):
    words = duration_text(seconds).split()
    limits = {"s": 60, "min": 120, "h": 72, "d": math.inf}
    assert all(int(n) < limits[unit] for n, unit in zip(words[::2], words[1::2], strict=True))


def test_roundings_at_the_edges_carry_over():
    assert duration_text(119.5) == "2 min"
    assert duration_text(7199.6) == "2 h"
    assert duration_text(3 * 86_400 - 20) == "3 d"
    assert duration_text(-150) == "−2 min 30 s"
    assert duration_text(math.inf) == duration_text(math.nan) == clock_text(math.nan) == "–"


@given(st.floats(0, 1e7), st.integers(0, 3))
def test_a_clock_reads_back_and_its_minutes_and_seconds_stay_below_sixty(seconds, digits):
    hours, minutes, rest = clock_text(seconds, digits).split(":")
    assert int(minutes) < 60
    assert float(rest) < 60
    read = int(hours) * 3600 + int(minutes) * 60 + float(rest)
    assert read == pytest.approx(seconds, abs=0.5 / 10**digits + 1e-6)


def test_ages_stay_in_hours_below_two_days():
    assert age_text(23 * 3600) == "23 h"
    assert age_text(47 * 3600) == "47 h"
    assert age_text(48 * 3600) == "2 days"
    assert age_text(119.9) == "2 min"


def test_one_is_singular_and_nothing_else():
    assert counted(1, "alert") == "1 alert"
    assert [plural(n, "rise") for n in (0, 1, 2)] == ["rises", "rise", "rises"]
    assert counted(1, "query", "queries") == "1 query"
    assert counted(1_234_567, "query", "queries") == "1,234,567 queries"


def test_a_moment_is_never_in_the_future():
    assert moment_text(10**9 - 1) == "1970-01-01 00:00:00"


@given(st.floats(2 * 86_400, 1e7), st.integers(0, 3))
def test_from_two_days_on_a_time_since_the_start_has_days(seconds, digits):
    days, _, clock = elapsed_text(seconds, digits).partition(" d ")
    hours, minutes, rest = clock.split(":")
    assert int(hours) < 24
    assert int(minutes) < 60
    read = int(days) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(rest)
    assert read == pytest.approx(seconds, abs=0.5 / 10**digits + 1e-6)


def test_below_two_days_it_is_a_clock_and_what_rounds_up_to_them_is_not():
    assert elapsed_text(172_799.4) == clock_text(172_799.4) == "47:59:59"
    assert elapsed_text(172_799.6) == "2 d 00:00:00"
    assert elapsed_text(-5.0) == clock_text(-5.0)
    assert elapsed_text(math.nan) == clock_text(math.nan)
