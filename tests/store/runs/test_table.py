"""The table of runs: what a run ended with, its order and conditions, and names that stay unique."""

import json

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.files import write_json
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.query.connection import query
from thermograd.store.query.data.runs import RUN_COLUMNS
from thermograd.store.runs.catalogue import build_run, create_run, list_runs
from thermograd.store.runs.table import RunRow, runs_table, sorted_rows

SECOND_NS = 1_000_000_000


def make_run(runs, losses, name="r", ranks=(0,), seal=True):
    run = create_run(runs, name, {"started_time_ns": 0})
    for rank in ranks:
        writer = EventWriter(run.path, run.run_id, f"w-r{rank}")
        for step, loss in enumerate(losses, 1):
            shown = loss if loss is None else loss + 100 * rank
            writer.append("step", step * SECOND_NS, 0, step=step, rank=rank, loss=shown)
        writer.close()
    if seal:
        seal_run(run.path, run.run_id)
    return run


@pytest.mark.parametrize("seal", [False, True])
@pytest.mark.parametrize(
    ("losses", "last"),
    [([3.0, 2.0], 2.0), ([3.0, None, None], 3.0), ([None], None), ([], None)],
)
def test_the_last_loss_that_was_logged(tmp_path, losses, last, seal):
    row = RunRow(make_run(tmp_path, losses, seal=seal)).to_json()
    assert row["loss"] == last


def test_a_loss_that_ended_as_nan_is_shown_as_that_and_null_in_json(tmp_path):
    run = make_run(tmp_path, [1.0, float("nan")])
    other = make_run(tmp_path, [1.0])
    rows = sorted_rows([RunRow(each).to_json() for each in (run, other)], "-loss")
    assert [row["run_id"] for row in rows] == [other.run_id, run.run_id]
    assert "nan" in runs_table(rows).splitlines()[-1]
    shown = json.loads(CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--json"]).stdout)
    assert sorted(map(str, (row["loss"] for row in shown))) == ["1.0", "None"]


def test_of_several_ranks_it_is_the_first_ones(tmp_path):
    assert RunRow(make_run(tmp_path, [3.0, 2.0], ranks=(1, 0))).loss == 2.0


def test_a_run_that_never_ended_lasted_until_its_last_step(tmp_path):
    run = make_run(tmp_path, [1.0] * 7)
    for path in (run.path / "writers").iterdir():
        path.unlink()
    assert run.state() == "crashed"
    assert RunRow(run).duration_s == 7.0


def test_the_verdict_is_that_of_a_report_of_all_steps(tmp_path):
    run = make_run(tmp_path, [1.0, 2.0])
    folder = run.path / "report"
    folder.mkdir()
    assert RunRow(run).verdict is None
    write_json(folder / "verdict.json", {"verdict": "coupled", "steps": 2})
    assert RunRow(run).verdict == "coupled"
    write_json(folder / "verdict.json", {"verdict": "coupled", "steps": 1})
    assert RunRow(run).verdict is None
    write_json(folder / "verdict.json", {"verdict": "<script>", "steps": 2})
    assert RunRow(run).verdict is None


def test_rows_in_the_order_of_a_column_with_what_is_not_known_last():
    rows = [{"loss": 2.0}, {"loss": None}, {"loss": 1.0}]
    assert [row["loss"] for row in sorted_rows(rows, "loss")] == [1.0, 2.0, None]
    assert [row["loss"] for row in sorted_rows(rows, "-loss")] == [2.0, 1.0, None]
    with pytest.raises(ValueError, match="no column 'lose'; allowed: loss"):
        sorted_rows(rows, "lose")


def test_the_view_has_what_the_table_has(tmp_path):
    run = make_run(tmp_path, [3.0, 2.0])
    (row,) = query("SELECT * FROM runs", tmp_path).to_pylist()
    assert tuple(row) == RUN_COLUMNS
    expected = RunRow(run).to_json()
    for name in ("run_id", "name", "steps", "samples", "loss", "duration_s", "verdict", "tags", "state"):
        assert row[name] == expected[name], name


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("loss < 2.5", ["a"]),
        ("loss < 2.5 OR steps = 1", ["a", "b"]),
        ("name = 'b' -- the second", ["b"]),
        ("false", []),
        ("list_contains(tags, 'x')", []),
    ],
)
def test_a_condition_chooses_runs(tmp_path, where, fits):
    make_run(tmp_path, [3.0, 2.0], "a")
    make_run(tmp_path, [9.0], "b")
    answer = CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--where", where, "--json"])
    assert sorted(row["name"] for row in json.loads(answer.stdout)) == fits


@pytest.mark.parametrize("where", ["nope > 1", "1); DROP VIEW runs; --", "(", ""])
def test_a_condition_that_is_none_is_one_clear_error(tmp_path, where):
    make_run(tmp_path, [1.0])
    answer = CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--where", where])
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")


def test_nothing_that_fits_is_said(tmp_path):
    make_run(tmp_path, [1.0])
    answer = CliRunner().invoke(main, ["--runs", str(tmp_path), "runs", "--where", "false"])
    assert answer.stderr == f"None of 1 run in {tmp_path} fits.\n"


def test_a_table_leaves_out_columns_of_which_nothing_is_known(tmp_path):
    row = RunRow(make_run(tmp_path, [1.5])).to_json()
    header = runs_table([row]).splitlines()[0].split()
    assert "verdict" not in header
    assert "verdict" in runs_table([row | {"verdict": "coupled"}]).splitlines()[0].split()


def test_names_stay_unique(tmp_path):
    names = [create_run(tmp_path, name).name for name in ("baseline", "baseline", "baseline", "other")]
    assert names == ["baseline", "baseline-2", "baseline-3", "other"]
    assert create_run(tmp_path, "baseline-2").name == "baseline-2-2"


def test_a_name_of_a_deleted_run_is_not_given_to_two(tmp_path):
    for _ in range(3):
        last = create_run(tmp_path, "b")
    (tmp_path / "gone").mkdir()
    second = next(path for path in tmp_path.iterdir() if json_name(path) == "b-2")
    second.rename(tmp_path / "gone" / "b-2")
    assert last.name == "b-3"
    assert create_run(tmp_path, "b").name == "b-4"


def test_names_that_look_alike_as_files_stay_as_they_are(tmp_path):
    assert [create_run(tmp_path, name).name for name in ("a b", "a/b", "../a b")] == ["a b", "a/b", "../a b"]


def test_a_run_that_is_built_out_of_sight_gets_a_name_of_its_own(tmp_path):
    create_run(tmp_path, "x")
    with build_run(tmp_path, "x", {}):
        pass
    assert [run.name for run in list_runs(tmp_path)] == ["x", "x-2"]


def test_ranks_that_share_a_run_do_not_number_it(tmp_path):
    for _ in range(2):
        assert create_run(tmp_path, "b", run_id="20260101-000000-b-0001").name == "b"


def json_name(path):
    facts = path / "run.json"
    return json.loads(facts.read_text())["name"] if facts.exists() else None
