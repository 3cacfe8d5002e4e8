import math
import pickle
import random
from typing import Any

import naive_stream
import pytest
import river
from thermograd.ingest.simulate.gpu import SimulatedGpu
from thermograd.store.events import SCHEMA_VERSION, Event, column_names
from thermograd.store.telling.episodes import ends_of
from thermograd.stream.alerts.alert import digest
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import AlertSettings, Settings
from thermograd.stream.spike import SpikeDetector

SECOND = 10**9
EPOCH = 1_764_000_000 * SECOND
DEVICE = "simulated:restricted"


def event(kind: str, writer: str, seq: int, time_ns: int, **values: Any) -> Event:
    base = dict.fromkeys(column_names(kind))
    return Event(
        kind, writer, {**base, "seq": seq, "time_ns": time_ns, "monotonic_ns": time_ns - EPOCH, **values}
    )


def steps(values: list[float | None], writer: str = "rank0", metric: str = "grad_norm") -> list[Event]:
    return [
        event("step", writer, i, EPOCH + i * SECOND // 2, step=i + 1, **{metric: x})
        for i, x in enumerate(values)
    ]


def noise(n: int, seed: int = 0) -> list[float | None]:
    rng = random.Random(seed)
    return [rng.gauss(1.0, 0.05) for _ in range(n)]


def writer_streams(seed: int = 0) -> list[list[Event]]:
    """Two training ranks with disturbances and an agent with two devices, one of them throttled."""
    streams = []
    for rank in (0, 1):
        grad, loss = noise(600, seed + rank), noise(600, seed + 10 + rank)
        grad[250], grad[400], loss[251] = 9.0, math.nan, 3.0
        grad[420:425] = [0.0] * 5
        events = []
        for i, (g, x) in enumerate(zip(grad, loss, strict=True)):
            events.append(
                event("step", f"rank{rank}", i, EPOCH + i * SECOND // 2 + rank, step=i + 1, rank=rank,
                      grad_norm=g, loss=x)
            )  # fmt: skip
        streams.append(events)
    agent: list[Event] = []
    gpu, cool = SimulatedGpu("restricted", seed=seed), SimulatedGpu("dc", seed=seed)
    for i in range(300):
        for each in (gpu, cool):
            each.advance(1.0, 0.95)
            if 200 <= i < 215 and each is cool:
                continue
            values = {k: v for k, v in each.read().items() if v is not None}
            agent.append(event("sample", "agent", len(agent), EPOCH + i * SECOND + 7, **values))
    return [*streams, agent]


def facts() -> dict[str, dict[str, Any]]:
    return {p.device: p.describe() for p in (SimulatedGpu("restricted"), SimulatedGpu("dc"))}


def interleave(streams: list[list[Event]], rng: random.Random) -> list[Event]:
    """Any order of the writers that keeps each writer's own."""
    queues = [list(stream) for stream in streams]
    mixed = []
    while any(queues):
        queue = rng.choice([q for q in queues if q])
        take = rng.randint(1, 40)
        mixed += queue[:take]
        del queue[:take]
    return mixed


def by_time(streams: list[list[Event]]) -> list[Event]:
    return sorted((e for stream in streams for e in stream), key=lambda e: e.values["time_ns"])


def run(events: list[Event], monitor: Monitor | None = None) -> list[dict[str, Any]]:
    monitor = monitor or Monitor(facts())
    alerts = [alert for each in events for alert in monitor.process(each)] + monitor.close()
    assert monitor.failures == []
    return alerts


def test_an_alert_has_every_column_and_points_at_its_cause() -> None:
    values = noise(300)
    values[200] = 8.48
    (alert,) = run(steps(values))
    assert set(alert) == set(column_names("alert")) - {"seq"}
    assert alert["alert"] == "spike.grad"
    assert alert["severity"] == "critical"
    assert (alert["step"], alert["offset"], alert["metric"], alert["value"]) == (201, 200, "grad_norm", 8.48)
    assert alert["time_ns"] == alert["onset_time_ns"] == EPOCH + 100 * SECOND
    assert alert["monotonic_ns"] == 100 * SECOND
    assert alert["definition"] == (
        f"{SpikeDetector().definition_id} river {river.__version__}, schema {SCHEMA_VERSION}"
    )
    assert alert["threshold"] < 8.48
    assert alert["score"] > 10
    assert alert["message"].startswith("step 201: grad_norm 8.48 is 8.")
    assert "x the recent level 0.99" in alert["message"]
    assert "(z = 1" in alert["message"]


def test_a_moderate_spike_is_a_warning() -> None:
    values = noise(300)
    values[200] = 1.42
    (alert,) = run(steps(values))
    assert alert["severity"] == "warning"
    assert 6 <= alert["score"] < 10


def test_all_that_happens_to_the_steps_is_told_once() -> None:
    values = noise(900)
    values[300:303] = [math.nan, math.inf, math.nan]
    values[400:405] = [0.0] * 5
    values[600:] = [3.0 * (x or 0.0) for x in values[600:]]
    alerts = run(steps(values))
    assert [(a["alert"], a["severity"], a["step"]) for a in alerts if a["step"] < 601] == [
        ("nonfinite", "critical", 301),
        ("zero_grad", "warning", 401),
    ]
    assert {a["alert"] for a in alerts if a["step"] >= 601} == {"spike.grad", "shift.grad"}
    assert [a["message"] for a in alerts][:2] == [
        "step 301: grad_norm is nan",
        "step 401: grad_norm is exactly 0: no gradient reaches the optimizer",
    ]


def test_an_overflow_that_the_optimizer_skipped_is_a_warning() -> None:
    (alert,) = run([event("step", "rank0", 0, EPOCH, step=1, grad_norm=math.inf, skipped=True)])
    assert (alert["severity"], alert["message"]) == (
        "warning", "step 1: grad_norm is inf; the optimizer skipped this step")  # fmt: skip


def test_loss_has_its_own_smaller_ratio() -> None:
    values = [x and 1.0 + (x - 1.0) / 50 for x in noise(300)]
    values[200] = 1.2
    assert [a["alert"] for a in run(steps(values, metric="loss"))] == ["spike.loss"]
    assert run(steps(values, metric="grad_norm")) == []


def test_steps_without_measurements_raise_nothing() -> None:
    assert run(steps([None] * 300)) == []


def test_throttling_is_told_with_its_onset_and_in_numbers() -> None:
    alerts = [a for a in run(writer_streams()[2]) if a["device"] == DEVICE]
    assert [(a["alert"], a["severity"]) for a in alerts] == [
        ("throttle.warn", "warning"),
        ("collapse.thermal", "critical"),
    ]
    warn, collapse = alerts
    assert warn["metric"] == "temperature_c"
    assert warn["threshold"] == 85.0
    assert 35 <= (collapse["onset_time_ns"] - EPOCH) / SECOND <= 60
    assert collapse["onset_time_ns"] <= collapse["time_ns"]
    assert collapse["value"] < collapse["threshold"] < 1980.0
    assert collapse["score"] >= 0.05
    assert collapse["message"].startswith(f"{DEVICE}: throttled by heat at 8")
    assert "% below its usual 1980 MHz" in collapse["message"]


def test_when_throttling_ended_is_told_once_for_each_alert_also_of_what_lasts_to_the_end() -> None:
    monitor, alerts, marks = Monitor(facts()), [], []
    for each in writer_streams()[2]:
        alerts += monitor.process(each)
        marks += monitor.take_ended()
    alerts += monitor.close()
    marks += monitor.take_ended()
    raised = [a for a in alerts if a["alert"] in ("collapse.thermal", "throttle.warn", "power_limited")]
    ends = ends_of(marks)
    assert len(raised) == len(marks) == len(ends) > 1
    for alert in raised:
        assert ends[alert["alert"], alert["device"], alert["onset_time_ns"]] >= alert["time_ns"]
    assert monitor.take_ended() == []


def test_of_alerts_that_are_off_no_end_is_told() -> None:
    monitor = Monitor(facts(), Settings(alerts=AlertSettings(off=("throttle.warn",))))
    for each in writer_streams()[2]:
        monitor.process(each)
    monitor.close()
    assert {mark["text"] for mark in monitor.take_ended()} == {"collapse.thermal"}


def test_samples_that_stop_and_come_back_are_a_gap() -> None:
    (alert,) = [a for a in run(writer_streams()[2]) if a["alert"] == "sensor.gap"]
    assert (alert["device"], alert["value"]) == ("simulated:dc", 16.0)
    assert alert["time_ns"] - alert["onset_time_ns"] == 16 * SECOND
    assert alert["message"] == "simulated:dc: no samples for 16.0 s; they come every 1 s"


def test_slow_sampling_is_no_gap() -> None:
    events = [event("sample", "agent", i, EPOCH + 10 * i * SECOND, device="cpu") for i in range(50)]
    assert run(events) == []


def test_two_runs_give_the_same_digest() -> None:
    events = by_time(writer_streams())
    alerts = run(events)
    assert len(alerts) >= 10
    assert digest(run(events)) == digest(alerts)
    assert digest(alerts[1:]) != digest(alerts)


@pytest.mark.parametrize("seed", range(6))
def test_however_writers_are_interleaved_the_alerts_are_the_same(seed: int) -> None:
    streams = writer_streams()
    mixed = interleave(streams, random.Random(seed))
    assert len(mixed) == sum(len(stream) for stream in streams)
    assert digest(run(mixed)) == digest(run(by_time(streams)))


@pytest.mark.parametrize("cut", [1, 500, 1100, 1700])
def test_a_pickle_in_mid_run_goes_on_to_the_same_alerts_and_correlations(cut: int) -> None:
    events = by_time(writer_streams())
    monitor = Monitor(facts())
    first = [alert for each in events[:cut] for alert in monitor.process(each)]
    resumed = pickle.loads(pickle.dumps(monitor))
    assert digest(first + run(events[cut:], resumed)) == digest(first + run(events[cut:], monitor))
    assert resumed.pairs.correlations() == monitor.pairs.correlations()
    assert digest(first + run(events[cut:], pickle.loads(pickle.dumps(Monitor())))) != digest(first)


def test_the_last_bit_and_every_column_count_in_the_digest() -> None:
    alert = run(writer_streams()[0])[0]
    assert digest([alert]) == digest([{**alert, "seq": 7}])
    assert digest([alert]) != digest([{**alert, "value": math.nextafter(alert["value"], 99)}])
    assert digest([alert]) != digest([{**alert, "severity": "info"}])
    assert digest([{**alert, "score": None}]) != digest([{**alert, "score": math.nan}])


def test_correlations_are_those_of_the_joined_rows() -> None:
    streams = writer_streams()
    monitor = Monitor(facts())
    run(by_time(streams), monitor)
    rows = naive_stream.joined([e.values for e in streams[0]], [e.values for e in streams[2]], SECOND)
    assert monitor.pairs.join.joined == sum(row[2] is not None for row in rows)
    assert monitor.pairs.join.late == 0
    found = monitor.pairs.correlations()
    assert len(found) == 6
    for (metric, device, column), value in found.items():
        pairs = []
        for step, of, sample in rows:
            if of == device and sample is not None:
                x, y = streams[0][step].values[metric], streams[2][sample].values[column]
                if math.isfinite(x):
                    pairs.append((x, y))
        expected = naive_stream.correlation(pairs[-128:])
        assert value == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_only_rank_0_is_joined() -> None:
    streams = writer_streams()
    monitor = Monitor()
    run(by_time(streams[1:]), monitor)
    assert (monitor.pairs.join.joined, monitor.pairs.join.unmatched) == (0, 0)


def test_a_detector_that_fails_is_disabled_alone_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """As pyo3 raises it: no Exception."""

    def panic(self: object, x: float) -> None:
        if x == 9.0:
            raise Panic("quantile panicked")

    monkeypatch.setattr("thermograd.stream.level_shift.LevelShift.update", panic)
    monitor = Monitor(facts())
    alerts = [a for e in by_time(writer_streams()) for a in monitor.process(e)]
    assert monitor.failures == [
        f"shift.grad on grad_norm of writer rank{rank} at its event 250 "
        "was disabled: Panic: quantile panicked"
        for rank in (0, 1)
    ]
    assert {"spike.grad", "spike.loss", "nonfinite", "collapse.thermal"} <= {a["alert"] for a in alerts}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_stop_is_not_swallowed(stop: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def update(self: object, x: float) -> None:
        raise stop

    monkeypatch.setattr("thermograd.stream.spike.SpikeDetector.update", update)
    with pytest.raises(stop):
        Monitor().process(steps([1.0])[0])


def test_a_join_that_fails_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = Monitor(facts())
    broken = event("sample", "agent", 0, EPOCH, device="cpu")
    monkeypatch.setattr("thermograd.stream.join.event_time.EventTimeJoin.take_sample", lambda *_: 1 / 0)
    monitor.process(broken)
    assert monitor.failures == [
        "the join of steps with samples was disabled: ZeroDivisionError: division by zero"
    ]
    values = noise(300)
    values[200] = 9.0
    alerts = [alert for each in steps(values) for alert in monitor.process(each)]
    assert [alert["alert"] for alert in alerts] == ["spike.grad"]
    assert (monitor.pairs.join.joined, monitor.pairs.join.unmatched, monitor.pairs.join.late) == (0, 0, 0)


def test_marks_and_alerts_are_passed_over() -> None:
    monitor = Monitor()
    assert monitor.process(event("mark", "rank0", 0, EPOCH, mark="note")) == []
    assert monitor.process(event("alert", "agent", 0, EPOCH, alert="spike.grad")) == []
