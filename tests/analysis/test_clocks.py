"""The report says how far the times of a run can be trusted, and claims nothing that was not measured."""

from pathlib import Path

from synthetic import make_run
from thermograd.analysis.run.quality import clock_lines
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
