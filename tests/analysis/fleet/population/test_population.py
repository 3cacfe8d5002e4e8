"""A run's devices among the others of their model, over runs that are written at once."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from population_runs import H100, LLAMA, run_of, uuid
from thermograd.analysis.fleet.population.beside import population_lines
from thermograd.analysis.fleet.population.exported import Exported, export_of, write_export
from thermograd.analysis.fleet.population.kept import all_summaries, kept_summaries
from thermograd.analysis.fleet.population.population import population_of
from thermograd.analysis.fleet.population.summaries import METRICS, summaries_of, training_of
from thermograd.analysis.fleet.population.telling import describe_population
from thermograd.cli import main
from thermograd.store.errors import NotEnoughDataError, ThermogradError
from thermograd.store.files import read_json, write_json
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run, list_runs

OTHERS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 other devices on 10 hosts, 570 to 599 W, 50 to 64 degC; of the run's own one is hot, one capped."""
    folder = tmp_path_factory.mktemp("runs")
    for host in range(10):
        numbers = range(3 * host, 3 * host + 3)
        devices = {
            n: {"power_w": 570.0 + n, "temperature_c": 50.0 + n / 2, "throttled": n / 1000} for n in numbers
        }
        run_of(folder, devices, name=f"other-{host}", host=f"node-{host}", step_s=0.4 + host / 100)
    own = {
        100: {"power_w": 571.5, "temperature_c": 80.0, "throttled": 0.5},
        101: {"power_w": 300.0, "limit_w": 400.0},
        102: {"facts": {"mig": True}},
    }
    run_of(folder, own, name="mine", host="node-99", step_s=0.455)
    return folder


@pytest.fixture(scope="module")
def summaries(folder):
    return all_summaries(folder)[0]


@pytest.fixture(scope="module")
def mine(folder):
    return next(run for run in list_runs(folder) if run.name == "mine")


def metrics(population, number):
    (device,) = [each for each in population.devices if each.device == uuid(number)]
    return {each.metric: each for each in device.metrics}


def test_a_device_stands_among_its_model_at_the_same_clock_power_and_training(mine, summaries):
    found = metrics(population_of(mine, summaries), 100)
    power = found["power_w"]
    assert (power.at, power.at_unit, power.others, power.value) == (1980.0, "MHz", OTHERS, 571.5)
    assert power.percentile == pytest.approx(100 * 2 / OTHERS)
    assert power.low < power.percentile < power.high
    assert found["temperature_c"].percentile == 100
    assert found["throttled_ratio"].value == pytest.approx(0.5, abs=1e-6)
    assert found["step_time_s"].percentile == pytest.approx(60)
    assert found["energy_per_step_j"].others == OTHERS
    assert found["energy_per_step_j"].value == pytest.approx(571.5 * 0.455, rel=1e-3)


def test_power_capped_and_divided_devices_stand_apart(mine, summaries):
    population = population_of(mine, summaries)
    for number, limit in ((101, 400.0), (102, 700.0)):
        found = metrics(population, number)
        assert {each.percentile for each in found.values()} == {None}
        assert found["throttled_ratio"].reason.startswith("cannot tell: no other H100")
        assert next(d for d in population.devices if d.device == uuid(number)).power_limit_w == limit


def test_the_sentences_say_how_many_what_is_matched_and_what_is_not(mine, summaries):
    population = population_of(mine, summaries)
    text = describe_population(population)
    assert f"power at 1,980 MHz: 7th percentile of {OTHERS} H100 (95 %: 1 to 22); here 571.5 W" in text
    assert "Not matched, so it may be the reason: power: workload, driver" in text
    assert "corrected together (Holm): nothing is unusual." in text
    assert f"it takes {population.others_needed} others" in text
    assert "step time: 60th percentile of 30 H100 of the same training" in text


def test_a_device_counts_once_and_its_own_runs_do_not_count(tmp_path):
    run = run_of(tmp_path, {1: {"power_w": 500.0}}, name="a")
    run_of(tmp_path, {1: {"power_w": 510.0}}, name="again")
    for place, power in enumerate((490.0, 700.0, 520.0)):
        run_of(tmp_path, {2: {"power_w": power}}, name=f"two-{place}")
    for number in range(3, 8):
        run_of(tmp_path, {number: {"power_w": 400.0 + number}}, name=f"n{number}")
    found = metrics(population_of(run, all_summaries(tmp_path)[0]), 1)["power_w"]
    assert found.others == 6
    assert found.percentile == pytest.approx(100 * 5 / 6)  # the second device's median is above


def test_too_few_devices_are_no_population(tmp_path):
    runs = [run_of(tmp_path, {number: {}}, name=f"n{number}") for number in range(4)]
    found = metrics(population_of(runs[0], all_summaries(tmp_path)[0]), 0)["power_w"]
    assert found.percentile is None
    assert (
        found.reason == "cannot tell: 3 other H100 with a limit of 700 W at 1,980 MHz, at least 5 are needed"
    )


def test_other_trainings_do_not_compare_in_step_time_and_a_run_that_does_not_say_says_so(tmp_path):
    for number in range(8):
        run_of(tmp_path, {number: {}}, name=f"n{number}", facts=LLAMA | {"config": {"batch": 64}})
    mine = run_of(tmp_path, {20: {}}, name="mine")
    silent = run_of(tmp_path, {21: {}}, name="silent", facts={})
    summaries, _ = all_summaries(tmp_path)
    found = metrics(population_of(mine, summaries), 20)
    assert "of the same training" in found["step_time_s"].reason
    assert found["power_w"].others == 9
    assert (
        "does not say what it trains" in metrics(population_of(silent, summaries), 21)["step_time_s"].reason
    )


def test_the_attempt_and_the_place_do_not_make_another_training(tmp_path):
    config = {"batch": 32, "seed": 1, "output_dir": "/home/a", "optimizer": {"name": "adam", "lr": 1e-3}}
    runs = [
        run_of(tmp_path, {1: {}}, {"config": each}, name=f"n{k}", seconds=2)
        for k, each in enumerate(
            (
                config,
                config | {"seed": 2, "output_dir": "/b"},
                config | {"optimizer": {"name": "adam", "lr": 1e-4}},
            )
        )
    ]
    first, second, third = map(training_of, runs)
    assert first == second != third


def test_a_damaged_run_costs_no_other_and_is_told(tmp_path):
    runs = [run_of(tmp_path, {number: {}}, name=f"n{number}") for number in range(3)]
    next((runs[1].path / "sealed" / "sample").iterdir()).write_bytes(b"no parquet")
    table, errors = summaries_of(runs)
    assert list(errors) == [runs[1].run_id]
    assert set(table["run_id"].to_pylist()) == {runs[0].run_id, runs[2].run_id}


def test_a_live_run_is_read_from_its_open_files_and_never_kept(tmp_path):
    run = create_run(tmp_path, "live", {"devices": {uuid(1): {"model": H100}}})
    writer = EventWriter(run.path, run.run_id, "w")
    for second in range(40):
        at = (second + 1) * 10**9
        values = {"utilization_pct": 99.0, "power_w": 600.0, "sm_clock_mhz": 1980.0}
        writer.append("sample", at, at, device=uuid(1), **values)
    table, errors = all_summaries(tmp_path)
    writer.close()
    assert (table["metric"].to_pylist(), errors) == (["power_w"], {})
    assert kept_summaries(tmp_path)[1] == {}


def test_only_what_is_new_is_read_again(folder, tmp_path, monkeypatch):
    runs = [run_of(tmp_path, {number: {}}, name=f"n{number}") for number in range(3)]
    first, _ = all_summaries(tmp_path)
    read = []
    monkeypatch.setattr(
        "thermograd.analysis.fleet.population.kept.summaries_of",
        lambda todo, each: (read.append([run.run_id for run in todo]), summaries_of(todo, each))[1],
    )
    assert all_summaries(tmp_path)[0].sort_by("run_id").equals(first.sort_by("run_id"))
    facts = read_json(runs[1].path / "run.json")
    write_json(runs[1].path / "run.json", facts | {"note": "changed"})
    assert all_summaries(tmp_path)[0].num_rows == first.num_rows
    assert read == [[], [runs[1].run_id]]


def test_doubted_sensors_and_idling_devices_are_not_compared(tmp_path):
    doubted = {"facts": {"suspect": {"power_w": "a constant"}}}
    table, _ = summaries_of([run_of(tmp_path, {1: doubted}, name="a")])
    assert set(table["metric"].to_pylist()) == {"throttled_ratio", "step_time_s"}


def test_an_unknown_device_is_refused_with_those_that_there_are(mine, summaries):
    with pytest.raises(NotEnoughDataError, match="has no device 'gpu 7'; it has: "):
        population_of(mine, summaries, device="gpu 7")
    assert len(population_of(mine, summaries, device=uuid(100)).devices) == 1


def test_a_report_tells_it_from_what_is_kept_and_reads_no_other_run(tmp_path, monkeypatch):
    """A run that came after it was kept is summed up itself; the farthest out comes first."""
    for first in range(0, 21, 3):
        own = {n: {"temperature_c": 50.0 + n / 2, "throttled": n / 100} for n in range(first, first + 3)}
        run_of(tmp_path, own, name=f"n{first}")
    first = list_runs(tmp_path)[0]
    assert population_lines(first) == []
    all_summaries(tmp_path)
    late = run_of(tmp_path, {40: {"temperature_c": 90.0}, 41: {}}, name="late")
    monkeypatch.setattr(
        "thermograd.analysis.fleet.population.lines.summaries_of",
        lambda runs: summaries_of(runs) if [run.run_id for run in runs] == [late.run_id] else 1 / 0,
    )
    lines = population_lines(late)
    assert "temperature at 600 W: above the 99th percentile of 22 H100" in lines[0]
    assert len(lines) == 9
    assert lines[-1] == f"2 more: thermograd population {late.run_id}"
    shown = CliRunner().invoke(main, ["--runs", str(tmp_path), "show", late.run_id]).stdout
    assert f"Among others of their model\n  {lines[0]}" in shown
    with monkeypatch.context() as patch:
        patch.setattr("thermograd.analysis.fleet.population.lines.ENOUGH_OTHERS", 23)
        assert population_lines(late) == []
    monkeypatch.setattr("thermograd.analysis.fleet.population.lines._MOST_KEPT_BYTES", 10)
    assert population_lines(late) == []


# -- the exported file -----------------------------------------------------------------------------


def test_nothing_that_identifies_is_in_the_file(tmp_path):
    """Hosts, users, paths, run names, UUIDs, serial numbers, also in a model's name: in none of its bytes."""
    planted = ["secret-host", "alice", "/home/alice/runs", "PROJECT-X", "serial12345", "10.9.8.7"]
    for number in range(6):
        facts = {
            **LLAMA,
            "config": {"path": "/home/alice/runs", "note": "PROJECT-X"},
            "command": "python /home/alice/runs/train.py",
        }
        own = {"serial": "serial12345", "driver_version": "10.9.8.7"}
        run_of(tmp_path, {number: {"facts": own}}, facts, name="PROJECT-X", host="secret-host")
        odd = {"facts": own | {"model": "NVIDIA H100 of secret-host"}}
        run_of(tmp_path, {50 + number: odd}, facts, name="PROJECT-X", host="secret-host")
        run_of(tmp_path, {80 + number: {"facts": {"model": "alice's card"}}}, facts, name="PROJECT-X")
    path = tmp_path / "given.parquet"
    summaries, runs = all_summaries(tmp_path)[0], list_runs(tmp_path)
    export = export_of(summaries, runs)
    write_export(export, path)
    told = path.read_bytes() + json.dumps(export.table.to_pylist()).encode()
    planted += [uuid(number) for number in range(90)] + [run.run_id for run in runs] + [str(tmp_path)]
    assert [text for text in planted if text.lower().encode() in told.lower()] == []
    assert set(export.table["model"].to_pylist()) == {H100}
    assert export.left_out == {
        "a model that is no maker's name": 6,
        "a model whose name holds that of a host or a run": 6,
    }
    assert export.devices == 6
    assert set(export.table["metric"].to_pylist()) == {"power_w", "temperature_c", "throttled_ratio"}


def test_fewer_than_five_devices_are_never_exported(tmp_path):
    for number in range(4):
        run_of(tmp_path, {number: {}}, name=f"n{number}")
        run_of(tmp_path, {number: {}}, name=f"again-{number}")
    export = export_of(all_summaries(tmp_path)[0], list_runs(tmp_path))
    assert (export.table.num_rows, export.devices) == (0, 0)
    assert export.left_out == {"fewer than 5 of their model at any condition": 4}


def test_an_export_of_nothing_is_one_sentence_and_no_file(tmp_path):
    run_of(tmp_path / "runs", {0: {}}, name="lonely")
    path = tmp_path / "out.parquet"
    told = CliRunner().invoke(main, ["--runs", str(tmp_path / "runs"), "population", "--export", str(path)])
    assert told.exit_code == 1
    assert "nothing can be exported (fewer than 5 of their model at any condition: 1 device)" in told.output
    assert not path.exists()


def test_simulations_of_one_device_have_no_other_among_them(tmp_path):
    from thermograd.analysis.calibration.scenarios import draw
    from thermograd.ingest.simulate.write import Signals, simulate_run

    for seed in range(6):
        drawn = draw(minutes=2, seed=seed)
        run = simulate_run(tmp_path, Signals(**drawn.shown()), drawn.truth, 1.0)
    (device,) = population_of(run, all_summaries(tmp_path)[0]).devices
    reasons = [each.reason for each in device.metrics if each.value is not None]
    assert reasons
    assert all(reason.startswith("cannot tell: no other") for reason in reasons if "train" not in reason)


def test_among_few_the_rank_is_said_and_what_all_devices_share_once(tmp_path):
    for number in range(5):
        run_of(tmp_path, {number: {"temperature_c": 60.0 + number}}, {}, name=f"other-{number}")
    run = run_of(tmp_path, {10: {"temperature_c": 50.0}, 11: {"temperature_c": 55.0}, 12: {}}, {}, name="two")
    said = describe_population(population_of(run, all_summaries(tmp_path)[0]))
    assert "lowest of 8 H100" in said
    assert "percentile" not in said
    assert said.count("does not say what it trains") == 2, "of step time and energy, not of each device"
    assert "each of 3 devices" in said


def test_a_run_compares_with_somebody_elses_file(folder, mine, summaries, tmp_path):
    """The exact place among 30 lies within what the quantiles of 30 leave open."""
    path = tmp_path / "theirs.parquet"
    others = [run for run in list_runs(folder) if run.name != "mine"]
    write_export(export_of(summaries, others), path)
    here = metrics(population_of(mine, summaries), 100)
    there = metrics(population_of(mine, summaries, exported=Exported.read(path)), 100)
    for name in ("power_w", "temperature_c"):
        assert there[name].low <= here[name].percentile <= there[name].high
    assert there["step_time_s"].percentile is None
    assert "does not say of which training" in there["step_time_s"].reason


def test_a_file_that_is_no_population_is_refused(tmp_path, folder):
    path = tmp_path / "odd.parquet"
    path.write_bytes(b"nonsense")
    with pytest.raises(ThermogradError, match="is no exported population"):
        Exported.read(path)


def test_the_command_compares_and_exports(folder, tmp_path):
    runner = CliRunner()
    text = runner.invoke(main, ["--runs", str(folder), "population", "mine", "--device", uuid(100)])
    assert text.exit_code == 0, text.output
    assert "percentile of 30 H100" in text.stdout
    shown = json.loads(runner.invoke(main, ["--runs", str(folder), "population", "mine", "--json"]).stdout)
    assert [len(device["metrics"]) for device in shown["devices"]] == [len(METRICS)] * 3
    path = tmp_path / "out.parquet"
    written = runner.invoke(main, ["--runs", str(folder), "population", "--export", str(path)])
    assert written.exit_code == 0, written.output
    assert "Leaves out: names, hosts, UUIDs" in written.stdout
    assert path.is_file()
    refused = runner.invoke(main, ["--runs", str(folder), "population"])
    assert refused.exit_code == 2
    assert np.isfinite(
        Exported.read(path)
        .cell({"model": H100, "part": "", "power_limit_w": 700.0, "metric": "power_w", "cell": 1980.0})
        .values
    ).all()
