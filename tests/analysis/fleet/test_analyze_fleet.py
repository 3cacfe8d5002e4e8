"""A fleet is analysed run by run and told of as one: with known truth, copies, poison, any chunking."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from fleet_runs import fleet_runs
from thermograd.analysis.fleet.analyze import analyze_fleet
from thermograd.analysis.fleet.groups import Group, GroupComparison
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.fleet.task import analyse_chunk
from thermograd.analysis.report.text.fleet_groups import describe_groups
from thermograd.cli import main
from thermograd.store.query import query
from thermograd.store.runs.catalogue import list_runs
from thermograd.store.runs.tags import change_tags

QUESTION = Question(x=("grad_norm",), y=("power_w", "temperature_c"))
COUPLED, COUNT = 3, 9
SMALL = {"steps": 600, "samples": 400}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return runs of which three are coupled; one is a copy, one cannot be read, one has no step."""
    folder = tmp_path_factory.mktemp("runs")
    runs = list(fleet_runs(folder, COUNT, coupled=COUPLED, rho=0.6, models=("A", "B"), **SMALL))
    shutil.copytree(runs[0].path, folder / "fleet-copy")
    poisoned = folder / "fleet-poisoned"
    shutil.copytree(runs[1].path, poisoned)
    shutil.rmtree(poisoned / "sealed" / "sample")
    (poisoned / "sealed" / "sample").write_text("no folder")
    shutil.copytree(runs[2].path, folder / "fleet-stepless")
    shutil.rmtree(folder / "fleet-stepless" / "sealed" / "step")
    for run in runs[:5]:
        change_tags(run.path, ["first"])
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return analyze_fleet(list_runs(folder), QUESTION, by="model", write_to=folder)


def test_the_coupled_runs_are_found_and_no_other(found):
    assert sorted(found.coupled) == [f"fleet-{place:05}" for place in range(COUPLED)]
    for row in found.rows("pair", "coupled"):
        assert (row["x"], row["y"], row["lag_s"], row["family"]) == ("grad_norm", "power_w", 3.0, "forward")
        assert row["q"] <= 0.05
        assert row["matched"] > 0.9 * SMALL["steps"]
    power = next(pair for pair in found.pooled if pair.y == "power_w")
    assert power.new_low <= power.r_low < power.r < power.r_high <= power.new_high
    assert (power.runs, power.coupled) == (COUNT, COUPLED)


def test_a_copy_counts_once_and_what_is_no_evidence_is_a_row_with_its_reason(found):
    rows = {row["run_id"]: row for row in found.findings.to_pylist() if row["kind"] == "run"}
    assert len(rows) == COUNT + 3
    assert rows["fleet-copy"]["repeats"] == "fleet-00000" or rows["fleet-00000"]["repeats"] == "fleet-copy"
    assert found.repeats == 1
    assert "no training step" in rows["fleet-stepless"]["error"]
    assert (rows["fleet-stepless"]["verdict"], rows["fleet-poisoned"]["verdict"]) == ("insufficient", "error")
    assert dict(found.untested) == {
        name: rows[name]["error"] for name in ("fleet-poisoned", "fleet-stepless")
    }
    assert found.tested == COUNT


def test_a_run_whose_steps_are_damaged_is_named_with_the_reason(folder, tmp_path):
    for name in ("fleet-00000", "fleet-00001", "fleet-00002"):
        shutil.copytree(folder / name, tmp_path / name)
    for path in (tmp_path / "fleet-00001" / "sealed" / "step").iterdir():
        path.write_bytes(b"no parquet at all" * 100)
    asked = ["--runs", str(tmp_path), "analyze", "--all", "--x", "grad_norm", "--y", "power_w"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    assert "1 run could not be tested\n  fleet-00001: Its steps file is damaged" in result.stdout
    assert f'(thermograd --runs {tmp_path} query "FROM findings WHERE is_newest")' in result.stdout


def test_nothing_depends_on_the_chunks(folder):
    names = ("00000", "00002", "00004", "poisoned", "stepless")
    paths = [str(folder / f"fleet-{name}") for name in names]
    whole = analyse_chunk(QUESTION, paths)
    one_by_one = [analyse_chunk(QUESTION, [path]) for path in reversed(paths)]
    for table in one_by_one:
        name = table["run_id"][0].as_py()
        mask = np.array(whole["run_id"].to_pylist()) == name
        assert whole.filter(mask).equals(table)


def test_the_findings_are_a_view_of_query(folder, found):
    sql = "SELECT count(DISTINCT run_id) FILTER (verdict = 'coupled') AS n FROM findings WHERE is_newest"
    assert query(sql, folder)["n"].to_pylist() == [COUPLED]
    own = f"SELECT count(*) AS n FROM findings WHERE analysis_id = '{found.analysis_id}'"
    assert query(own, folder)["n"].to_pylist() == [len(found.findings)]
    assert [run.run_id for run in list_runs(folder) if run.run_id.startswith("_")] == []


def test_the_command_says_which_runs_and_what_together(folder):
    asked = ["--runs", str(folder), "analyze", "--all", "--x", "grad_norm", "--y", "power_w"]
    result = CliRunner().invoke(main, [*asked, "--by", "tag", "--where", "steps > 0"])
    assert result.exit_code == 0, result.output
    assert "COUPLED IN 3 OF 9 runs" in result.stdout
    assert "tag: first" in result.stdout
    document = json.loads(CliRunner().invoke(main, [*asked, "--tag", "first", "--json"]).stdout)
    assert (document["runs"], len(document["coupled"])) == (5, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyze"], "Missing argument 'RUN' (or --all for all runs)"),
        (["analyze", "fleet-00000", "--all"], "Give RUN or --all, not both"),
        (["analyze", "fleet-00000", "--tag", "first"], "are for --all"),
        (["analyze", "--all", "--method", "pearson"], "--method is for single runs"),
        (["analyze", "--all", "--by", "colour"], "'colour'; allowed: model, device, host, tag, name"),
        (["analyze", "--all", "--tag", "none"], "none of 12 runs"),
        (["compare", "--all", "--x", "loss"], "--x is for single runs"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(folder, arguments, said):
    result = CliRunner().invoke(main, ["--runs", str(folder), *arguments])
    assert result.exit_code in (1, 2)
    assert said in result.stderr


def test_groups_stand_side_by_side_and_a_difference_is_named(tmp_path):
    for group, (seed, samples) in enumerate(((1, 300), (2, 300))):
        for run in fleet_runs(tmp_path / str(group), 5, seed=seed, steps=300 * (1 + group), samples=samples):
            target = tmp_path / "runs" / f"{group}-{run.run_id}"
            shutil.move(run.path, target)
            change_tags(target, [f"group-{group}"])
    result = CliRunner().invoke(main, ["--runs", str(tmp_path / "runs"), "compare", "--all", "--json"])
    document = json.loads(result.stdout)
    assert [(group["name"], group["runs"]) for group in document["groups"]] == [
        ("group-0", 5),
        ("group-1", 5),
    ]
    surest = document["differences"][0]
    assert (surest["measure"], surest["q"] < 0.001, surest["high"] < 0) == ("step_time_s", True, True)
    shown = CliRunner().invoke(
        main, ["--runs", str(tmp_path / "runs"), "compare", "--all", "-o", str(tmp_path)]
    )
    assert "group-1: step_time_s -" in shown.stdout
    assert "group-1" in (tmp_path / "fleet.md").read_text()


@pytest.mark.parametrize(
    ("counts", "repeats", "why"),
    [
        ((4,), 0, "there is only one"),
        ((1, 1, 1), 0, "none has 3 different trainings"),
        ((4, 1), 0, "none but the largest has 3 different trainings"),
        ((4, 3), 3, "the largest, which all are compared with, has 1 different training"),
        ((4, 3), 0, "no number is known of 3 trainings both in the largest and in another, and varies"),
    ],
)
def test_why_groups_cannot_be_compared_is_true(counts, repeats, why):
    groups = [Group(f"g{n}", count, 0 if n else repeats, {}) for n, count in enumerate(counts)]
    told = describe_groups(
        GroupComparison(by="name", groups=groups, differences=[], errors={}, engine="here")
    )
    assert f"CANNOT TELL whether groups differ: {why}." in told


@pytest.mark.parametrize(
    ("command", "exit_code"),
    [(["runs"], 0), (["analyze", "--all"], 1), (["compare", "--all"], 1), (["publish", "--iceberg", "x"], 1)],
)
def test_a_place_without_runs_is_told_in_a_sentence(command, exit_code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["--runs", str(tmp_path / "none"), *command])
    assert result.exit_code == exit_code
    assert "o run in" in result.stderr
    assert len(result.output.splitlines()) == 1


def test_runs_at_a_url_are_analysed_as_those_of_a_folder(folder, found, s3_server, tmp_path, monkeypatch):
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))
    url = f"{s3_server.make_bucket()}/runs"
    for place in (0, 1, 4):
        shipped = CliRunner().invoke(main, ["--runs", str(folder), "ship", f"fleet-{place:05}", url])
        assert shipped.exit_code == 0, shipped.output
    asked = ["--runs", url, "analyze", "--all", "--x", "grad_norm", "--y", "power_w", "--json"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert sorted(document["coupled"]) == ["fleet-00000", "fleet-00001"]
    here = {row["run_id"]: row["p"] for row in found.rows("pair", "coupled")}
    assert {row["run_id"]: row["p"] for row in document["findings"]} == {
        name: p for name, p in here.items() if name in document["coupled"]
    }
