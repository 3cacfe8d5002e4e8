"""Energy says where it is from, is null where nothing tells it, and equals the SQL that is shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from synthetic import START_NS, make_run
from thermograd.analysis.report.page.provenance import queries
from thermograd.analysis.run.energy import ENERGY_SQL, DeviceEnergy, run_energy
from thermograd.analysis.run.series import load_series
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.runs.catalogue import Run, create_run

_SECOND = 10**9


def _run(
    tmp_path: Path,
    samples: Sequence[tuple[float, Mapping[str, Any]]],
    steps: Sequence[float] = (),
    step_time_s: float | None = 1.0,
    numbers: Sequence[int] = (),
) -> Run:
    run = create_run(tmp_path, "energy", {"devices": {"gpu": {}}})
    writer = EventWriter(run.path, run.run_id, "writer")
    for place, seconds in enumerate(steps):
        step = numbers[place] if numbers else place + 1
        writer.append("step", START_NS + round(seconds * _SECOND), step=step, step_time_s=step_time_s)
    for seconds, readings in samples:
        writer.append("sample", START_NS + round(seconds * _SECOND), device="gpu", **readings)
    writer.close()
    return run


def _energy(run: Run) -> DeviceEnergy:
    (energy,) = run_energy(load_series(run))
    return energy


def test_power_over_time_is_joules(tmp_path: Path) -> None:
    run = _run(tmp_path, [(i, {"power_w": 100.0 + 10 * i}) for i in range(11)], steps=[2, 3, 4])
    energy = _energy(run)
    assert energy.source == "power over time"
    assert energy.total_j == pytest.approx(1500.0)
    assert energy.training_j == pytest.approx(115 + 125 + 135)  # from 1 s, where the first step began, to 4 s
    assert energy.mean_per_step_j == pytest.approx(125.0)
    assert energy.steps == 3
    assert energy.covered_ratio == pytest.approx(1.0)


def test_energy_counter_is_preferred_to_power_and_a_reset_is_no_energy(tmp_path: Path) -> None:
    counter = [10.0, 20.0, 30.0, 5.0, 15.0]
    run = _run(tmp_path, [(i, {"power_w": 1.0, "energy_j": j}) for i, j in enumerate(counter)], steps=[4])
    energy = _energy(run)
    assert energy.source == "energy counter"
    assert energy.total_j == pytest.approx(30.0)


def test_power_is_not_known_across_a_hole_but_a_counter_runs_on(tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 60, 61, 62]
    power = _energy(_run(tmp_path / "a", [(t, {"power_w": 100.0}) for t in times], steps=[62]))
    assert power.total_j == pytest.approx(500.0)
    counter = _energy(_run(tmp_path / "b", [(t, {"energy_j": 100.0 * t}) for t in times], steps=[62]))
    assert counter.total_j == pytest.approx(6200.0)


def test_part_of_a_training_without_readings_is_told(tmp_path: Path) -> None:
    run = _run(tmp_path, [(i, {"power_w": 100.0}) for i in range(6)], steps=[1, 10])
    energy = _energy(run)
    assert energy.covered_ratio == pytest.approx(0.5)
    assert energy.steps == 1  # the step that ended at 10 s is not covered


def test_device_without_power_or_counter_has_no_energy(tmp_path: Path) -> None:
    assert run_energy(load_series(_run(tmp_path, [(i, {"temperature_c": 50.0}) for i in range(9)]))) == []
    assert run_energy(load_series(_run(tmp_path / "b", [(0, {"power_w": 50.0})]))) == []


def test_run_without_steps_has_a_total_and_nothing_per_step(tmp_path: Path) -> None:
    energy = _energy(_run(tmp_path, [(i, {"power_w": 10.0}) for i in range(5)]))
    assert energy.total_j == pytest.approx(40.0)
    assert energy.training_j is energy.mean_per_step_j is energy.covered_ratio is None


def test_middle_of_the_steps_is_told_from_twenty_steps_on(tmp_path: Path) -> None:
    few = _energy(make_run(tmp_path / "a", steps=10, seconds=30.0))
    many = _energy(make_run(tmp_path / "b", steps=100, seconds=100.0))
    assert few.low_per_step_j is None
    assert many.low_per_step_j is not None
    assert many.high_per_step_j is not None
    assert many.mean_per_step_j is not None
    assert many.low_per_step_j < many.mean_per_step_j < many.high_per_step_j


@pytest.mark.parametrize("every", [1, 10, 50])
@pytest.mark.parametrize("column", ["power_w", "energy_j"])
def test_an_entry_of_a_log_of_every_nth_step_is_n_steps(tmp_path: Path, every: int, column: str) -> None:
    readings = [(2.0 * i, {column: 100.0 if column == "power_w" else 200.0 * i}) for i in range(310)]
    numbers = range(every, 601, every)
    run = _run(tmp_path, readings, steps=list(numbers), step_time_s=None, numbers=numbers)
    energy = _energy(run)
    assert energy.mean_per_step_j == pytest.approx(100.0)
    assert energy.training_steps == energy.steps == 600 - every
    (row,) = query(ENERGY_SQL.replace("{run_id}", run.run_id), [run]).to_pylist()
    assert row["joules_per_step"] == pytest.approx(100.0)
    if every < 50:
        assert energy.low_per_step_j == pytest.approx(100.0) == energy.high_per_step_j


def test_rows_of_one_step_and_steps_after_a_restart_are_counted_once_each(tmp_path: Path) -> None:
    numbers = [1, 2, 2, 3, 4, 3, 4, 5]
    readings = [(float(i), {"power_w": 100.0}) for i in range(12)]
    run = _run(tmp_path, readings, steps=[2, 3, 3.5, 4, 5, 6, 7, 8], step_time_s=None, numbers=numbers)
    assert _energy(run).mean_per_step_j == pytest.approx(100.0)
    assert _energy(run).training_steps == 6
    (row,) = query(ENERGY_SQL.replace("{run_id}", run.run_id), [run]).to_pylist()
    assert row["joules_per_step"] == pytest.approx(100.0)


def test_a_log_of_one_entry_has_no_energy_per_step(tmp_path: Path) -> None:
    readings = [(float(i), {"power_w": 100.0}) for i in range(12)]
    run = _run(tmp_path, readings, steps=[5], step_time_s=None, numbers=[600])
    assert _energy(run).mean_per_step_j is None
    (row,) = query(ENERGY_SQL.replace("{run_id}", run.run_id), [run]).to_pylist()
    assert row["joules_per_step"] is None


@pytest.mark.parametrize("steps", [(), (2.5, 3.7, 8.2)])
@pytest.mark.parametrize("column", ["power_w", "energy_j"])
def test_sql_of_the_report_gives_the_same_joules(tmp_path: Path, column: str, steps: Sequence[float]) -> None:
    readings = [(0.3 + 1.07 * i, {column: 100.0 + 7 * i + i % 3}) for i in range(12)] + [
        (40.0, {column: 190.0})
    ]
    run = _run(tmp_path, readings, steps=steps)
    energy = _energy(run)
    (row,) = query(ENERGY_SQL.replace("{run_id}", run.run_id), [run]).to_pylist()
    assert row["total_j"] == pytest.approx(energy.total_j)
    assert row["training_j"] == (None if energy.training_j is None else pytest.approx(energy.training_j))
    expected = energy.mean_per_step_j
    assert row["joules_per_step"] == (None if expected is None else pytest.approx(expected))


def test_every_query_of_the_report_answers(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=50, seconds=40.0, spikes=[20], nan=[30])
    answers = {name: query(sql, [run]).to_pylist() for name, sql in queries(run.run_id).items()}
    steps = answers["Steps, losses and gradient norms"][0]
    assert (steps["steps"], steps["norms_not_finite"]) == (50, 1)
    assert [row["matched"] for row in answers["Steps matched with each device, and how far apart"]] == [
        50,
        50,
    ]
    assert answers["Alerts"][0]["alerts"] == 1


def test_run_id_with_a_quote_stays_inside_its_text() -> None:
    assert "run_id = 'a''; --'" in queries("a'; --")["Alerts"]
