"""The report says how far the times of a run can be trusted, and claims nothing that was not measured."""

from pathlib import Path

import numpy as np
import pytest
from synthetic import make_run
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.readings.data_quality import clock_lines
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_START_NS = 1_750_000_000 * 10**9


def _run(tmp_path: Path, slew_ns: int, restarted: bool = False, **facts: object) -> Run:
    """Write five steps a second apart; the wall clock gains `slew_ns` on the monotonic clock in all."""
    run = create_run(tmp_path, "clocks", facts)
    writer = EventWriter(run.path, run.run_id, "writer")
    for k in range(5):
        monotonic_ns = (k - 3 if restarted and k >= 3 else k + 100) * 10**9
        time_ns = _START_NS + k * 10**9 + k * slew_ns // 4
        writer.append("step", time_ns, monotonic_ns, step=k + 1)
    writer.close()
    return run


def test_slewed_wall_clock_is_told_in_milliseconds(tmp_path: Path) -> None:
    (line,) = clock_lines(load_series(_run(tmp_path, slew_ns=8_000_000)))
    assert "at most 8 ms" in line


def test_restart_of_the_machine_is_no_slewed_clock(tmp_path: Path) -> None:
    (line,) = clock_lines(load_series(_run(tmp_path, slew_ns=0, restarted=True)))
    assert "at most 0 ms" in line


def test_imported_times_are_as_fine_as_they_are_written_and_no_truer(tmp_path: Path) -> None:
    (line,) = clock_lines(load_series(_run(tmp_path, slew_ns=0, source="imported")))
    assert "steps 1 s" in line
    assert "is not known" in line


def test_run_without_events_says_nothing_of_clocks(tmp_path: Path) -> None:
    assert clock_lines(load_series(make_run(tmp_path, steps=0, with_samples=False))) == []


@pytest.mark.parametrize(
    ("used_pct", "is_called_idle"), [(90.0, False), (55.0, False), (30.0, True), (0.0, True)]
)
def test_a_device_that_is_used_all_the_time_is_not_called_idle(tmp_path, used_pct, is_called_idle):
    """Its log may begin with the training and end in another one: it is said that nothing rose."""
    rng = np.random.default_rng(3)
    run = create_run(tmp_path, "load", {"devices": {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=4096)
    for k in range(320):
        power = 100 + 10 * float(rng.normal())
        writer.append("sample", k * 10**9, device="gpu", power_w=power, utilization_pct=used_pct)
        if 60 <= k < 260:
            writer.append("step", k * 10**9, step=k, grad_norm=float(np.exp(rng.normal())))
    writer.close()
    found = analyze_run(run).to_json()
    barred = [reason for pair in found["pairs"] for reason in pair["reasons"] if "was idle" in reason]
    assert bool(barred) == is_called_idle
    assert any("was not doing the training" in text for text in found["warnings"]) == is_called_idle
    assert (
        any("as busy around the training, so whether it" in text for text in found["warnings"])
        != is_called_idle
    )


@pytest.mark.parametrize("rise_w", [0.0, 8.0, 60.0])
def test_the_warning_of_an_idle_device_and_the_gate_agree(tmp_path, rise_w):
    """One threshold: else a pair could be barred of which no warning speaks, or the other way round."""
    rng = np.random.default_rng(3)
    run = create_run(tmp_path, "load", {"devices": {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "writer", batch_rows=4096)
    for k in range(320):
        trains = 60 <= k < 260
        power = 100 + rise_w * trains + 10 * float(rng.normal())
        writer.append("sample", k * 10**9, device="gpu", power_w=power)
        if trains:
            writer.append("step", k * 10**9, step=k, grad_norm=float(np.exp(rng.normal())))
    writer.close()
    found = analyze_run(run).to_json()
    warned = [text for text in found["warnings"] if "was not doing the training: power_w" in text]
    barred = [reason for pair in found["pairs"] for reason in pair["reasons"] if "was idle" in reason]
    assert bool(warned) == bool(barred) == (rise_w < 10)


def test_numbers_above_2_to_the_53_are_read_as_the_nearest_float(tmp_path: Path) -> None:
    """A log may have any step, and a counter of ns passes it after 104 days."""
    run = create_run(tmp_path, "large")
    writer = EventWriter(run.path, run.run_id, "writer")
    writer.append("step", _START_NS, 0, step=2**63 - 1, loss=1.0)
    writer.append("sample", _START_NS, 0, device="g", throttled_thermal_ns=2**54 + 1)
    writer.close()
    series = load_series(run)
    assert series.training("step").tolist() == [2.0**63]
    throttled = series.devices["g"].signal("throttled_thermal_ns")
    assert throttled is not None
    assert throttled.tolist() == [2.0**54]
