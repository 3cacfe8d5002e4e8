import random

from thermograd.stream.usual_clock import UsualClock


def test_a_tenth_of_the_clocks_may_be_faster_than_the_usual_one():
    usual = UsualClock(window_s=1800.0, min_s=5.0)
    told = []
    for second in range(100):
        usual.take(float(second), 1.0, 2100.4 if second in (3, 30, 31, 32) else 1980.4)
        told.append(usual.get())
    assert told[:4] == [None] * 4
    assert [second for second, clock_mhz in enumerate(told) if clock_mhz == 2100.0] == [
        *range(4, 9),
        *range(32, 39),
    ]
    assert {*told} == {None, 2100.0, 1980.0}


def test_of_more_clocks_than_two_a_second_the_others_count_as_time_only():
    usual = UsualClock(window_s=1800.0, min_s=5.0)
    kept = [usual.take(second / 5.0, 0.2, 1980.0 + second) for second in range(50)]
    assert kept == [second % 3 == 0 for second in range(50)]
    assert usual.kept_s == 48 / 5.0
    assert usual.get() == 1980.0 + 45


def test_clocks_that_are_too_old_are_forgotten():
    usual, rng = UsualClock(window_s=30.0, min_s=5.0), random.Random(1)
    clocks = [rng.randrange(1900, 2000) for _ in range(300)]
    for second, clock in enumerate(clocks):
        usual.take(float(second), 1.0, float(clock))
        last = sorted(clocks[max(0, second - 30) : second + 1], reverse=True)
        assert usual.get() == (None if second < 4 else float(last[len(last) // 10]))
