"""The agent with a broker that is there, away, or not asked for at all."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.log.reader import read_kind
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import create_run, list_runs
from thermograd.stream.fleet import publisher, publishing as publishing_module
from thermograd.stream.fleet.publishing import publishing
from thermograd.stream.settings import PublishSettings

pytest_plugins = ["servers"]


# The command, whose last word may take longer than two seconds: on a busy machine the broker answers late.
PATIENT = """
from thermograd.stream.fleet import publisher, publishing
publisher._SEND_S = publishing._LAST_WORD_S = 30.0
from thermograd.cli import main
main()
"""


def thermograd(*words, **options):
    return subprocess.Popen([sys.executable, "-P", "-c", PATIENT, *map(str, words)], **options)


def fleet(url, *words):
    result = CliRunner(env={"THERMOGRAD_PUBLISH": url}).invoke(
        main, ["--runs", "nowhere", "watch", "--fleet", *words]
    )
    assert result.exit_code == 0, result.output
    return result.output


def until(condition, within_s=120.0):
    """Return what a condition gives once it gives anything."""
    end_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < end_s
        time.sleep(0.02)
    return found


def times_s(run):
    """Return when the processor was read, s."""
    samples = read_kind(run.path, "sample")
    return sorted(samples.filter(pc.equal(samples["device"], "cpu"))["time_ns"].to_numpy() / 1e9)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals of that kind")
def test_an_agent_publishes_what_it_samples_and_a_broker_that_is_killed_costs_no_sample(
    nats_server, tmp_path
):
    url = nats_server.url.replace("://", "://me:hunter2@")  # it asks for none, and takes any
    agent = thermograd("--runs", tmp_path, "record", "--hz", 10, env=os.environ | {"THERMOGRAD_PUBLISH": url})

    def rows():
        return json.loads(fleet(url, "--once", "--json"))["runs"]

    def heard_since(since_s):
        asked_s = time.monotonic()
        return any(row["heard_s_ago"] < asked_s - since_s for row in rows())

    try:
        told = until(rows)
        folder = CliRunner().invoke(main, ["--runs", str(tmp_path), "watch", "--fleet", "--once", "--json"])
        (run,) = list_runs(tmp_path)
        before = len(times_s(run))
        nats_server.kill()
        until(lambda: len(times_s(run)) > before + 15)
        nats_server.start()
        restarted_s = time.monotonic()
        until(lambda: heard_since(restarted_s))
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(120) == 0
    finally:
        agent.kill()
        agent.wait()
    assert [row["run"] for row in told] == [run.run_id]
    assert [(row["run"], row["state"]) for row in json.loads(folder.output)["runs"]] == [(run.run_id, "live")]
    (row,) = rows()
    assert (row["state"], row["hosts"], row["missing_alerts"]) == ("ended", 1, 0)
    while_away_s = times_s(run)[before : before + 16]
    assert np.median(np.diff(while_away_s)) < 0.15  # of 10 a second
    ours = [
        path for path in tmp_path.rglob("*") if "jetstream" not in path.parts
    ]  # the server still writes there
    files = [path for path in ours if path.is_file()]
    assert not any(b"hunter2" in path.read_bytes() for path in files)


def test_a_wrong_address_is_refused_before_anything_is_recorded_and_no_secret_is_told(tmp_path):
    words = ["--runs", str(tmp_path), "record", "--duration", "1", "--publish", "http://me:hunter2@host"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "allowed: nats://" in result.output
    assert "hunter2" not in result.output
    assert list_runs(tmp_path) == []


@pytest.mark.parametrize("words", [("record", "--publish"), ("watch", "--fleet", "--once", "--from")])
def test_a_secret_in_an_address_on_the_command_line_is_refused_and_where_it_belongs_is_said(words, tmp_path):
    result = CliRunner().invoke(main, ["--runs", str(tmp_path), *words, "nats://me:hunter2@127.0.0.1:9"])
    assert result.exit_code == 1
    assert "set THERMOGRAD_PUBLISH_USER and THERMOGRAD_PUBLISH_PASSWORD" in result.output
    assert "hunter2" not in result.output


def test_an_agent_that_publishes_nothing_imports_nothing_for_it(tmp_path):
    code = (
        "import sys; sys.argv = ['thermograd', '--runs', sys.argv[1], 'record', '--duration', '0.2']\n"
        "from thermograd.cli import main; main(standalone_mode=False)\n"
        "print([name for name in sys.modules if name.startswith(('nats', 'confluent_kafka', 'asyncio'))"
        " or name.startswith('thermograd.stream.fleet')])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_what_a_run_could_not_send_before_its_end_the_next_agent_sends(nats_server, tmp_path, monkeypatch):
    nats_server.kill()
    for number in range(2):
        run = create_run(tmp_path, f"run {number}")
        with closing(EventWriter(run.path, run.run_id, new_writer_name("agent"), ("alert",))) as writer:
            settings, stop, troubles = PublishSettings(url=nats_server.url), threading.Event(), []
            with publishing(
                settings, lambda path=run.path: path, writer.writer, stop, troubles.append
            ) as told:
                for step in range(3):
                    alert = {"alert": "nonfinite", "severity": "critical", "step": step, "message": "nan"}
                    told.alert(writer.append("alert", **alert), alert)
                if number:
                    until(lambda: len(list((tmp_path / "_unpublished").iterdir())) == 1)
        if not number:
            assert "did not reach the fleet" in troubles[-1]
            nats_server.start()
            monkeypatch.setattr(publisher, "_SEND_S", 30.0)  # a busy machine's broker answers late
            monkeypatch.setattr(publishing_module, "_LAST_WORD_S", 30.0)
    assert not (tmp_path / "_unpublished").exists()
    alerts = json.loads(fleet(nats_server.url, "--once", "--json"))["alerts"]
    assert sorted((alert["run"], alert["step"]) for alert in alerts) == [
        (run.run_id, step) for run in list_runs(tmp_path) for step in range(3)
    ]


def test_the_fleet_of_a_broker_that_is_down_is_an_error_and_not_an_empty_fleet(tmp_path):
    command = ["--runs", str(tmp_path), "watch", "--fleet", "--once", "--from", "nats://127.0.0.1:9"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert result.output == "Error: nats://127.0.0.1:9/thermograd: nobody answers there\n"
