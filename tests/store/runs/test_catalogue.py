import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import LogError, RunNotFoundError
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.query.connection import query
from thermograd.store.runs import catalogue
from thermograd.store.runs.catalogue import build_run, create_run, find_run, list_runs


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "<script>alert(1)</script>", "..", "", "a\nb", "ä" * 300, "C:\\x"]
)
def test_no_name_leads_out_of_the_runs_directory(tmp_path, name):
    run = create_run(tmp_path, name)
    assert run.path.parent == tmp_path
    assert run.facts["name"] == name
    assert set(run.run_id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@pytest.mark.parametrize("run_id", ["../x", "", ".hidden", "a/b", "x" * 129])
def test_a_run_id_from_outside_is_checked(tmp_path, run_id):
    with pytest.raises(ValueError, match="is not allowed"):
        create_run(tmp_path, "name", run_id=run_id)


def test_runs_are_found_by_id_prefix_name_path_and_latest(tmp_path):
    first = create_run(tmp_path, "alpha", {"started_time_ns": 1})
    second = create_run(tmp_path, "beta", {"started_time_ns": 2})
    for reference in (first.run_id, first.run_id[:-2], "alpha", str(first.path)):
        assert find_run(tmp_path, reference).path == first.path
    assert find_run(tmp_path, "latest").path == second.path
    assert [run.name for run in list_runs(tmp_path)] == ["alpha", "beta"]


def test_a_wrong_or_ambiguous_reference_names_what_there_is(tmp_path):
    with pytest.raises(RunNotFoundError, match="there is no run in"):
        find_run(tmp_path, "latest")
    runs = [create_run(tmp_path, "x"), create_run(tmp_path, "x")]
    with pytest.raises(RunNotFoundError, match="no run 'nope'.*there are: .*-x-"):
        find_run(tmp_path, "nope")
    with pytest.raises(RunNotFoundError, match="fits 2 runs: .*give more of the id"):
        find_run(tmp_path, runs[0].run_id[:4])


def test_a_run_that_fails_while_it_is_built_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), build_run(tmp_path, "x", {}):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with build_run(tmp_path, "x", {"source": "imported"}) as run:
        assert list_runs(tmp_path) == []
        assert run.facts["run_id"]
    assert [run.state() for run in list_runs(tmp_path)] == ["imported"]


def test_a_run_is_live_then_finished(tmp_path):
    run = create_run(tmp_path, "x")
    writer = EventWriter(run.path, run.run_id, "w")
    writer.append("step", step=1)
    assert run.state() == "live"
    assert run.live_writers() == {"w"}
    assert run.counts()["step"] == 1
    writer.close()
    assert run.state() == "finished"
    assert run.summary()["ended"] is not None


def test_a_run_whose_process_was_killed_is_crashed(tmp_path):
    run = create_run(tmp_path, "x")
    script = (
        "import os, sys; from pathlib import Path; from thermograd.store.log.writer import EventWriter\n"
        f"w = EventWriter(Path({str(run.path)!r}), 'r', 'w'); w.append('step', step=1); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert run.state() == "crashed"
    assert run.counts()["step"] == 1


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_directory_without_permission_is_one_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LogError, match="cannot create a run in"):
        create_run(tmp_path, "x")


def test_a_file_in_the_place_of_the_runs_directory_is_one_clear_error(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(LogError, match="cannot create a run in"):
        create_run(tmp_path / "runs", "x")


ODD = [
    '"started_time_ns": 99999999999999999999999',
    '"started_time_ns": -5',
    '"started_time_ns": "soon"',
    '"ended_time_ns": [1]',
    '"devices": [1, 2]',
    '"devices": null',
    '"devices": {"gpu": 3, "cpu": {"sensors": 4, "missing": [], "model": {}, "rated_power_w": "much"}}',
    '"run_id": "../../x"',
    '"run_id": 7',
    '"name": {"a": 1}',
    '"name": "\\ud800"',
    '"host": [], "source": 3, "model": "gpt", "truth": [], "job": 1, "devices_absent": "none"',
    '"x": ' + "[" * 100_000,
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:40])
def test_one_odd_run_json_hides_no_run_and_breaks_no_command(tmp_path, odd):
    good, other = create_run(tmp_path, "good"), create_run(tmp_path, "odd")
    (other.path / "run.json").write_text("{" + odd + "}")
    writers = other.path / "writers"
    writers.mkdir()
    (writers / "w.json").write_text('{"role": "training", "closed_time_ns": "late", "host": 3}')
    assert {run.run_id for run in list_runs(tmp_path)} == {good.run_id, other.run_id}
    rows = query("SELECT * FROM runs", tmp_path).to_pylist()
    assert {row["run_id"] for row in rows} == {good.run_id, other.run_id}
    for arguments in (["runs"], ["runs", "--json"], ["show", other.run_id], ["show", other.run_id, "--json"]):
        result = CliRunner().invoke(main, ["--runs", str(tmp_path), *arguments])
        assert result.exit_code == 0, result.output
        assert other.run_id in result.stdout


def test_no_reference_is_no_run(tmp_path):
    create_run(tmp_path, "x")
    with pytest.raises(RunNotFoundError, match="no run named ''"):
        find_run(tmp_path, "")


def _while_asked(monkeypatch, happens):
    """Let something happen while a run is asked for its live writers, once."""
    asked, done = catalogue.Run.live_writers, []

    def ask(run):
        found = asked(run)
        if not done:
            done.append(True)
            happens()
        return found

    monkeypatch.setattr(catalogue.Run, "live_writers", ask)


def test_a_run_that_ends_while_it_is_asked_has_not_crashed(tmp_path, monkeypatch):
    run = create_run(tmp_path, "ends")
    writer = EventWriter(run.path, run.run_id, new_writer_name("r0"))
    _while_asked(monkeypatch, writer.close)
    assert run.state() in ("live", "finished")
    assert run.state() == "finished"


def test_a_run_that_goes_on_with_another_process_while_it_is_asked_has_not_crashed(tmp_path, monkeypatch):
    run = create_run(tmp_path, "goes on")
    EventWriter(run.path, run.run_id, new_writer_name("r0")).close()
    opened = []
    _while_asked(
        monkeypatch,
        lambda: opened.append(EventWriter(run.path, run.run_id, new_writer_name("r0"))),
    )
    assert run.state() == "live"
    opened[0].close()


def test_a_run_whose_facts_were_never_written_is_there(tmp_path):
    """Rank 0 of a job, which describes the run, may die before it does."""
    create_run(tmp_path, "older")
    path = tmp_path / "20261127-120000-job-ab12"
    path.mkdir()
    writer = EventWriter(path, path.name, new_writer_name("r1"))
    writer.append("step", step=1, rank=1)
    assert [run.run_id for run in list_runs(tmp_path)][-1] == path.name
    run = find_run(tmp_path, "latest")
    assert (run.run_id, run.state(), run.summary()["steps"]) == (path.name, "live", 1)
    assert run.started_time_ns is not None
    writer.close()
    assert CliRunner().invoke(main, ["--runs", str(tmp_path), "show", "latest"]).exit_code == 0
