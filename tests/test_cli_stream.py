"""Configuration, live alerts, replay with other definitions, and the live view, as a user meets them."""

import json
import os
import subprocess
import sys
import textwrap
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from ports import closed_port, reserved_port
from thermograd.cli import main
from thermograd.store.log.reader import events_in_order
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run, find_run, list_runs
from thermograd.stream.pipeline.live import recorded_definitions

SECOND = 10**9
START = 1_800_000_000 * SECOND
SECRET = "T0PS3CRET"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in an empty directory, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    kept = ("THERMOGRAD_CACHE", "THERMOGRAD_CARD")  # of the suite: the user's own cache is left alone
    for name in [name for name in os.environ if name.startswith("THERMOGRAD_") and name not in kept]:
        monkeypatch.delenv(name)
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def run(here):
    """Return a finished run of 200 steps with a large and a small spike."""
    made = create_run(Path("runs"), "first", {"devices": {"gpu": {"model": "A"}}})
    writer = EventWriter(made.path, made.run_id, "w")
    for i in range(200):
        norm = {100: 1.42, 150: 30.0}.get(i, 1.0 + (i * 7 % 11) / 100)
        writer.append("step", START + i * SECOND, 0, step=i + 1, rank=0, grad_norm=norm, loss=2.0)
        writer.append("sample", START + i * SECOND, 0, device="gpu", temperature_c=50.0 + i % 5)
    writer.close()
    return made


def test_config_show_prints_toml_with_sources_and_can_be_saved(here):
    Path("thermograd.toml").write_text("[spike]\nk = 7\n")
    text = invoke("config", "show").stdout
    assert tomllib.loads(text)["spike"]["k"] == 7.0
    assert "thermograd.toml:2" in text
    Path("other.toml").write_text(text)
    rows = json.loads(invoke("config", "show", "--config", "other.toml", "--json").stdout)
    (k,) = [row for row in rows if (row["section"], row["key"]) == ("spike", "k")]
    assert (k["value"], k["source"].split(":")[0]) == (7.0, "other.toml")


def test_a_wrong_configuration_is_one_sentence(here):
    Path("thermograd.toml").write_text("[spike]\nkk = 7\n")
    for command in (["config", "show"], ["record", "--duration", "1"]):
        result = invoke(*command)
        assert result.exit_code == 1
        assert (
            result.stderr
            == "Error: thermograd.toml:2: there is no setting 'kk' in [spike]; did you mean k?\n"
        )
    assert not Path("runs").exists()


def test_replay_with_other_definitions_writes_a_file_of_its_own_and_never_over_one(run):
    before = events_in_order(run.path)
    Path("strict.toml").write_text("[spike]\nk = 20\n")
    result = invoke("replay", "latest", "--config", "strict.toml")
    assert result.exit_code == 0
    (path,) = (run.path / "replays").iterdir()
    assert f"written to {Path('runs') / run.run_id / 'replays' / path.name}" in result.stdout
    document = json.loads(path.read_text())
    assert [alert["step"] for alert in document["alerts"]] == [151]
    assert document["settings"]["spike"]["k"] == 20.0
    assert path.stem == document["definition"]
    assert events_in_order(run.path) == before
    again = invoke("replay", "latest", "--config", "strict.toml", "--json")
    assert json.loads(again.stdout)["digest"] == document["digest"]
    path.write_text("mine")
    refused = invoke("replay", "latest", "--config", "strict.toml")
    assert refused.exit_code == 1
    assert "is not overwritten; name another with -o" in refused.stderr
    assert path.read_text() == "mine"
    assert invoke("replay", "latest", "--config", "strict.toml", "-o", "out.json").exit_code == 0
    assert json.loads(Path("out.json").read_text()) == document


AGENT = """
import sys, time
from pathlib import Path
import thermograd
with thermograd.start_run(name="live", runs="runs", hz=5) as run:
    for i in range(120):
        norm = 30.0 if i in (60, 100) else 1.0 + (i * 7 % 11) / 100
        run.step(loss=2.0, grad_norm=norm)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if (Path(run.path) / "seen").exists():
            break
"""


def until(condition, what):
    """Return what a condition gives once it gives anything."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail(f"waited too long for {what}")


def scraped(port, *parts):
    """Return what the exporter says once it says all that."""

    def text():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                said = answer.read().decode()
        except OSError:
            return ""
        return said if all(part in said for part in parts) else ""

    return until(text, f"{parts!r} to be exported")


def troubles(path):
    """Return what a run's stream layer had trouble with."""
    return [e for e in events_in_order(path, ("mark",)) if e.values["mark"] == "error"]


@pytest.fixture
def closed():
    """Return a port that refuses connections for as long as the test lasts."""
    with closed_port() as port:
        yield port


@pytest.fixture
def free():
    """Return a port that is free until a process of the test listens there."""
    with reserved_port() as port:
        yield port


@pytest.fixture
def watched(here, closed, free):
    """Return a live run whose sinks fail, what it printed, and what it exported."""
    Path("thermograd.toml").write_text(f'''
[spike]
k = 8

[silence]
periods = 1e6  # on a busy machine nobody reads the sensors for a while

[sinks.file]
type = "jsonl"
path = "alerts.jsonl"
cooldown_s = 0

[sinks.hook]
type = "webhook"
url = "http://127.0.0.1:{closed}/{SECRET}"
token = "{SECRET}"
attempts = 1

[sinks.chat]
type = "apprise"
url = "env:CHAT_URL"
attempts = 1

[sinks.unset]
type = "apprise"
url = "env:UNSET_URL"
''')
    environment = os.environ | {
        "CHAT_URL": f"json://user:{SECRET}@127.0.0.1:{closed}/{SECRET}",
        "THERMOGRAD_METRICS_PORT": str(free),
    }
    with subprocess.Popen(
        [sys.executable, "-c", AGENT],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        metrics = scraped(free, 'thermograd_alerts_total{alert="spike.grad"', "thermograd_cpu_")
        (found,) = list_runs(Path("runs"))
        until(lambda: len(troubles(found.path)) == 3, "each sink to have failed")
        (found.path / "seen").touch()
        printed, _ = process.communicate(timeout=120)
    (found.path / "seen").unlink()
    return found, printed, metrics


def test_a_live_run_records_its_definitions_and_keeps_every_secret(watched):
    run, printed, metrics = watched
    assert "thermograd_grad_norm" in metrics
    assert printed.count("spike.grad") == 2
    assert printed.count("sink 'unset' is off") == 1
    assert printed.count("alerts do not reach sink 'hook': Connection refused") == 1
    assert printed.count("alerts do not reach sink 'chat'") == 1
    marks = [event.values for event in events_in_order(run.path, ("mark",))]
    assert sum(mark["mark"] == "error" for mark in marks) == 3
    sent = [json.loads(line) for line in Path("alerts.jsonl").read_text().splitlines()]
    assert [alert["step"] for alert in sent] == [61, 101]
    assert sent[0]["run_id"] == run.run_id
    # nothing but the file that the user wrote holds a secret
    files = [path for path in Path().rglob("*") if path.is_file() and path.name != "thermograd.toml"]
    assert len(files) > 5
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    everything = (
        printed + metrics + invoke("config", "show").output + invoke("config", "show", "--json").output
    )
    everything += invoke("show", "latest", "--json").output + invoke("query", "SELECT * FROM marks").output
    everything += invoke("watch", "--once").output + json.dumps(marks, default=str)
    assert SECRET not in everything
    # the replay uses what the run was recorded with, wherever it is made and whatever lies there
    Path("thermograd.toml").write_text("[spike]\nk = 5000\n")
    check = invoke("replay", "latest", "--check", "--json")
    assert json.loads(check.stdout)["identical"] is True
    assert "spike/3(k=8.0" in invoke("query", "SELECT definition FROM alerts", "--format", "csv").stdout
    assert find_run(Path("runs"), "latest").run_id == run.run_id


def test_options_of_run_reach_the_agent_that_the_training_starts(here, free):
    Path("conf").mkdir()
    Path("conf/mine.toml").write_text("[spike]\nk = 9\n\n[metrics]\nport = 1\n")
    options = ["--config", "conf/mine.toml", "--metrics-port", str(free)]
    script = f"import os\nos.mkdir('elsewhere')\nos.chdir('elsewhere')\n{AGENT}"
    command = [sys.executable, "-m", "thermograd.cli", "run", *options, "--", sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        scraped(free, 'thermograd_alerts_total{alert="spike.grad"')
        (found,) = list_runs(Path("elsewhere/runs"))
        (found.path / "seen").touch()
        assert process.wait(120) == 0
    definitions = recorded_definitions(events_in_order(found.path, ("mark",)))
    assert definitions["spike"]["k"] == 9.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--config", "none.toml"], "cannot read"),
        (["--metrics-port", "80", "--config", "wrong.toml"], "wrong.toml:2: there is no setting 'kk'"),
    ],
)
def test_run_refuses_wrong_options_before_the_training(here, options, sentence):
    Path("wrong.toml").write_text("[spike]\nkk = 7\n")
    result = invoke("run", *options, "--", sys.executable, "-c", "open('trained', 'w')")
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert not Path("trained").exists()


def test_a_recording_takes_one_thread_and_no_memory_pool_like_the_agent(here):
    code = """
        import os, sys
        from thermograd.cli import main
        before = dict(os.environ)
        main(["record", "--duration", "0.2"], standalone_mode=False)
        print(os.environ == before)
        import numpy, pyarrow, threadpoolctl
        print({library["num_threads"] for library in threadpoolctl.threadpool_info()})
        print(pyarrow.default_memory_pool().backend_name)
    """
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-3:] == ["True", "{1}", "system"]


def test_watch_shows_a_finished_run_and_takes_the_latest(run):
    text = invoke("watch", "--once").stdout
    assert text.startswith("first · finished · step 200")
    assert "grad_norm      1.02" in text or "grad_norm" in text
    assert "alerts, found now: the log holds none" in text
    assert "no run 'nope'" in invoke("watch", "nope").stderr


def test_a_run_of_another_host_is_silent_and_not_crashed(run):
    (path,) = (run.path / "writers").glob("*.json")
    writer = json.loads(path.read_text())
    del writer["closed_time_ns"]
    path.write_text(json.dumps(writer | {"host": "node7", "boot_id": "other"}))
    for file in (path, *run.path.glob("open/*/*")):
        os.utime(file, (0, 0))
    assert invoke("watch", "--once").stdout.startswith("first · silent on node7 · step 200")
