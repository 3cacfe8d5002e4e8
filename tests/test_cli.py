"""The commands as a user meets them: exit code, stdout, stderr."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.events import SETTINGS_MARK
from thermograd.store.files import open_segments
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

ROOT = Path(__file__).parents[1]
SECOND = 10**9
START = 1_800_000_000 * SECOND


@pytest.fixture
def invoke(tmp_path):
    """Return a function that runs a command over the test's runs directory."""

    def run(*arguments):
        return CliRunner().invoke(main, ["--runs", str(tmp_path / "runs"), *arguments])

    return run


@pytest.fixture
def run(tmp_path):
    """Return a finished run of 200 steps with one spike and a temperature sensor."""
    made = create_run(tmp_path / "runs", "first", {"devices": {"gpu": {"model": "A", "sensors": ["x"]}}})
    writer = EventWriter(made.path, made.run_id, "w")
    for i in range(200):
        norm = 30.0 if i == 150 else 1.0 + (i * 7 % 11) / 100
        time_ns = START + i * SECOND
        writer.append("step", time_ns, 0, step=i + 1, rank=0, grad_norm=norm, loss=2.0, learning_rate=1e-3)
        writer.append("sample", time_ns, 0, device="gpu", temperature_c=50.0 + i % 5)
    writer.append("mark", mark="gap", text="a <b>gap</b>")
    writer.close()
    return made


def error_of(result):
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


def test_runs_lists_what_there_is(invoke, run):
    result = invoke("runs")
    assert run.run_id in result.stdout
    assert "finished" in result.stdout
    (row,) = json.loads(invoke("runs", "--json").stdout)
    assert row == {
        "run_id": run.run_id,
        "name": "first",
        "started": row["started"],
        "ended": row["ended"],
        "steps": 200,
        "samples": 200,
        "alerts": 0,
        "ranks": 1,
        "devices": ["gpu"],
        "devices_label": "gpu (A)",
        "state": "finished",
        "duration_s": row["duration_s"],
        "loss": 2.0,
        "verdict": None,
        "tags": [],
        "notes": [],
        "reason": None,
        "exit_code": None,
    }
    assert 0 <= row["duration_s"] < 600


def test_no_run_yet_is_said_on_stderr(invoke):
    result = invoke("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "thermograd demo" in result.stderr
    assert json.loads(invoke("runs", "--json").stdout) == []


def test_show_tells_facts_devices_and_gaps(invoke, run):
    text = invoke("show", "latest").stdout
    assert "gpu (A)  A; sensors: x" in text
    assert "a <b>gap</b>" in text
    assert json.loads(invoke("show", "latest", "--json").stdout)["steps"] == 200


def test_show_says_of_a_file_that_cannot_be_read_that_its_events_are_counted_by_its_name(invoke, run):
    assert "damaged" not in invoke("show", "latest").stdout
    seal_run(run.path, run.run_id)
    path = max((run.path / "sealed" / "step").iterdir())
    path.write_bytes(b"junk")
    assert "  damaged  1 file of 200 events by the name" in invoke("show", "latest").stdout
    unreadable = json.loads(invoke("show", "latest", "--json").stdout)["unreadable"]
    assert unreadable == {path.relative_to(run.path).as_posix(): 200}


def test_show_begins_with_what_heat_cost_unless_that_takes_long(invoke, run, monkeypatch):
    told = "Cannot tell whether heat slowed this run: gpu (A) does not report whether it is throttled."
    assert f"\nWhat heat cost\n  {told}\n" in invoke("show", "latest").stdout
    assert json.loads(invoke("show", "latest", "--json").stdout)["incident"]["lines"][0] == told
    monkeypatch.setattr("thermograd.analysis.run.incident.incident._MOST_EVENTS", 10)
    assert f"thermograd analyze {run.run_id} tells it" in invoke("show", "latest").stdout


@pytest.mark.parametrize("command", ["show", "analyze", "verify", "replay", "seal", "report"])
def test_an_unknown_run_is_one_sentence_with_what_there_is(invoke, run, command):
    assert "no run 'nope' in" in error_of(invoke(command, "nope"))
    assert run.run_id in error_of(invoke(command, "nope"))


def test_an_ambiguous_prefix_names_the_candidates(invoke, run, tmp_path):
    other = create_run(tmp_path / "runs", "second")
    message = error_of(invoke("show", "2"))
    assert "fits 2 runs" in message
    assert other.run_id in message


QUERY = "SELECT step, grad_norm FROM steps ORDER BY step LIMIT 2"


def test_query_writes_every_format(invoke, run, tmp_path):
    assert invoke("query", QUERY).stdout.splitlines()[2].split() == ["1", "1"]
    rows = list(csv.DictReader(io.StringIO(invoke("query", QUERY, "--format", "csv").stdout)))
    assert rows[1] == {"step": "2", "grad_norm": "1.07"}
    assert json.loads(invoke("query", QUERY, "--json").stdout)[0] == {"step": 1, "grad_norm": 1.0}
    target = tmp_path / "out.parquet"
    assert invoke("query", QUERY, "--format", "parquet", "-o", str(target)).exit_code == 0
    assert pq.read_table(target).column("step").to_pylist() == [1, 2]
    stream = invoke("query", QUERY, "--format", "arrow").stdout_bytes
    with pa.ipc.open_stream(stream) as reader:
        assert reader.read_all().num_rows == 2
    assert "devices" in invoke("query", "SELECT * FROM runs", "--format", "csv").stdout


def test_a_query_error_says_where_and_leaves_no_file(invoke, run, tmp_path):
    target = tmp_path / "out.csv"
    message = error_of(invoke("query", "SELECT nonsense FROM steps", "-o", str(target)))
    assert "LINE 1" in message
    assert "^" in message
    assert not target.exists()
    assert "exactly one SELECT" in error_of(invoke("query", "DROP VIEW steps"))
    assert "cannot write" in error_of(invoke("query", QUERY, "-o", str(tmp_path / "no" / "x.csv")))


def test_replay_check_compares_and_tells_by_its_exit_code(invoke, run):
    watcher = EventWriter(run.path, run.run_id, "watcher", ())
    watcher.append("mark", START, mark="note", text=SETTINGS_MARK)
    watcher.close()
    result = invoke("replay", "latest", "--check", "--json")
    document = json.loads(result.stdout)
    assert document == {
        "identical": False,
        "recorded": document["recorded"],
        "replayed": document["replayed"],
        "alerts": 1,
    }
    assert result.exit_code == 1
    assert "step 151" in invoke("replay", "latest").stdout


def test_analyze_says_it_in_words_and_in_json(invoke, run):
    plain, facts, heat, question = invoke("analyze", "latest").stdout.split("\n\n")[:4]
    assert plain.startswith("Cannot tell: what was recorded hardly changed by itself")
    assert [line[:11] for line in facts.split("\n")[:2]] == ["How sure   ", "How long   "]
    assert heat.startswith("Cannot tell whether heat slowed this run: gpu (A) does not report")
    assert question.startswith(("CANNOT TELL", "NO COUPLING"))
    document = json.loads(invoke("analyze", "latest", "--json").stdout)
    assert document["alignment"] | {"matched_by_device": {}} == {
        "mode": "nearest",
        "tolerance_s": 1.0,
        "steps": 200,
        "ranks": 1,
        "matched": 200,
        "unmatched": 0,
        "matched_by_device": {},
        "dropped": {},
    }
    naive = json.loads(invoke("analyze", "latest", "--method", "pearson", "--json").stdout)
    assert naive["pairs"][0]["pearson_r"] == naive["pairs"][0]["r"]
    assert "no column 'x'" in error_of(invoke("analyze", "latest", "--x", "x"))


def test_verify_and_seal_and_what_damage_looks_like(invoke, run):
    assert json.loads(invoke("verify", "latest", "--json").stdout)["events"]["step"] == 200
    assert "all whole" in invoke("verify", "latest").stdout
    path = next(s.path for s in open_segments(run.path, "tail") if s.kind == "step")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    result = invoke("verify", "latest")
    assert result.exit_code == 1
    assert f"{path.name}: " in result.stdout
    assert "byte" in result.stdout
    assert "quarantine" in invoke("seal", "latest").stderr
    assert "Nothing to seal" in invoke("seal", "latest").stderr


def test_export_and_import_give_the_same_steps(invoke, run, tmp_path):
    target = tmp_path / "grad_norm_log.json"
    assert invoke("export", "latest", "--format", "grad_norm_log", "-o", str(target)).exit_code == 0
    result = json.loads(invoke("import", str(target), "--json").stdout)
    assert result["rows"]["step"] == 200
    sql = "SELECT count(DISTINCT grad_norm) AS n FROM steps GROUP BY run_id"
    rows = json.loads(invoke("query", sql, "--json").stdout)
    assert rows[0] == rows[1]


def test_import_errors_are_one_sentence_and_leave_nothing(invoke, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    assert "bad.csv" in error_of(invoke("import", str(bad)))
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


def test_doctor_says_what_is_measured_and_why_not_the_rest(invoke):
    document = json.loads(invoke("doctor", "--json").stdout)
    assert "utilization_pct" in document["devices"]["cpu"]["sensors"]
    text = invoke("doctor").stdout
    assert text.startswith("cpu")
    assert "measures utilization_pct" in text


def test_record_samples_the_devices_for_a_while(invoke, tmp_path):
    command = [sys.executable, "-m", "thermograd.cli", "--runs", str(tmp_path / "runs")]
    subprocess.run([*command, "record", "--duration", "2", "--hz", "10"], check=True, capture_output=True)
    (row,) = json.loads(invoke("runs", "--json").stdout)
    assert row["state"] == "finished"
    assert row["samples"] >= 5
    assert "cpu" in row["devices"]


def test_wrong_usage_is_exit_code_two(invoke):
    assert invoke("analyze").exit_code == 2
    assert invoke("query", "SELECT 1", "--format", "xml").exit_code == 2
    assert invoke("nonsense").exit_code == 2


@pytest.mark.parametrize("found", [(), ("click",)])
def test_the_script_of_a_checkout_says_what_to_install_where_that_is_not(tmp_path, found):
    for name in found:
        (tmp_path / f"{name}.py").touch()
    command = [sys.executable, "-S", str(ROOT / "cli.py"), "runs"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert process.returncode == 1
    (said,) = process.stderr.splitlines()
    assert said.startswith("Error: thermograd is not installed in this Python (No module named ")
    assert f"{sys.executable} -m pip install '{ROOT}[report]' installs it" in said


def test_the_script_of_a_checkout_is_the_command(tmp_path):
    command = [sys.executable, str(ROOT / "cli.py"), "--version"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert process.stdout.startswith("thermograd, version ")


def test_verify_tells_what_a_full_disk_cost_from_damage(invoke, tmp_path):
    run = create_run(tmp_path / "runs", "full")
    writer = EventWriter(run.path, run.run_id, "w")
    writer.append("step", step=1)
    for detail in ('{"lost": 3}', '{"lost": 4}', '{"lost": "many"}', "[" * 5000, None):
        writer.append("mark", mark="gap", text="events could not be written", detail=detail)
    writer.close()
    result = invoke("verify", "latest")
    assert (result.exit_code, json.loads(invoke("verify", "latest", "--json").stdout)["never_written"]) == (
        0,
        7,
    )
    assert "7 events could not be written, as the writers counted them (no damage): see show" in result.stdout
    (run.path / "quarantine").mkdir()
    (run.path / "quarantine" / "w-step-000000000000.tail").write_bytes(b"x")
    result = invoke("verify", "latest")
    assert result.exit_code == 1
    assert "what could be read of it is sealed; remove it once looked at\n" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("words", [("runs",), ("query", "SELECT 1")])
def test_a_command_whose_output_is_closed_ends_as_if_nobody_looked(tmp_path, words):
    command = [sys.executable, str(ROOT / "cli.py"), "--runs", str(tmp_path), *words]

    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)

    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
