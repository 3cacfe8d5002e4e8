"""A query in the process of the command: what it loads and opens, and that it answers as the child does."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import QueryError
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.query import here
from thermograd.store.query.data.needed import named_views
from thermograd.store.query.registered import Views
from thermograd.store.query.sandbox import Limits, answer
from thermograd.store.runs.catalogue import create_run

ASKED = """
import json, sys
from thermograd.cli import main
try:
    main(["--runs", *sys.argv[1:]])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
VIEWS = (
    *("runs", "config", "labels", "findings", "steps", "samples", "alerts", "marks", "metrics"),
    *("efficiency", "throttling", "episodes", "aligned"),
)


def make_run(runs, seal, steps=3):
    run = create_run(runs, "r", {"devices": {"gpu": {"rated_power_w": 100.0}}})
    writer = EventWriter(run.path, run.run_id, "w")
    for i in range(steps):
        writer.append("step", i, 0, step=i, loss=i / 3)
        writer.append("sample", i, 0, device="gpu", temperature_c=40.0 + i)
    writer.close()
    if seal:
        seal_run(run.path, run.run_id)
    return run


@pytest.fixture
def asked(tmp_path):
    """Return a function that asks in a process of its own; it gives what is printed, and what is loaded."""

    def ask(*words):
        command = [sys.executable, "-c", ASKED, str(tmp_path), "query", *words]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        *said, loaded = process.stderr.splitlines()
        return process.stdout, set(json.loads(loaded)), "\n".join(said), process.returncode

    return ask


def test_counting_sealed_steps_loads_no_numpy_no_pandas_and_no_other_views(asked, tmp_path):
    make_run(tmp_path, seal=True)
    printed, loaded, _, _ = asked("SELECT count(*) AS n, max(loss) AS l FROM steps", "--format", "csv")
    assert printed.split() == ['"n","l"', "3,0.6666666666666666"]
    assert loaded.isdisjoint({"numpy", "pandas", "subprocess", "pyarrow.parquet", "msgspec"})
    ours = {name.removeprefix("thermograd.store.query.data.") for name in loaded if "query.data." in name}
    assert ours == {"needed", "sources"}


def test_a_live_run_is_read_where_a_sealed_one_needs_no_numpy(asked, tmp_path):
    make_run(tmp_path, seal=False)
    make_run(tmp_path, seal=True)
    printed, loaded, _, _ = asked("SELECT count(*) AS n FROM steps", "--format", "csv")
    assert printed.split() == ['"n"', "6"]
    assert "numpy" in loaded


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nonsense FROM steps",
        "SELECT * FROM stepps",
        "SELECT count(*) FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM al' || 'igned'))",
        "SELECT * FROM read_csv('/etc/passwd')",
    ],
)
def test_what_is_not_known_is_told_as_by_the_child(tmp_path, sql):
    make_run(tmp_path, seal=True)
    here = CliRunner().invoke(main, ["--runs", str(tmp_path), "query", sql])
    child = CliRunner().invoke(main, ["--runs", str(tmp_path), "query", sql, "--memory", "2"])
    assert (here.exit_code, here.output) == (child.exit_code, child.output)


def test_a_damaged_file_is_left_out_and_told_though_numpy_is_not_loaded(asked, tmp_path):
    make_run(tmp_path, seal=True)
    run = make_run(tmp_path, seal=True)
    (path,) = (run.path / "sealed" / "step").iterdir()
    content = bytearray(path.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")  # of all but the footer
    content[4:end] = bytes(end - 4)
    path.write_bytes(content)
    sql = "SELECT count(loss) AS n, max(step) AS m FROM steps"
    printed, _, said, code = asked(sql, "--format", "csv")
    assert (printed.split(), code) == (['"n","m"', "3,2"], 0)
    assert f"{path} is damaged" in said


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_the_same_alone_as_among_all(tmp_path, view):
    make_run(tmp_path, seal=True)
    make_run(tmp_path, seal=False)
    sql = f"SELECT * EXCLUDE (duration_s) FROM {view}" if view == "runs" else f"SELECT * FROM {view}"
    alone = CliRunner().invoke(main, ["--runs", str(tmp_path), "query", sql, "--json"])
    among_all = f"{sql} -- duckdb_views"
    assert named_views(among_all) is None
    whole = b"".join(answer(among_all, tmp_path, "json", Limits()))
    assert json.loads(alone.output) == json.loads(whole)


@pytest.mark.parametrize(
    "sql", ["DESC", "FROM (\n desc)", "/* all */ DESC", "-- all\nDESC;", "FROM (DESCRIBE)"]
)
def test_who_asks_what_views_there_are_is_told_of_all(sql):
    assert named_views(sql) is None
    assert named_views("SELECT 1 FROM steps ORDER BY (time) DESC") == {"steps"}


def test_a_damaged_file_is_told_of_once_also_where_the_child_answers_after_all(asked, tmp_path):
    run = make_run(tmp_path, seal=True)
    link = next((run.path / "sealed" / "sample").iterdir())
    link.symlink_to(link.rename(tmp_path / "elsewhere"))
    cut = next((run.path / "sealed" / "step").iterdir())
    cut.write_bytes(cut.read_bytes()[:-20])
    printed, _, said, code = asked("SELECT count(*), sum(loss) FROM steps, samples", "--format", "csv")
    assert (code, printed.splitlines()[1]) == (0, "0,")
    assert said.count("not a plain file") == said.count("no Parquet footer") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a name that is no text is refused elsewhere")
def test_a_folder_whose_name_is_no_text_does_not_hide_the_other_runs(asked, tmp_path):
    run = make_run(tmp_path, seal=True)
    shutil.copytree(os.fsencode(run.path), os.fsencode(tmp_path) + b"/a\xff")
    printed, _, said, code = asked("SELECT count(*) AS n FROM steps", "--format", "csv")
    assert (code, printed.split()) == (0, ['"n"', "3"])
    assert "the name of its folder is no text" in said


def test_what_nobody_has_foreseen_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(here, "list_runs", lambda _: 1 / 0)
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    with pytest.raises(QueryError, match="the query failed: ZeroDivisionError"):
        list(here.answer_here("SELECT 1", tmp_path, "csv"))


@pytest.mark.skipif(sys.platform != "linux", reason="no other platform bounds what a process allocates")
def test_a_query_for_more_memory_than_there_is_ends_with_a_sentence(tmp_path, monkeypatch):
    import resource

    monkeypatch.setattr(here, "_free_bytes", lambda: 0)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(QueryError, match="more memory"):
        list(here.answer_here("SELECT length(repeat('x', 3000000000))", tmp_path, "csv"))
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_only_what_is_named_is_listed(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    run = make_run(tmp_path, seal=True)
    with duckdb.connect() as connection:
        views = Views(connection, [run], {})
        assert views.make(named_views("SELECT * FROM Aligned"))
        names = {row[0] for row in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()}
        assert {"aligned", "_aligned"} <= names
        assert names.isdisjoint({"steps", "samples", "runs", "efficiency"})
        assert views.make()
        assert not views.make()


def test_the_command_line_prints_all_of_an_answer_and_ends_as_it_should(tmp_path):
    """It ends without taking Python down; a program that calls `main` with words of its own goes on."""
    make_run(tmp_path, seal=True)
    command = [sys.executable, "-m", "thermograd.cli", "--runs", str(tmp_path), "query", "--format", "csv"]
    sql = "SELECT repeat('x', 1000) AS x FROM range(2000)"
    done = subprocess.run([*command, sql], capture_output=True, text=True, check=True)
    assert done.stdout == '"x"\n' + f'"{"x" * 1000}"\n' * 2000
    assert done.stderr == ""
    assert subprocess.run([*command, "SELEC"], capture_output=True, check=False).returncode == 1
