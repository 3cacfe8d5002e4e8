"""What the page of a run draws is the log: every event once, in order, whatever moves where meanwhile."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from live_training import SECOND, START_NS, Training
from scale_runs import scale_run
from thermograd.analysis.report.data.bands import cast_devices
from thermograd.analysis.report.data.build_panels import build_panels
from thermograd.analysis.run.series import load_series
from thermograd.analysis.serve.live.columns import Grown
from thermograd.analysis.serve.live.recording import Recording
from thermograd.analysis.serve.live.timeline import Fresh, numbers, timeline
from thermograd.store.runs.catalogue import Run


def agree(recording: Recording, run: Run) -> None:
    """Check that what is drawn is what a report would read anew."""
    shown, anew = recording.series(), load_series(Run(run.path))
    assert shown.step_time_ns.tolist() == anew.step_time_ns.tolist()
    for name in ("loss", "grad_norm", "step_time_s", "tokens_per_s"):
        np.testing.assert_array_equal(shown.training(name), anew.training(name))
    assert list(shown.devices) == list(anew.devices)
    for name, device in anew.devices.items():
        np.testing.assert_array_equal(shown.devices[name].time_ns, device.time_ns)
        for key in ("temperature_c", "power_w", "rle_smoothed"):
            given, wanted = shown.devices[name].signal(key), device.signal(key)
            assert (given is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_array_equal(given, wanted)
    assert [alert["alert"] for alert in shown.alerts] == [alert["alert"] for alert in anew.alerts]


def test_every_event_is_appended_once_while_the_log_is_written_sealed_and_begun_anew(tmp_path: Path) -> None:
    training = Training(tmp_path, ranks=2)
    training.train(30)
    training.sample(3)
    recording = Recording(training.run)
    agree(recording, training.run)
    training.train(25)
    training.sample(2)
    assert recording.look().events == 52
    training.seal()
    training.train(10)
    assert recording.look().events == 20
    agree(recording, training.run)
    for writer in (*training.ranks, training.agent):
        writer.close()
    training.ranks = [training.writer("host-r0b", "step")]  # the job was restarted
    training.train(5)
    training.ranks[0].close()
    training.seal()
    assert recording.look().events == 5
    assert recording.look().events == 0
    agree(recording, training.run)
    assert (recording.steps(), recording.version) == (70, 3)


def test_a_rank_below_those_that_were_read_takes_over(tmp_path: Path) -> None:
    training = Training(tmp_path, ranks=2)
    second = training.ranks
    training.ranks = [training.ranks[1]]
    training.ranks[0].append("step", START_NS, START_NS, step=0, rank=1, loss=9.0)
    recording = Recording(training.run)
    assert recording.series().training("loss").tolist() == [9.0]
    second[0].append("step", START_NS + 5, START_NS + 5, step=0, rank=0, loss=1.0)
    assert recording.look().again
    assert recording.series().training("loss").tolist() == [1.0]


def test_a_device_that_comes_later_and_samples_out_of_order_are_drawn_as_read_anew(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.train(5)
    training.sample(5)
    recording = Recording(training.run)
    training.agent.append("sample", START_NS, START_NS, device="late", power_w=3.0, utilization_pct=1.0)
    other = training.writer("other", "sample")
    early = {"device": "gpu", "temperature_c": 1.0, "power_w": 99.0, "utilization_pct": 3.0}
    other.append("sample", START_NS + SECOND // 2, START_NS + SECOND // 2, **early)
    recording.look()
    agree(recording, training.run)


def test_a_timeline_shows_what_the_report_shows(tmp_path: Path) -> None:
    run = scale_run(tmp_path, devices=2, seconds=600.0, samples=600, steps=3000, alerts=0)
    recording = Recording(run)
    told = timeline(recording, cast_devices(recording.series()), None, None, 800)
    report = build_panels(load_series(run), 400)
    assert [panel["key"] for panel in told["panels"]] == [panel.key for panel in report.panels]
    for panel, wanted in zip(told["panels"], report.panels, strict=True):
        assert (panel["reason"], panel["log"], panel["folded"]) == (wanted.reason, wanted.log, wanted.folded)
        for line, curve in zip(panel["lines"], wanted.lines, strict=True):
            np.testing.assert_allclose(line["t"], curve.time_s, atol=0.06)
            assert line["v"] == numbers(curve.values)


def test_a_part_of_a_run_is_drawn_finer_with_times_since_the_beginning(tmp_path: Path) -> None:
    run = scale_run(tmp_path, devices=1, seconds=600.0, samples=600, steps=60_000, alerts=0)
    recording = Recording(run)
    cast = cast_devices(recording.series())
    part = timeline(recording, cast, 100.0, 102.0, 800)
    loss = part["panels"][0]["lines"][0]
    wanted = load_series(run)
    time_s = (wanted.step_time_ns - recording.span_ns()[0]) / 1e9
    inside = (time_s >= 100.0) & (time_s <= 102.0)
    assert len(loss["t"]) == inside.sum() + 2  # all of them, and one on either side
    assert loss["v"][1:-1] == numbers(wanted.training("loss")[inside])
    np.testing.assert_allclose(loss["t"][1:-1], time_s[inside], atol=1e-4)
    assert (part["from_s"], part["to_s"]) == (100.0, 102.0)


@pytest.mark.parametrize(("from_s", "to_s"), [(5.0, 5.0), (9.0, 2.0), (-5.0, 1e12), (1e9, 2e9)])
def test_whatever_part_is_asked_for_one_is_given(tmp_path: Path, from_s: float, to_s: float) -> None:
    recording = Recording(scale_run(tmp_path, devices=1, seconds=20.0, samples=20, steps=20))
    part = timeline(recording, cast_devices(recording.series()), from_s, to_s, 300)
    assert 0 <= part["from_s"] < part["to_s"] <= part["end_s"] + 0.5


def test_what_is_new_is_told_once_and_stays_small_however_much_came(tmp_path: Path) -> None:
    training, fresh = Training(tmp_path), Fresh()
    training.train(20)
    training.sample(2)
    recording = Recording(training.run)
    cast, told = cast_devices(recording.series()), []
    for count in (3, 3, 2000):
        training.train(count)
        news = recording.look()
        told.append(fresh.since(recording, cast, news.first_ns)["panels"]["loss"]["lines"]["loss"][0])
    assert told[:2] == [[2.0, 2.1, 2.2], [2.3, 2.4, 2.5]]
    assert told[2][-1] == pytest.approx((training.steps - 1) / 10)
    assert 10 < len(told[2]) <= 30


def test_values_that_are_no_numbers_and_alerts_ask_for_the_whole_to_be_drawn_anew(tmp_path: Path) -> None:
    training, fresh = Training(tmp_path), Fresh()
    training.train(20)
    recording = Recording(training.run)
    cast = cast_devices(recording.series())
    training.train(1)
    assert not fresh.since(recording, cast, recording.look().first_ns)["again"]
    training.train(1, loss=float("nan"))
    told = fresh.since(recording, cast, recording.look().first_ns)
    assert told["again"]
    assert told["panels"]["loss"]["lines"]["loss"][1] == [None]
    training.agent.append("alert", START_NS, START_NS, alert="spike.grad", severity="info", message="x")
    assert recording.look().again


@pytest.mark.parametrize("steps", [0, 1])
def test_a_run_with_nothing_or_one_step_says_so_in_words(tmp_path: Path, steps: int) -> None:
    training = Training(tmp_path, devices={})
    training.train(steps)
    recording = Recording(training.run)
    told = timeline(recording, cast_devices(recording.series()), None, None, 300)
    reasons = {panel["key"]: panel["reason"] for panel in told["panels"]}
    assert reasons["temperature_c"] == "no device was sampled in this run"
    assert reasons["loss"] == ("" if steps else "no training step was recorded in this run")


def test_what_comes_to_a_long_run_does_not_copy_what_is_there() -> None:
    grown, at = Grown("step", ("time_ns", "loss")), 0

    def add(rows: int) -> None:
        nonlocal at
        numbers = range(at, at + rows)
        grown.add(pa.table({"time_ns": numbers, "loss": [float(each) for each in numbers]}))
        at += rows

    for _ in range(3):
        add(70_000)
    first = grown.table().column("loss").chunk(0).buffers()[1].address
    for _ in range(400):
        add(200)
    table = grown.table()
    assert table.column("loss").chunk(0).buffers()[1].address == first
    assert table.column("time_ns").to_pylist() == list(range(at))
    assert table.column("loss").num_chunks < 70
