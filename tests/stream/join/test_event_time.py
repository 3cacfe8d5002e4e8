import pickle
import random
from typing import Any

import naive_stream
import numpy as np
import pytest
from thermograd.store.align.matching import nearest
from thermograd.stream.join.event_time import EventTimeJoin, Joined

SECOND = 10**9
Event = tuple[str, dict[str, Any]]


def step(time_ns: int, seq: int) -> dict[str, Any]:
    return {"time_ns": time_ns, "seq": seq}


def sample(time_ns: int, seq: int, device: str = "a") -> dict[str, Any]:
    return {"time_ns": time_ns, "seq": seq, "device": device}


def feed(join: EventTimeJoin, events: list[Event], close: bool = True) -> list[Joined]:
    rows = []
    for kind, values in events:
        rows += join.step(values) if kind == "step" else join.sample(values)
    return rows + (join.close() if close else [])


def brief(rows: list[Joined]) -> list[tuple[int, str, int | None]]:
    return [(s["seq"], device, None if found is None else found["seq"]) for s, device, found in rows]


def session(rng: random.Random) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Steps and samples on a coarse grid of times, so that ties and duplicates abound."""
    grid = rng.choice([1, 250_000_000, 500_000_000])
    steps, samples = [], []
    now = 0
    for seq in range(rng.randint(1, 60)):
        now += round(rng.choice([0, 0.3, 1, 1, 2.5, 6]) * rng.random() * SECOND) // grid * grid
        steps.append(step(now, seq))
    for device in ("a", "b", "c")[: rng.randint(1, 3)]:
        now = rng.randint(-3, 3) * SECOND
        for seq in range(rng.randint(1, 60)):
            now += round(rng.choice([0, 0.1, 1, 1, 1, 4]) * rng.random() * 2 * SECOND) // grid * grid
            samples.append(sample(now, seq, device))
    return steps, samples


def delayed(rng: random.Random, events: list[Event], delay_ns: int) -> list[Event]:
    """The events in order of arrival, each at most `delay_ns` after its time."""
    return sorted(events, key=lambda event: event[1]["time_ns"] + rng.randint(0, delay_ns))


def test_equals_the_join_after_the_run_if_no_event_is_late() -> None:
    for seed in range(250):
        assert_equals_the_join_after_the_run(seed)


def assert_equals_the_join_after_the_run(seed: int) -> None:
    rng = random.Random(seed)
    steps, samples = session(rng)
    tolerance_s = rng.choice([0.0, 0.5, 1.0, 3.0])
    lateness_s = rng.choice([0.5, 2.0, 5.0])
    events = [("step", s) for s in steps] + [("sample", s) for s in samples]
    events = delayed(rng, events, round(lateness_s * SECOND) - 1)
    join = EventTimeJoin(tolerance_s, lateness_s, devices=["a", "b", "c"])
    expected = naive_stream.joined(steps, samples, round(tolerance_s * SECOND))
    for device in {"a", "b", "c"} - {s["device"] for s in samples}:
        expected += [(s["seq"], device, None) for s in steps]
    rows = feed(join, events)
    assert join.late == 0
    assert sorted(brief(rows)) == sorted(expected, key=lambda row: row[:2])
    assert join.joined == sum(row[2] is not None for row in expected)
    assert join.unmatched == len(expected) - join.joined
    for device in "abc":
        order = [(s["time_ns"], s["seq"]) for s, of, _ in rows if of == device]
        assert order == sorted(order)


def test_a_device_that_was_not_announced_gets_the_same_matches() -> None:
    for seed in range(60):
        assert_the_same_matches(seed)


def assert_the_same_matches(seed: int) -> None:
    rng = random.Random(seed)
    steps, samples = session(rng)
    events = delayed(rng, [("step", s) for s in steps] + [("sample", s) for s in samples], SECOND)
    found = {row for row in brief(feed(EventTimeJoin(), events)) if row[2] is not None}
    expected = {row for row in naive_stream.joined(steps, samples, SECOND) if row[2] is not None}
    assert found == expected


def test_late_events_are_counted_and_wrong_rows_are_only_theirs() -> None:
    for seed in range(60):
        assert_wrong_rows_are_only_those_of_late_events(seed)


def assert_wrong_rows_are_only_those_of_late_events(seed: int) -> None:
    rng = random.Random(seed)
    steps, samples = session(rng)
    samples = [s for s in samples if s["device"] == "a"]
    events = delayed(rng, [("step", s) for s in steps] + [("sample", s) for s in samples], 3 * SECOND)
    newest = None
    kept: dict[str, list[dict[str, Any]]] = {"step": [], "sample": []}
    late = 0
    for kind, values in events:
        time_ns = values["time_ns"]
        if newest is not None and time_ns <= newest - SECOND:
            late += 1
        else:
            kept[kind].append(values)
        newest = time_ns if newest is None else max(newest, time_ns)
    join = EventTimeJoin(1.0, 1.0, devices=["a"])
    rows = brief(feed(join, events))
    assert join.late == late
    expected = naive_stream.joined(kept["step"], kept["sample"], SECOND)
    assert sorted(rows) == sorted(expected or [(s["seq"], "a", None) for s in kept["step"]])


def table(rng: random.Random, rows: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A long recording: irregular steps, a jittering sensor, on a coarse grid, so that ties abound."""
    grid = rng.choice([1_000_000, 50_000_000, 250_000_000])
    now, steps, samples = 1_764_000_000 * SECOND, [], []
    for seq in range(rows):
        now += (
            round(rng.choice([0.0, 0.2, 0.4, 0.4, 1.0, 7.0 * (rng.random() < 0.05)]) * SECOND) // grid * grid
        )
        steps.append(step(now + round(rng.random() * 4) * grid, seq))
    until, now, seq = now, 1_764_000_000 * SECOND, 0
    while now < until:
        now += round(
            rng.choice([0.0, 0.1, 0.5, 0.5, 25.0 * (rng.random() < 0.1)]) * SECOND
        ) // grid * grid + (0 if rng.random() < 0.2 else grid)
        samples.append(sample(now, seq))
        seq += 1
    return steps, samples


def test_not_one_of_100_000_rows_differs_from_pandas_and_from_the_alignment_after_the_run() -> None:
    pandas = pytest.importorskip("pandas")
    rows_in_all = 0
    for seed, tolerance_s in enumerate((0.3, 1.0, 5.0)):
        rng = random.Random(seed)
        steps, samples = table(rng, 34_000)
        events = delayed(rng, [("step", s) for s in steps] + [("sample", s) for s in samples], 2 * SECOND - 1)
        join = EventTimeJoin(tolerance_s, 2.0, devices=["a"])
        found = brief(feed(join, events))
        assert join.late == 0
        last = {s["time_ns"]: s["seq"] for s in samples}  # of several at one time, the one logged last
        left = pandas.DataFrame(sorted((s["time_ns"], s["seq"]) for s in steps), columns=["t", "step"])
        right = pandas.DataFrame(sorted(last.items()), columns=["t", "sample"])
        tolerance_ns = round(tolerance_s * SECOND)
        merged = pandas.merge_asof(left, right, on="t", direction="nearest", tolerance=tolerance_ns)
        expected = [None if pandas.isna(value) else int(value) for value in merged["sample"]]
        assert [row[2] for row in found] == expected
        assert [row[0] for row in found] == merged["step"].tolist()
        times = np.array([s["time_ns"] for s in samples])
        after = nearest(merged["t"].to_numpy(), times, tolerance_ns)
        assert [None if at < 0 else samples[at]["seq"] for at in after] == expected
        assert None in expected
        rows_in_all += len(expected)
    assert rows_in_all >= 100_000


def test_the_tolerance_is_inclusive_and_a_tie_goes_to_the_earlier() -> None:
    rows = feed(EventTimeJoin(), [("sample", sample(0, 0)), ("step", step(SECOND, 0))])
    assert brief(rows) == [(0, "a", 0)]
    rows = feed(EventTimeJoin(), [("sample", sample(0, 0)), ("step", step(SECOND + 1, 0))])
    assert brief(rows) == [(0, "a", None)]
    events = [("sample", sample(0, 0)), ("sample", sample(2 * SECOND, 1)), ("step", step(SECOND, 0))]
    assert brief(feed(EventTimeJoin(), events)) == [(0, "a", 0)]


def test_of_two_samples_at_one_time_the_one_logged_last_is_taken() -> None:
    events = [("sample", sample(0, 0)), ("sample", sample(0, 1)), ("step", step(5, 0))]
    assert brief(feed(EventTimeJoin(), events)) == [(0, "a", 1)]
    assert brief(feed(EventTimeJoin(), [events[1], events[0], events[2]])) == [(0, "a", 1)]


def test_nanoseconds_of_our_time_are_kept() -> None:
    """float64 cannot tell nanoseconds apart at 1.7e18."""
    epoch = 1_764_000_000 * SECOND
    events = [("sample", sample(epoch - 2, 0)), ("sample", sample(epoch + 1, 1)), ("step", step(epoch, 0))]
    assert brief(feed(EventTimeJoin(), events)) == [(0, "a", 1)]


def test_a_silent_device_delays_only_its_own_rows_and_not_for_ever() -> None:
    join = EventTimeJoin(tolerance_s=1.0, lateness_s=2.0, devices=["silent", "talks"])
    answered: dict[str, int] = {"silent": -1, "talks": -1}
    for second in range(60):
        rows = join.sample(sample(second * SECOND, second, "talks"))
        rows += join.step(step(second * SECOND + 500_000_000, second))
        for values, device, found in rows:
            answered[device] = values["seq"]
            assert (found is None) is (device == "silent")
        assert answered["talks"] >= second - 3
        assert answered["silent"] >= second - 4


def test_a_heartbeat_releases_what_waits() -> None:
    join = EventTimeJoin(devices=["a"])
    assert join.step(step(0, 0)) == []
    assert brief(join.advance(3 * SECOND)) == [(0, "a", None)]


def test_a_clock_that_runs_ahead_spoils_only_its_own_device() -> None:
    join = EventTimeJoin(devices=["good", "ahead"])
    join.sample(sample(10**18, 0, "ahead"))
    rows = []
    for second in range(30):
        rows += join.sample(sample(second * SECOND, second, "good"))
        rows += join.step(step(second * SECOND, second))
    rows += join.close()
    assert [row for row in brief(rows) if row[1] == "good"] == [(s, "good", s) for s in range(30)]
    assert join.late == 30  # every step is late for the other one, and is counted once


def test_memory_is_bounded_whoever_is_silent() -> None:
    only_steps = EventTimeJoin(devices=["a"], max_pending_steps=100)
    for seq in range(3000):
        only_steps.step(step(0, seq))
    assert only_steps.forced == 2900
    only_samples = EventTimeJoin()
    for seq in range(3000):
        only_samples.sample(sample(seq * SECOND // 10, seq))
    assert len(pickle.dumps(only_samples)) < 10_000
    assert len(pickle.dumps(only_steps)) < 20_000


def test_a_pickle_in_mid_stream_goes_on_the_same() -> None:
    rng = random.Random(7)
    steps, samples = session(rng)
    events = delayed(rng, [("step", s) for s in steps] + [("sample", s) for s in samples], SECOND)
    join = EventTimeJoin()
    feed(join, events[:40], close=False)
    resumed = pickle.loads(pickle.dumps(join))
    assert brief(feed(resumed, events[40:])) == brief(feed(join, events[40:]))


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="tolerance_s=-1"):
        EventTimeJoin(tolerance_s=-1)


def test_a_step_that_comes_too_late_for_one_device_forces_no_row_of_another_that_it_makes_certain():
    join = EventTimeJoin(2.0, 0.0, devices=("fast", "other"), max_pending_steps=1)
    join.sample({"time_ns": 10 * SECOND, "seq": 0, "device": "fast"})
    for seq, at in enumerate((5, 7, 9)):
        join.step({"time_ns": at * SECOND, "seq": seq, "step": seq})
    assert (join.forced, join.late, join.unmatched) == (0, 3, 2)
